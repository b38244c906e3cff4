import pytest

from abserve.analysis import Counts, Observed, ObservedBlock
from abserve.errors import ExperimentError

UNITS = Counts(900, 0, 100, 0)
RIGHT = Counts(90, 81, 10, 9)
FAILED = Counts(900, 9, 100, 1)


def block(number: int, units: Counts | None = UNITS, **by_metric: Counts) -> ObservedBlock:
    began_at = 1000.0 + 60 * number
    return ObservedBlock(number, began_at, began_at + 60, 10.0, units, by_metric)


def test_a_metric_has_the_blocks_that_know_it() -> None:
    observed = Observed((block(1, accuracy=RIGHT), block(2), block(3, accuracy=RIGHT)), 180.0)
    found = observed.metric("accuracy")
    assert found.blocks.n_baseline.tolist() == [90, 90]
    assert found.blocks.k_candidate.tolist() == [9, 9]
    assert found.blocks.weight_candidate.tolist() == [10, 10]


def test_blocks_are_told_by_the_seconds_since_the_first_block_began() -> None:
    observed = Observed((block(1, accuracy=RIGHT), block(2), block(3, accuracy=RIGHT)), 180.0)
    assert observed.metric("accuracy").ended.tolist() == [60.0, 180.0]


def test_units_are_those_that_arrived_and_not_those_with_an_outcome() -> None:
    observed = Observed((block(1, accuracy=RIGHT, error_rate=FAILED),), 60.0)
    assert observed.units().blocks.n_baseline.tolist() == [900]


def test_a_block_whose_units_are_known_in_part_is_left_out() -> None:
    observed = Observed((block(1), block(2, None), block(3)), 180.0)
    assert observed.units().ended.tolist() == [60.0, 180.0]


def test_what_no_block_knows_has_no_blocks() -> None:
    observed = Observed((block(1),), 60.0)
    assert observed.metric("reward").blocks.n_blocks == 0
    assert observed.metric("reward").ended.tolist() == []


def test_before_the_first_block_nothing_is_known() -> None:
    observed = Observed((), 0.0)
    assert (observed.units().blocks.n_blocks, observed.metric("accuracy").ended.size) == (0, 0)


def test_counts_that_cannot_be_are_refused() -> None:
    observed = Observed((block(1, accuracy=Counts(10, 11, 10, 9)),), 60.0)
    with pytest.raises(ExperimentError, match="k_baseline is 11 of n_baseline = 10"):
        observed.metric("accuracy")
