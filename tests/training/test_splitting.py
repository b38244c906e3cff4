"""Which rows are held out, and that none of them is known to the fitted side."""

from dataclasses import replace

import numpy as np
import pytest

from abserve.errors import TrainingError
from abserve.metadata import Fingerprint
from tests.training.files import REGRESSOR, definition_of
from training import Definition, held_out
from training.dataset import Dataset, Parts
from training.definition import Split
from training.sources import load
from training.splitting import split

NOTHING = Fingerprint(source="here", n_rows=0, columns=(), sha256="")
TOGETHER = Split(held_out=0.3, seed=7, duplicates="together")
REFUSE = Split(held_out=0.3, seed=7)


def numbered(n_rows: int) -> Dataset:
    """Rows without duplicates, with numbers as targets."""
    numbers = np.arange(n_rows, dtype=np.float64)
    return Dataset(("width", "height"), np.c_[numbers, -numbers], numbers, None, NOTHING)


def wine() -> Dataset:
    """Bundled rows, none of them twice: 59, 71 and 48 of three classes."""
    data = {"source": "sklearn", "name": "wine"}
    features = [{"name": "alcohol"}, {"name": "hue"}, {"name": "proline"}]
    return load(definition_of("rows.csv", data=data, features=features), print)


def with_twins(dataset: Dataset, pairs: list[tuple[int, int]]) -> Dataset:
    rows = dataset.rows.copy()
    for first, second in pairs:
        rows[second] = rows[first]
    return replace(dataset, rows=rows)


def across(dataset: Dataset, by: Split) -> tuple[int, int]:
    """The first row that is fitted on, and the first that is held out."""
    held = set(split(dataset, by).held_out_targets.tolist())
    rows = range(len(dataset.rows))
    return next(row for row in rows if row not in held), next(row for row in rows if row in held)


def test_every_class_is_held_out_alike() -> None:
    parts = split(wine(), REFUSE)
    assert np.bincount(parts.held_out_targets).tolist() == [18, 21, 15]
    assert np.bincount(parts.fitted_targets).tolist() == [41, 50, 33]


def test_numbers_are_held_out_at_random() -> None:
    parts = split(numbered(10), REFUSE)
    assert len(parts.held_out_rows) == 3
    both = np.concatenate([parts.fitted_targets, parts.held_out_targets])
    assert sorted(both.tolist()) == list(range(10))
    assert np.array_equal(parts.held_out_rows[:, 0], parts.held_out_targets)


def test_the_seed_alone_decides_which_rows_are_held_out() -> None:
    dataset = wine()
    first = split(dataset, REFUSE).held_out_rows
    again = split(dataset, REFUSE).held_out_rows
    other = split(dataset, Split(held_out=0.3, seed=8)).held_out_rows
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_one_pair_of_twins_in_iris_is_a_leak(definition: Definition) -> None:
    dataset = load(definition, print)
    with pytest.raises(TrainingError) as raised:
        split(dataset, REFUSE)
    said = str(raised.value)
    assert said.startswith(
        "1 of 45 held-out rows are equal in all features to one that is fitted on, first rows 102 "
        "and 143: "
    )
    assert "`split: {duplicates: together}`" in said


def test_twins_that_are_kept_stay_where_they_are(definition: Definition) -> None:
    parts = split(load(definition, print), Split(held_out=0.3, seed=7, duplicates="keep"))
    assert np.bincount(parts.held_out_targets).tolist() == [15, 15, 15]
    assert np.bincount(parts.fitted_targets).tolist() == [35, 35, 35]


def test_twins_together_are_fitted_on(definition: Definition) -> None:
    dataset = load(definition, print)
    parts = split(dataset, TOGETHER)
    assert np.bincount(parts.held_out_targets).tolist() == [15, 15, 14]
    assert np.array_equal(parts.fitted_rows[-1], dataset.rows[142])


def test_all_twins_across_the_split_are_counted_and_the_first_pair_named() -> None:
    dataset = numbered(20)
    fitted, held = across(dataset, REFUSE)
    twins = with_twins(dataset, [(fitted, row) for row in range(20) if row != fitted])
    first, second = sorted([fitted, held])
    with pytest.raises(
        TrainingError,
        match=f"^6 of 6 held-out rows are equal .* first rows {first + 1} and {second + 1}: ",
    ):
        split(twins, REFUSE)


def test_twins_on_one_side_are_no_leak() -> None:
    dataset = numbered(20)
    held = split(dataset, REFUSE).held_out_targets.astype(int).tolist()
    parts = split(with_twins(dataset, [(held[0], held[1])]), REFUSE)
    assert len(parts.held_out_rows) == 6


@pytest.mark.parametrize(("value", "other"), [(0.0, -0.0), (np.nan, -np.nan)])
def test_values_that_are_equal_or_both_missing_make_twins(value: float, other: float) -> None:
    dataset = numbered(20)
    fitted, held = across(dataset, REFUSE)
    rows = dataset.rows.copy()
    rows[fitted], rows[held] = (value, 5), (other, 5)
    with pytest.raises(TrainingError, match=r"^1 of 6 held-out rows"):
        split(replace(dataset, rows=rows), REFUSE)


def test_twins_with_different_targets_are_a_leak_as_well() -> None:
    dataset = numbered(20)
    fitted, held = across(dataset, REFUSE)
    parts = split(with_twins(dataset, [(fitted, held)]), TOGETHER)
    assert held in parts.fitted_targets
    assert len(parts.held_out_rows) == 5


def test_rows_that_are_all_equal_leave_none_to_judge_by() -> None:
    dataset = replace(numbered(10), rows=np.ones((10, 2)))
    with pytest.raises(TrainingError, match=r"leaves none to judge by"):
        split(dataset, TOGETHER)


def test_a_class_of_twins_leaves_none_of_it_to_judge_by() -> None:
    dataset = wine()
    rows = dataset.rows.copy()
    rows[dataset.targets == 1] = 0
    with pytest.raises(
        TrainingError, match=r"holding out 0\.3 of 71 rows of the class class_1 leaves none to judg"
    ):
        split(replace(dataset, rows=rows), TOGETHER)


def test_too_few_held_out_rows_for_all_classes_are_refused() -> None:
    with pytest.raises(
        TrainingError, match=r"holding out 0\.01 of 178 rows .*; change split\.held"
    ):
        split(wine(), Split(held_out=0.01, seed=7))


def test_a_class_of_one_row_is_refused() -> None:
    dataset = wine()
    lonely = np.concatenate([np.flatnonzero(dataset.targets != 2), [177]])
    few = replace(dataset, rows=dataset.rows[lonely], targets=dataset.targets[lonely])
    with pytest.raises(TrainingError, match=r"leaves too few on one side .*; change split\.held"):
        split(few, REFUSE)


def test_a_class_too_rare_to_be_on_both_sides_is_refused() -> None:
    dataset = wine()
    rare = np.concatenate([np.flatnonzero(dataset.targets != 2), [176, 177]])
    few = replace(dataset, rows=dataset.rows[rare], targets=dataset.targets[rare])
    with pytest.raises(
        TrainingError, match=r"holding out 0\.1 of 2 rows of the class class_2 leaves none to judge"
    ):
        split(few, Split(held_out=0.1, seed=7))


def test_a_million_rows_are_divided() -> None:
    rows = np.random.default_rng(7).normal(size=(1_000_000, 20))
    dataset = Dataset(tuple("abcdefghijklmnopqrst"), rows, rows[:, 0].copy(), None, NOTHING)
    assert len(split(dataset, REFUSE).held_out_rows) == 300_000


def test_held_out_rows_come_with_the_names_of_their_classes(
    definition: Definition, parts: Parts
) -> None:
    rows, labels = held_out(definition)
    assert rows.dtype == np.float64
    assert np.array_equal(rows, parts.held_out_rows)
    names = ["setosa", "versicolor", "virginica"]
    assert [names.index(label) for label in labels] == parts.held_out_targets.tolist()


def test_held_out_rows_of_a_regressor_come_with_numbers() -> None:
    data = {"source": "sklearn", "name": "diabetes"}
    features = [{"name": "bmi"}, {"name": "bp"}, {"name": "s5"}]
    rows, numbers = held_out(definition_of("rows.csv", REGRESSOR, data=data, features=features))
    assert rows.shape == (133, 3)
    assert len(numbers) == 133
    assert all(isinstance(number, float) for number in numbers)
