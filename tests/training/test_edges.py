import numpy as np
import pytest

from abserve.schema import Feature, Schema
from training.edges import MAX_EDGE_ROWS, edge_rows

WEIGHT = Feature(name="weight", minimum=1.0, maximum=3.0)
AGE = Feature(name="age", type="integer", minimum=0, maximum=100)
COLOUR = Feature(name="colour", type="category", categories=("red", "green", "blue"))
FITTED = np.array([[1.5, 30.0, 2.0], [1.75, 40.0, 2.0], [2.5, 50.0, 0.0]])


def rows_of(*features: Feature, fitted: np.ndarray = FITTED, seed: int = 7) -> np.ndarray:
    return edge_rows(Schema(features=features), fitted, seed)


def test_a_number_is_at_its_bounds_just_inside_them_and_in_the_middle() -> None:
    values = np.unique(rows_of(WEIGHT, fitted=FITTED[:, :1]))
    after, before = np.nextafter(np.float32([1.0, 3.0]), np.float32([3.0, 1.0]))
    assert values.tolist() == [1.0, after, 2.0, before, 3.0]


def test_a_whole_number_stays_whole() -> None:
    values = np.unique(rows_of(AGE, fitted=FITTED[:, 1:2]))
    assert values.tolist() == [0, 1, 50, 99, 100]


def test_every_category_occurs_with_usual_values_beside_it() -> None:
    rows = rows_of(WEIGHT, AGE, COLOUR)
    for category in (0.0, 1.0, 2.0):
        assert ([1.75, 40.0, category] == rows).all(axis=1).any()


@pytest.mark.parametrize("together", [[1.0, 0.0, 0.0], [2.0, 50.0, 1.0], [3.0, 100.0, 2.0]])
def test_all_features_are_at_the_same_edge_together(together: list[float]) -> None:
    assert (rows_of(WEIGHT, AGE, COLOUR) == together).all(axis=1).any()


def test_a_value_is_missing_only_where_it_may_be() -> None:
    may_miss = Feature(name="change", missing="allow")
    rows = rows_of(WEIGHT, may_miss, COLOUR)
    missing = np.isnan(rows)
    assert missing[:, 1].any()
    assert not missing[:, [0, 2]].any()


def test_rows_of_which_all_values_may_be_missing_occur() -> None:
    first, second = (Feature(name=name, missing="allow") for name in ("first", "second"))
    assert np.isnan(rows_of(first, second, fitted=FITTED[:, :2])).all(axis=1).any()


def test_without_bounds_the_extremes_of_the_rows_take_their_place() -> None:
    values = rows_of(Feature(name="weight"), fitted=FITTED[:, :1])
    assert (values.min(), values.max()) == (1.5, 2.5)


def test_a_feature_that_no_row_has_a_value_of_is_zero() -> None:
    values = rows_of(Feature(name="weight", missing="allow"), fitted=np.full((3, 1), np.nan))
    assert set(values[~np.isnan(values)]) == {0.0}


def test_all_values_are_such_as_a_runtime_gets() -> None:
    features = (Feature(name="share", minimum=0.1, maximum=1e300), AGE)
    rows = rows_of(*features, fitted=FITTED[:, :2] / 3)
    assert np.isfinite(rows).all()
    assert (rows.astype(np.float32) == rows).all()


def test_equal_arguments_give_equal_rows_and_other_seeds_others() -> None:
    assert np.array_equal(rows_of(WEIGHT, AGE, COLOUR), rows_of(WEIGHT, AGE, COLOUR))
    assert not np.array_equal(rows_of(WEIGHT, AGE, COLOUR), rows_of(WEIGHT, AGE, COLOUR, seed=8))


def test_thousands_of_features_are_looked_at_in_no_more_than_so_many_rows() -> None:
    features = [Feature(name=f"pixel_{n}", minimum=0, maximum=16) for n in range(2000)]
    rows = rows_of(*features, fitted=np.zeros((2, 2000)))
    assert 800 < len(rows) <= MAX_EDGE_ROWS
