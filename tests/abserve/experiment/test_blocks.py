import math

import numpy as np
import pytest
from hypothesis import given

from abserve.errors import ExperimentError
from abserve.experiment import Block, Blocks
from tests.abserve.experiment.generated import lists_of_blocks


def test_block_without_units_is_a_block() -> None:
    assert Block(0, 0, 0, 0, 0).n_candidate == 0


def test_rewards_need_not_be_whole() -> None:
    assert Block(50, 10, 3.25, 10, 4.5).k_candidate == 4.5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((-1, 10, 1, 10, 1), "weight_candidate is -1; expected a percent from 0 to 100"),
        ((101, 10, 1, 10, 1), "weight_candidate is 101; expected a percent"),
        ((math.nan, 10, 1, 10, 1), "weight_candidate is nan; expected a finite number"),
        ((50, -1, 0, 10, 1), "n_baseline is -1; expected a whole number of units, at least 0"),
        ((50, 10, 1, 9.5, 1), "n_candidate is 9.5; expected a whole number of units"),
        ((50, math.inf, 1, 10, 1), "n_baseline is inf; expected a finite number"),
        ((50, 10, -1, 10, 1), "k_baseline is -1 of n_baseline = 10; expected a number from 0 to"),
        ((50, 10, 1, 10, 11), "k_candidate is 11 of n_candidate = 10; .* only units .* counted in"),
        ((50, 10, 1, 10, math.nan), "k_candidate is nan; expected a finite number"),
        ((50, 10, math.inf, 10, 1), "k_baseline is inf; expected a finite number"),
    ],
)
def test_block_that_cannot_be_is_refused_alone_and_in_columns(
    row: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ExperimentError, match=f"^{message}"):
        Block(*row)
    columns = [[50, 50], [10, 10], [1, 1], [10, 10], [1, 1]]
    for column, number in zip(columns, row, strict=True):
        column[1] = number
    with pytest.raises(ExperimentError, match=f"^block 2: {message}"):
        Blocks.from_columns(*columns)


def test_columns_of_different_length_are_refused() -> None:
    one, two = np.zeros(1), np.zeros(2)
    with pytest.raises(ExperimentError, match=r"shapes \[\(1,\), \(2,\)\]; expected one shape"):
        Blocks(one, two, two, two, two)


def test_columns_that_cannot_be_broadcast_are_refused() -> None:
    with pytest.raises(ExperimentError, match="columns of blocks have shapes"):
        Blocks.from_columns(50, [1, 2, 3], 0, [1, 2], 0)


def test_no_blocks_are_blocks_too() -> None:
    assert Blocks.of([]).n_blocks == 0


@given(lists_of_blocks())
def test_columns_hold_what_the_blocks_held(blocks: list[Block]) -> None:
    columns = Blocks.of(blocks)
    assert columns.n_baseline.tolist() == [block.n_baseline for block in blocks]
    assert columns.k_candidate.tolist() == [block.k_candidate for block in blocks]
    assert columns.until(1).weight_candidate.tolist() == [blocks[0].weight_candidate]
    assert columns.swapped().n_candidate.tolist() == columns.n_baseline.tolist()
