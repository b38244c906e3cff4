"""Rows that no model should be fitted on."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abserve.errors import TrainingError
from abserve.metadata import Fingerprint
from abserve.schema import Feature, Picture, Schema
from tests.training.files import REGRESSOR, definition_of
from training import Definition
from training.checking import validate
from training.dataset import Dataset
from training.sources import load

NOTHING = Fingerprint(source="here", n_rows=0, columns=(), sha256="")


def dataset(width: list[float], targets: list[float] | None = None) -> Dataset:
    """Rows of this width and of different heights, of class a or b in turn or with targets."""
    rows = np.column_stack([width, np.arange(len(width))]).astype(np.float64)
    if targets is None:
        classes = np.arange(len(width)) % 2
        return Dataset(("width", "height"), rows, classes, ("a", "b"), NOTHING)
    return Dataset(("width", "height"), rows, np.array(targets, np.float64), None, NOTHING)


def width(**described: Any) -> Definition:
    features = [{"name": "width", **described}, {"name": "height"}]
    return definition_of("rows.csv", features=features)


def message(found: Dataset, definition: Definition) -> str:
    with pytest.raises(TrainingError) as raised:
        validate(found, definition)
    return str(raised.value)


def test_the_definition_and_the_data_agree(definition: Definition) -> None:
    schema = validate(load(definition, print), definition)
    assert schema.features == definition.features
    assert schema.classes == ("setosa", "versicolor", "virginica")


def test_a_regressor_has_no_classes() -> None:
    schema = validate(dataset([1, 2], [3, 4]), definition_of("rows.csv", REGRESSOR))
    assert schema == Schema(features=(Feature(name="width"), Feature(name="height")))


def test_columns_that_are_not_the_features_are_refused() -> None:
    other = replace(dataset([1, 2]), columns=("height", "width"))
    assert "features are width, height; the data has height, width" in message(other, width())


@pytest.mark.parametrize(
    ("values", "described", "expected"),
    [
        (
            [1, 8, 9],
            {"maximum": 7.5},
            "width is outside [-3.4e+38, 7.5] in 2 of 3 rows, first in row 2: 8.0; correct",
        ),
        ([1, -1], {"minimum": 0, "maximum": 2}, "width is outside [0.0, 2.0] in 1 of 2 rows"),
        ([1, np.inf], {}, "width is outside [-3.4e+38, 3.4e+38] in 1 of 2 rows, first in row 2"),
        ([1, -1e39], {}, "width is outside [-3.4e+38, 3.4e+38] in 1 of 2 rows, first in row 2"),
        ([1, np.nan, np.nan], {}, "width is missing in 2 of 3 rows, first in row 2: nan; give"),
        ([1, 2.5], {"type": "integer"}, "width is no whole number in 1 of 2 rows, first in row 2"),
        ([3, 3, 3], {}, "width is 3.0 in all of 3 rows, and nothing can be learned from it; rem"),
        ([np.nan, np.nan], {"missing": "allow"}, "width is missing in all of 2 rows"),
        ([0, 1, np.nan], {"type": "category", "categories": ["x", "y"]}, "width is missing in 1"),
    ],
)
def test_a_feature_that_is_not_as_described_is_named(
    values: list[float], described: dict[str, Any], expected: str
) -> None:
    assert expected in message(dataset(values), width(**described))


@pytest.mark.parametrize(
    ("values", "described"),
    [
        ([1, np.nan], {"missing": "allow"}),
        ([np.nan, 1], {"missing": "allow", "type": "integer", "minimum": 0}),
        ([-3e38, 3e38], {}),
        ([0, 1], {"type": "category", "categories": ["x", "y"]}),
    ],
)
def test_a_feature_that_is_as_described_passes(
    values: list[float], described: dict[str, Any]
) -> None:
    assert validate(dataset(values), width(**described)).feature_names == ("width", "height")


def test_one_class_alone_is_refused() -> None:
    alone = replace(dataset([1, 2]), targets=np.array([1, 1]))
    assert message(alone, width()) == (
        "the target kind is b in all of 2 rows; expected two classes or more: "
        "find rows of another class"
    )


def test_a_class_that_does_not_occur_is_refused() -> None:
    lacking = replace(dataset([1, 2]), class_names=("a", "b", "c"))
    assert "the target kind is c in no row; find rows of that class" in message(lacking, width())


@pytest.mark.parametrize(
    ("targets", "target", "expected"),
    [
        ([1, 9, 12], {"maximum": 8}, "the target kind is outside [-3.4e+38, 8] in 2 of 3 rows"),
        ([1, np.inf], {}, "the target kind is outside [-3.4e+38, 3.4e+38] in 1 of 2 rows"),
        ([1, np.nan], {}, "in 1 of 2 rows, first in row 2: nan"),
        ([4, 4], {}, "the target kind is 4.0 in all of 2 rows, and there is nothing to learn"),
    ],
)
def test_a_number_that_cannot_be_learned_is_refused(
    targets: list[float], target: dict[str, float], expected: str
) -> None:
    definition = definition_of("rows.csv", REGRESSOR, target={"name": "kind", **target})
    rows = list(range(len(targets)))
    assert expected in message(dataset([float(row) for row in rows], targets), definition)


def test_a_pixel_may_be_black_in_all_pictures() -> None:
    picture = Picture(width=2, height=1, channels="grey")
    described = {"pipeline": "images", "features": [], "picture": picture.model_dump()}
    definition = definition_of("rows.csv", **described)
    rows = np.array([[0, 0.5], [0, 1]])
    names = tuple(feature.name for feature in definition.inputs)
    pictures = Dataset(names, rows, np.array([0, 1]), ("a", "b"), NOTHING)
    assert validate(pictures, definition).features == definition.inputs
