from typing import Any

import pytest
from pydantic import ValidationError

from abserve.schema import Feature, Schema

LENGTH = {"name": "petal_length_cm", "minimum": 0.5, "maximum": 9.0}
WIDTH = {"name": "petal_width_cm"}


def schema(**fields: Any) -> Schema:
    usual = {"features": [LENGTH, WIDTH], "classes": ["setosa", "virginica"]}
    return Schema.model_validate({**usual, **fields})


def test_the_order_of_the_columns_is_kept() -> None:
    assert schema().feature_names == ("petal_length_cm", "petal_width_cm")
    assert schema(features=[WIDTH, LENGTH]).feature_names == ("petal_width_cm", "petal_length_cm")


def test_the_order_of_the_classes_is_kept() -> None:
    assert schema(classes=["virginica", "setosa"]).classes == ("virginica", "setosa")


def test_a_bound_that_is_not_given_is_open() -> None:
    assert (Feature(name="a").minimum, Feature(name="a").maximum) == (None, None)


def test_what_is_written_is_read_again() -> None:
    assert Schema.model_validate_json(schema().model_dump_json()) == schema()


@pytest.mark.parametrize("name", ["", "Petal", "petal length", "1st", "petal-length", "a" * 64])
def test_a_column_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        Feature(name=name)


@pytest.mark.parametrize("maximum", [0.5, 0.25])
def test_bounds_that_leave_no_room_are_refused(maximum: float) -> None:
    with pytest.raises(
        ValidationError, match=rf"minimum\n  is 0\.5; expected less than maximum, {maximum}"
    ):
        Feature(name="a", minimum=0.5, maximum=maximum)


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_a_bound_is_a_finite_number(bound: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Feature(name="a", maximum=bound)


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="feature 'petal_width_cm' is named twice"):
        schema(features=[WIDTH, WIDTH])


def test_a_class_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="class 'setosa' is named twice"):
        schema(classes=["setosa", "setosa", "virginica"])


def test_it_takes_a_column() -> None:
    with pytest.raises(ValidationError, match="features"):
        schema(features=[])


def test_it_takes_two_classes() -> None:
    with pytest.raises(ValidationError, match="classes"):
        schema(classes=["setosa"])


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        schema(labels=["setosa"])


def test_a_schema_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        schema().classes = ("a", "b")  # type: ignore[misc]
