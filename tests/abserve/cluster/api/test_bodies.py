from typing import Any

import pytest

from abserve.cluster.api.bodies import LARGEST_BODY_BYTES, parse, parse_json, parse_yaml
from abserve.cluster.api.status import ApiError


def refusal(body: bytes, content_type: str = "application/yaml") -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(content_type, body)
    return caught.value


# JSON.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"kind: ConfigMap",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"5",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_object_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        _ = parse("application/json", body).document
    assert caught.value.code == 400


@pytest.mark.parametrize("n_levels", [101, 500, 900])
def test_a_body_of_too_many_levels_is_a_bad_request(n_levels: int) -> None:
    body = b'{"a":' * n_levels + b"1" + b"}" * n_levels
    with pytest.raises(ApiError, match=r"JSON|100 levels"):
        parse("application/json", body)


def test_a_body_of_a_hundred_levels_is_read() -> None:
    assert "a" in parse_json(b'{"a":' * 100 + b"1" + b"}" * 100).document


@pytest.mark.parametrize(
    ("body", "repeated"),
    [
        (b'{"a": 1, "b": 2}', ()),
        (b'{"a": 1, "a": 2, "a": 3}', ("a",)),
        (b'{"spec": {"x": [{}, {"a": 1, "a": 1}]}, "b": 1, "b": 2}', ("b", "spec.x[1].a")),
        (b'{"a": {"b": 1, "b": 2}, "a": 1}', ("a",)),
    ],
)
def test_fields_that_are_written_twice_are_told(body: bytes, repeated: tuple[str, ...]) -> None:
    assert parse_json(body).repeated == repeated


def test_of_a_field_that_is_written_twice_the_last_counts() -> None:
    assert parse_json(b'{"a": 1, "a": 2}').value == {"a": 2}


def test_a_content_type_that_is_not_read_is_refused_with_those_that_are() -> None:
    refused = refusal(b"<kind>ConfigMap</kind>", "application/xml")
    assert refused.code == 415
    assert "application/json" in str(refused)


# YAML.


@pytest.mark.parametrize("content_type", ["application/yaml", "application/apply-patch+yaml"])
def test_yaml_is_read_as_json_would_be(content_type: str) -> None:
    body = b"kind: ConfigMap\ndata: {a: x, 1: y}\nspec:\n- 1.5\n- true\n- null\n"
    value: Any = {"kind": "ConfigMap", "data": {"a": "x", "1": "y"}, "spec": [1.5, True, None]}
    assert parse(content_type, body).value == value


def test_json_is_yaml_too() -> None:
    assert parse_yaml(b'{"a": "\\ud83d\\ude00"}').value == {"a": "\U0001f600"}


def test_a_date_is_text() -> None:
    assert parse_yaml(b"a: 2026-01-02").value == {"a": "2026-01-02"}


def test_an_alias_stands_for_what_it_names_and_is_a_copy_of_it() -> None:
    value = parse_yaml(b"a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\nd: {<<: *a, x: 3}").value
    assert value == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}, "d": {"x": 3}}
    value["b"]["x"] = 2
    assert value["a"] == {"x": 1}


def test_fields_of_yaml_that_are_written_twice_are_told() -> None:
    body = parse_yaml(b"a: 1\nb:\n- {c: 1, c: 2}\na: 2\n")
    assert (body.value, body.repeated) == ({"a": 2, "b": [{"c": 2}]}, ("a", "b[0].c"))


@pytest.mark.parametrize(
    "body",
    [
        b"a: [",
        b"a: b: c",
        b"a: 1\n---\nb: 2",
        b"a: .nan",
        b"a: !!binary aGk=",
        b"a: !!set {x}",
        b"a: !!int x",
        b"a: !!python/object/apply:os.system [id]",
        b"a: !mine {x: 1}",
        b"? [a]\n: 1",
        b"a: &a [*a]",
        b"a: *b",
        b"\xff\xff",
        b"%",
    ],
)
def test_yaml_that_is_no_json_is_a_bad_request(body: bytes) -> None:
    assert refusal(body).code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 101 + b"]" * 101,
        b"[" * 100_000,
        b"- " * 102 + b"1",
        b"{a: " * 1000,
        b"a: &a " + b"[" * 60 + b"]" * 60 + b"\nb: " + b"[" * 60 + b"*a" + b"]" * 60,
    ],
)
def test_yaml_of_too_many_levels_is_a_bad_request(body: bytes) -> None:
    refused = refusal(body)
    assert (refused.code, "100 levels" in str(refused)) == (400, True)


def test_yaml_of_a_hundred_levels_is_read() -> None:
    assert parse_yaml(b"- " * 100 + b"1").value


def test_aliases_cannot_grow_a_body_without_end() -> None:
    lines = [b"a: &a [lol, lol, lol]"]
    lines += [
        b"%c: &%c [%b]" % (name, name, b", ".join([b"*%c" % (name - 1)] * 9))
        for name in b"bcdefghijk"
    ]
    refused = refusal(b"\n".join(lines))
    assert (refused.code, "aliases" in str(refused)) == (413, True)


def test_yaml_of_very_many_values_is_too_large() -> None:
    assert refusal(b"a: [" + b"1, " * (LARGEST_BODY_BYTES // 4) + b"]").code == 413


@pytest.mark.parametrize("body", [b"password: [sesame", b"password: !x sesame", b"sesame: &a *a"])
def test_a_refusal_of_yaml_does_not_repeat_it(body: bytes) -> None:
    refused = refusal(body)
    assert "sesame" not in str(refused)
