from dataclasses import replace

import numpy as np
import pytest

from abserve.errors import TrainingError
from abserve.schema import Feature
from training import Definition, data, held_out
from training.definition import Data, Split


def test_iris_is_fishers_data(definition: Definition) -> None:
    dataset = data.load(definition.data)
    assert dataset.rows.shape == (150, 4)
    assert dataset.class_names == ("setosa", "versicolor", "virginica")
    assert dataset.rows[0].tolist() == [5.1, 3.5, 1.4, 0.2]
    assert dataset.classes[0] == 0


@pytest.mark.parametrize(
    ("name", "shape", "column"),
    [
        ("wine", (178, 13), "od280_od315_of_diluted_wines"),
        ("breast_cancer", (569, 30), "mean_radius"),
    ],
)
def test_columns_are_named_as_features_are(name: str, shape: tuple[int, int], column: str) -> None:
    dataset = data.load(Data.model_validate({"source": "sklearn", "name": name}))
    assert dataset.rows.shape == shape
    assert column in dataset.columns
    assert [Feature(name=each).name for each in dataset.columns] == list(dataset.columns)


def test_the_definition_and_the_data_agree(definition: Definition) -> None:
    data.validate(data.load(definition.data), definition.features)


def test_swapped_features_are_noticed(definition: Definition) -> None:
    with pytest.raises(
        TrainingError, match=r"features are petal_width_cm, .*; the data has sepal_length_cm, "
    ):
        data.validate(data.load(definition.data), definition.features[::-1])


def test_a_value_outside_its_bounds_is_named(definition: Definition) -> None:
    features = (Feature(name="sepal_length_cm", maximum=7.5), *definition.features[1:])
    with pytest.raises(
        TrainingError,
        match=r"sepal_length_cm is 7\.6 in row 105 and outside \[-inf, 7\.5\] in 6 of 150 rows",
    ):
        data.validate(data.load(definition.data), features)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_outside_any_bounds(
    definition: Definition, value: float
) -> None:
    dataset = data.load(definition.data)
    rows = dataset.rows.copy()
    rows[3, 1] = value
    features = tuple(Feature(name=name) for name in dataset.columns)
    with pytest.raises(TrainingError, match=f"sepal_width_cm is {value} in row 3"):
        data.validate(replace(dataset, rows=rows), features)


def test_every_class_is_held_out_alike(parts: data.Parts) -> None:
    assert np.bincount(parts.held_out_classes).tolist() == [15, 15, 15]
    assert np.bincount(parts.fitted_classes).tolist() == [35, 35, 35]


def test_the_seed_alone_decides_which_rows_are_held_out(definition: Definition) -> None:
    dataset = data.load(definition.data)
    first = data.split(dataset, definition.split).held_out_rows
    again = data.split(dataset, definition.split).held_out_rows
    other = data.split(dataset, Split(held_out=0.3, seed=8)).held_out_rows
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_held_out_rows_for_all_classes_are_refused(definition: Definition) -> None:
    with pytest.raises(
        TrainingError, match=r"holding out 0\.01 of 150 rows .*; change split\.held_out"
    ):
        data.split(data.load(definition.data), Split(held_out=0.01, seed=7))


def test_held_out_rows_come_with_the_names_of_their_classes(
    definition: Definition, parts: data.Parts
) -> None:
    rows, labels = held_out(definition)
    assert rows.dtype == np.float64
    assert np.array_equal(rows, parts.held_out_rows)
    assert len(labels) == 45
    assert labels.count("virginica") == 15
    names = ["setosa", "versicolor", "virginica"]
    assert [names.index(label) for label in labels] == parts.held_out_classes.tolist()
