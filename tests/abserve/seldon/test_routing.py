from typing import Any

import pytest

from abserve.seldon import InvalidManifestError, place_of, retries, supported, unit_header
from tests.abserve.seldon.documents import Document, document, parsed, predictor


def annotated(metadata: dict[str, str] | None = None, **spec: Any) -> Document:
    value = document(**spec)
    value["metadata"]["annotations"] = metadata or {}
    return value


def sticky(value: str = "true", **others: str) -> dict[str, str]:
    return {"abserve.io/sticky": value, **{f"abserve.io/{k}": v for k, v in others.items()}}


@pytest.mark.parametrize(
    ("value", "header"),
    [
        (annotated(), None),
        (annotated(sticky("false")), None),
        (annotated(sticky()), "x-unit-id"),
        (annotated(annotations=sticky()), "x-unit-id"),
        (annotated(sticky(), annotations=sticky("false")), None),
        (annotated(sticky("false"), annotations=sticky()), "x-unit-id"),
        (annotated(sticky() | {"abserve.io/unit-header": "x-user"}), "x-user"),
        (annotated({"abserve.io/unit-header": "x-user"}), None),
        (
            annotated(
                {"abserve.io/unit-header": "x-user"},
                annotations=sticky() | {"abserve.io/unit-header": "x-customer"},
            ),
            "x-customer",
        ),
    ],
)
def test_the_unit_header_is_the_specs_or_else_the_metadatas(
    value: Document, header: str | None
) -> None:
    assert unit_header(parsed(value)) == header


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, None),
        ({"seldon.io/istio-retries": "3"}, (3, 1)),
        ({"seldon.io/istio-retries": "3", "seldon.io/istio-retries-timeout": "20"}, (3, 20)),
        ({"seldon.io/istio-retries": "0"}, None),
        ({"seldon.io/istio-retries-timeout": "20"}, None),
    ],
)
def test_retries_mean_what_the_operator_makes_of_them(
    annotations: dict[str, str], expected: tuple[int, int] | None
) -> None:
    assert retries(parsed(annotated(annotations=annotations))) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("abserve.io/sticky", "yes"),
        ("abserve.io/sticky", "True"),
        ("abserve.io/sticky", ""),
        ("abserve.io/unit-header", "X-User"),
        ("abserve.io/unit-header", ":path"),
        ("abserve.io/unit-header", "x user"),
        ("abserve.io/unit-header", "x" * 65),
        ("seldon.io/istio-retries", "many"),
        ("seldon.io/istio-retries", "-1"),
        ("seldon.io/istio-retries", "1.5"),
        ("seldon.io/istio-retries", "1000"),
        ("seldon.io/istio-retries-timeout", "0"),
        ("seldon.io/istio-retries-timeout", "1s"),
    ],
)
def test_a_value_without_a_meaning_is_refused_where_it_stands(name: str, value: str) -> None:
    for where, written in (
        ("spec", annotated(annotations={name: value})),
        ("metadata", annotated({name: value})),
    ):
        with pytest.raises(InvalidManifestError) as refused:
            supported(parsed(written))
        [fault] = refused.value.faults
        assert fault.field == f"{where}.annotations[{name}]"
        assert fault.message.startswith(f"found {value!r}, expected ")


def test_annotations_of_the_gateway_are_heeded_without_a_warning() -> None:
    heeded = sticky() | {
        "abserve.io/unit-header": "x-user",
        "seldon.io/istio-retries": "2",
        "seldon.io/istio-retries-timeout": "5",
    }
    assert supported(parsed(annotated(heeded))) == ()


@pytest.mark.parametrize(
    "name", ["abserve.io/unit-header", "seldon.io/istio-retries-timeout", "abserve.io/stiky"]
)
def test_an_annotation_that_changes_nothing_is_named(name: str) -> None:
    assert supported(parsed(annotated({name: "1"}))) == (
        f"no effect on one machine: metadata.annotations[{name}]",
    )


def test_variants_stand_in_a_row_that_the_file_does_not_decide() -> None:
    names = ["candidate", "b", "baseline", "a"]
    for given in (names, names[::-1], sorted(names)):
        found = [predictor(name, "v1", traffic=25) for name in given]
        variants = parsed(document(*found)).variants
        placed = [each.name for each in sorted(variants, key=place_of)]
        assert placed == ["a", "b", "baseline", "candidate"]
