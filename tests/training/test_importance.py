import numpy as np
import pytest

from abserve.schema import Picture, Schema
from training.dataset import Predictions, Rows
from training.importance import MAX_ROWS, MIN_ROWS, N_REPEATS, permutation_importance

SEED = 11


def regressor(n_features: int) -> Schema:
    return Schema.model_validate({"features": [{"name": f"x_{i}"} for i in range(n_features)]})


def pictures(width: int, height: int, channels: str = "grey") -> Schema:
    n_channels = 1 if channels == "grey" else 3
    picture = Picture(
        width=width,
        height=height,
        channels=channels,
        black=(0.0,) * n_channels,
        white=(1.0,) * n_channels,
    )
    n_features = width * height * n_channels
    return regressor(n_features).model_copy(
        update={"picture": picture, "classes": ("dark", "light")}
    )


def first(rows: Rows) -> Predictions:
    return Predictions(rows[:, 0], None)


def by_column(column: int):
    """Return a classifier that is sure by the sign of one column."""

    def classify(rows: Rows) -> Predictions:
        light = np.where(rows[:, column] > 0.5, 0.99, 0.01)
        return Predictions((light > 0.5).astype(np.int64), np.column_stack([1 - light, light]))

    return classify


def test_a_feature_that_says_all_costs_the_mean_distance_of_two_values() -> None:
    """If x is uniform on [0, 1] and predicted by itself, dealing x costs E|x - x'| = 1/3."""
    rows = np.random.default_rng(0).uniform(0, 1, (MAX_ROWS, 2))
    found = permutation_importance(first, rows, rows[:, 0], regressor(2), SEED)
    # The variance of |x - x'| is 1/18; the repeats deal the same rows.
    standard_error = np.sqrt(1 / 18 / MAX_ROWS)
    assert found.increase[0] == pytest.approx(1 / 3, abs=4 * standard_error)
    assert found.metric == "mean_absolute_error"


def test_a_feature_the_model_ignores_has_none() -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (50, 3))
    found = permutation_importance(first, rows, rows[:, 0], regressor(3), SEED)
    assert found.increase[1:].tolist() == [0.0, 0.0]
    assert found.spread[1:].tolist() == [0.0, 0.0]
    assert found.spread[0] > 0


def test_a_classifier_loses_log_loss() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (400, 2)).astype(float)
    schema = regressor(2).model_copy(update={"classes": ("no", "yes")})
    found = permutation_importance(by_column(1), rows, rows[:, 1].astype(int), schema, SEED)
    # Half of the rows get the other value, each of which costs log(0.99) - log(0.01).
    assert found.increase[1] == pytest.approx(0.5 * np.log(99), abs=4 * np.log(99) / 2 / 20)
    assert (found.metric, found.increase[0]) == ("log_loss", 0.0)


def test_features_that_say_the_same_share_their_importance() -> None:
    x = np.random.default_rng(0).uniform(0, 1, 500)

    def mean(rows: Rows) -> Predictions:
        return Predictions(rows.mean(axis=1), None)

    twice = permutation_importance(mean, np.column_stack([x, x]), x, regressor(2), SEED)
    once = permutation_importance(mean, x[:, np.newaxis], x, regressor(1), SEED)
    assert twice.increase == pytest.approx([once.increase[0] / 2] * 2)


def test_equal_seeds_give_equal_importance() -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (60, 2))
    found = [
        permutation_importance(first, rows, rows[:, 0], regressor(2), seed).increase.tolist()
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


def test_rows_are_left_as_they_were() -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (60, 2))
    before = rows.copy()
    permutation_importance(first, rows, rows[:, 0], regressor(2), SEED)
    assert np.array_equal(rows, before)


def test_a_missing_value_is_dealt_as_any_other() -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (60, 2))
    rows[::3, 1] = np.nan

    def second(rows: Rows) -> Predictions:
        return Predictions(np.nan_to_num(rows[:, 1], nan=-1.0), None)

    found = permutation_importance(second, rows, second(rows).values, regressor(2), SEED)
    assert found.increase[1] > 0.5


@pytest.mark.parametrize(
    ("n_rows", "n_features", "n_taken"),
    [(40, 3, 40), (5000, 3, MAX_ROWS), (5000, 40, 1000), (300, 1000, MIN_ROWS)],
)
def test_time_is_bounded_by_the_rows_taken(n_rows: int, n_features: int, n_taken: int) -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (n_rows, n_features))
    sizes = []

    def counted(rows: Rows) -> Predictions:
        sizes.append(len(rows))
        return first(rows)

    found = permutation_importance(counted, rows, rows[:, 0], regressor(n_features), SEED)
    assert found.n_rows == n_taken
    assert sizes == [n_taken] + [N_REPEATS * n_taken] * n_features


def test_a_small_picture_has_the_importance_of_each_pixel() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (80, 6)).astype(float)
    found = permutation_importance(by_column(4), rows, rows[:, 4].astype(int), pictures(3, 2), SEED)
    assert found.increase.shape == found.spread.shape == (2, 3)
    assert np.flatnonzero(found.increase).tolist() == [4]
    assert found.patch_pixels == 1


def test_a_large_picture_has_that_of_patches() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (80, 28 * 30)).astype(float)
    row, column = 7, 29
    pixel = row * 30 + column
    found = permutation_importance(
        by_column(pixel), rows, rows[:, pixel].astype(int), pictures(30, 28), SEED
    )
    assert found.patch_pixels == 3
    assert found.increase.shape == (10, 10)
    assert np.argwhere(found.increase).tolist() == [[2, 9]]


def test_the_channels_of_a_pixel_are_dealt_together() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (80, 12)).astype(float)
    found = permutation_importance(
        by_column(7), rows, rows[:, 7].astype(int), pictures(2, 2, "rgb"), SEED
    )
    assert np.argwhere(found.increase).tolist() == [[1, 0]]
