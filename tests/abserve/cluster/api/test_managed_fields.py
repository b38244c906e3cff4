from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from abserve.cluster.api.managed_fields import (
    Comparison,
    FieldConflictError,
    Manager,
    Owners,
    apply,
    compare,
    decode,
    encode,
    fields_of,
    merge,
    update,
)

ANNA = Manager("Apply", "anna", "v1")
BERT = Manager("Apply", "bert", "v1")
EDITOR = Manager("Update", "editor", "v1")


def fields(*paths: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(path.split(".")) for path in paths)


def comparison(added: str = "", removed: str = "", modified: str = "") -> Comparison:
    return Comparison(*(fields(*each.split()) for each in (added, removed, modified)))


# What differs.


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, comparison()),
        ({"a": 1}, {"a": 1}, comparison()),
        ({"a": 1}, {"a": 2}, comparison(modified="a")),
        ({}, {"a": {"b": 1}}, comparison(added="a a.b")),
        ({"a": {"b": 1}}, {}, comparison(removed="a a.b")),
        ({"a": {"b": 1}}, {"a": {}}, comparison(removed="a.b")),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, comparison(added="a.c", removed="a.b")),
        ({"a": {"b": 1}}, {"a": 1}, comparison(modified="a", removed="a.b")),
        ({"a": 1}, {"a": {"b": 1}}, comparison(modified="a", added="a.b")),
        ({"a": [1, 2]}, {"a": [1, 3]}, comparison(modified="a")),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}]}, comparison()),
    ],
)
def test_a_comparison_names_each_field_that_differs(
    old: Any, new: Any, expected: Comparison
) -> None:
    assert compare(old, new) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, fields()),
        ({"a": 1}, fields("a")),
        ({"a": {"b": 1, "c": {"d": 2}}}, fields("a.b", "a.c.d")),
        ({"a": {}, "b": None}, fields("a", "b")),
        ({"a": [{"b": 1}]}, fields("a")),
    ],
)
def test_what_is_stated_are_the_fields_without_fields_below(value: Any, expected: Any) -> None:
    assert fields_of(value) == expected


# Merging.


@pytest.mark.parametrize(
    ("live", "configuration", "merged"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": None}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 1}, {"a": None}, {"a": None}),
    ],
)
def test_merging_replaces_values_and_lists_and_unites_maps(
    live: Any, configuration: Any, merged: Any
) -> None:
    assert merge(live, configuration) == merged


# Updates.


def test_who_creates_an_object_owns_all_of_it() -> None:
    owners = update({}, {"spec": {"replicas": 1}}, {}, EDITOR)
    assert owners == {EDITOR: fields("spec", "spec.replicas")}


def test_who_changes_a_field_takes_it_from_all_others() -> None:
    before = {ANNA: fields("a", "b"), BERT: fields("a")}
    owners = update({"a": 1, "b": 1}, {"a": 2, "b": 1}, before, EDITOR)
    assert owners == {ANNA: fields("b"), EDITOR: fields("a")}


def test_who_changes_nothing_owns_nothing() -> None:
    assert update({"a": 1}, {"a": 1}, {ANNA: fields("a")}, EDITOR) == {ANNA: fields("a")}


def test_a_field_that_is_gone_has_no_owner() -> None:
    before = {ANNA: fields("a"), EDITOR: fields("b", "b.c")}
    assert update({"a": 1, "b": {"c": 1}}, {"a": 1}, before, EDITOR) == {ANNA: fields("a")}


# Applies.


def test_applying_creates_what_is_stated() -> None:
    assert apply({}, {"a": {"b": 1}}, {}, ANNA, force=False) == (
        {"a": {"b": 1}},
        {ANNA: fields("a.b")},
    )


def test_what_an_applier_no_longer_states_is_gone() -> None:
    live, owners = apply({}, {"a": {"b": 1}, "c": 1}, {}, ANNA, force=False)
    assert apply(live, {"c": 1}, owners, ANNA, force=False) == ({"c": 1}, {ANNA: fields("c")})


def test_what_another_applier_states_as_well_stays() -> None:
    live, owners = apply({}, {"a": 1, "b": 1}, {}, ANNA, force=False)
    live, owners = apply(live, {"a": 1}, owners, BERT, force=False)
    live, owners = apply(live, {"b": 1}, owners, ANNA, force=False)
    assert (live, owners) == ({"a": 1, "b": 1}, {ANNA: fields("b"), BERT: fields("a")})


def test_what_an_update_took_stays_when_the_applier_lets_go() -> None:
    live, owners = apply({}, {"a": 1, "b": 1}, {}, ANNA, force=False)
    changed = {**live, "a": 2}
    owners = update(live, changed, owners, EDITOR)
    applied, owners = apply(changed, {"b": 1}, owners, ANNA, force=False)
    assert (applied, owners) == ({"a": 2, "b": 1}, {ANNA: fields("b"), EDITOR: fields("a")})


def test_a_map_goes_with_its_last_owned_field() -> None:
    live, owners = apply({}, {"labels": {"a": "1"}, "x": 1}, {}, ANNA, force=False)
    assert apply(live, {"x": 1}, owners, ANNA, force=False)[0] == {"x": 1}


def test_a_map_stays_for_the_fields_of_others() -> None:
    live, owners = apply({}, {"labels": {"a": "1"}}, {}, ANNA, force=False)
    live, owners = apply(live, {"labels": {"b": "2"}}, owners, BERT, force=False)
    assert apply(live, {}, owners, ANNA, force=False) == (
        {"labels": {"b": "2"}},
        {BERT: fields("labels.b")},
    )


def test_changing_what_others_own_is_a_conflict_that_names_them() -> None:
    owners: Owners = {BERT: fields("a", "b"), EDITOR: fields("c")}
    with pytest.raises(FieldConflictError) as caught:
        apply({"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": 2}, owners, ANNA, force=False)
    assert caught.value.fields == {BERT: fields("a"), EDITOR: fields("c")}


def test_stating_what_others_own_as_it_is_shares_it() -> None:
    _, owners = apply({"a": 1}, {"a": 1}, {BERT: fields("a")}, ANNA, force=False)
    assert owners == {ANNA: fields("a"), BERT: fields("a")}


def test_force_takes_what_others_own() -> None:
    owners: Owners = {BERT: fields("a", "b")}
    applied, owners = apply({"a": 1, "b": 1}, {"a": 2}, owners, ANNA, force=True)
    assert (applied, owners) == ({"a": 2, "b": 1}, {ANNA: fields("a"), BERT: fields("b")})


def test_the_same_name_updates_and_applies_as_two() -> None:
    same = Manager("Update", "anna", "v1")
    with pytest.raises(FieldConflictError):
        apply({"a": 1}, {"a": 2}, {same: fields("a")}, ANNA, force=False)


# As Kubernetes writes them.


@pytest.mark.parametrize(
    ("manager", "text"),
    [
        (ANNA, '"anna"'),
        (EDITOR, '"editor" using v1'),
        (
            Manager("Update", "kubectl", "v1", "scale"),
            '"kubectl" with subresource "scale" using v1',
        ),
    ],
)
def test_a_manager_is_named_as_kubernetes_names_it(manager: Manager, text: str) -> None:
    assert str(manager) == text


@pytest.mark.parametrize(
    ("owned", "written"),
    [
        (fields(), {}),
        (fields("a"), {"f:a": {}}),
        (fields("a.b"), {"f:a": {"f:b": {}}}),
        (fields("a", "a.b"), {"f:a": {".": {}, "f:b": {}}}),
        (frozenset({("a", "x.y/z")}), {"f:a": {"f:x.y/z": {}}}),
        (frozenset({("f:",), (".",)}), {"f:f:": {}, "f:.": {}}),
    ],
)
def test_fields_are_written_as_kubernetes_writes_them(owned: Any, written: Any) -> None:
    assert encode(owned) == written
    assert decode(written) == owned


@pytest.mark.parametrize("written", [[], "f:a", {"a": {}}, {"f:a": 1}, {"f:a": {"k:{}": {}}}])
def test_fields_that_are_written_otherwise_are_refused(written: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode(written)


# What holds for all objects.

KEYS = st.sampled_from("abc")
VALUES = st.recursive(
    st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=2),
    lambda below: st.dictionaries(KEYS, below, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_applying_twice_is_applying_once(live: Any, configuration: Any) -> None:
    owners = update({}, live, {}, EDITOR)
    once = apply(live, configuration, owners, ANNA, force=True)
    assert apply(once[0], configuration, once[1], ANNA, force=False) == once


@given(OBJECTS, OBJECTS)
def test_two_who_state_different_fields_may_come_in_any_order(one: Any, other: Any) -> None:
    left = {"x": one, "y": other}
    parts = (ANNA, {"x": one}), (BERT, {"y": other})
    results = []
    for order in (parts, parts[::-1]):
        live: Any = {}
        owners: Owners = {}
        for manager, configuration in order:
            live, owners = apply(live, configuration, owners, manager, force=False)
        results.append((live, owners))
    assert results[0] == results[1]
    assert results[0][0] == left


@given(OBJECTS, OBJECTS)
def test_what_nobody_else_owns_goes_with_who_stated_it(first: Any, second: Any) -> None:
    live, owners = apply({}, first, {}, ANNA, force=False)
    live, owners = apply(live, second, owners, ANNA, force=False)
    assert fields_of(live) == fields_of(second)
    assert set(owners) <= {ANNA}


@given(OBJECTS, OBJECTS, OBJECTS)
def test_nobody_loses_without_force(first: Any, second: Any, changed: Any) -> None:
    live, owners = apply({}, first, {}, ANNA, force=False)
    owners = update(live, {**live, **changed}, owners, EDITOR)
    live = {**live, **changed}
    try:
        applied, after = apply(live, second, owners, BERT, force=False)
    except FieldConflictError:
        assume(False)
    assert {each: after.get(each) for each in owners} == dict(owners)
    assert all(_at(applied, path) == _at(live, path) for each in owners.values() for path in each)


@given(OBJECTS, OBJECTS)
def test_every_field_has_the_owner_who_wrote_it_last(first: Any, second: Any) -> None:
    owners = update({}, first, {}, ANNA)
    owners = update(first, second, owners, EDITOR)
    nodes = compare({}, second).added
    assert frozenset().union(*owners.values()) == nodes
    difference = compare(first, second)
    assert owners.get(EDITOR, frozenset()) == difference.added | difference.modified


@given(st.frozensets(st.lists(st.text(max_size=3), min_size=1, max_size=4).map(tuple)))
def test_what_is_written_is_read_back(owned: Any) -> None:
    assert decode(encode(owned)) == owned


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        document = document[name]
    return document if not isinstance(document, dict) else dict
