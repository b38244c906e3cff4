import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abserve.errors import ExperimentError
from abserve.experiment import Blocks, effect, interval, log_evidence
from tests.abserve.experiment.generated import series

BAR = math.log(20)

# Found among 1,500 small experiments: the rates moved so much from block to block that the
# differences which fit are not one interval.
WITH_A_HOLE = Blocks.from_columns(50, [210, 248, 398], [5, 22, 207], [380, 29, 64], [3, 28, 32])


def at(blocks: Blocks, difference: float) -> float:
    return float(log_evidence(blocks, difference, "two-sided")[-1])


# No deadline: it looks at a hundred differences each time, beside whatever else runs.
@settings(deadline=None)
@given(series(most=2000))
def test_interval_holds_every_difference_that_fits_and_ends_at_one(blocks: Blocks) -> None:
    found = interval(blocks)
    grid = np.linspace(-0.99, 0.99, 100)
    fits = [difference for difference in grid if at(blocks, difference) < BAR]
    if found is None:
        assert not fits
    else:
        assert all(difference in found for difference in fits)
        assert found.lower == -1 or at(blocks, found.lower + 1e-8) < BAR + 1e-6
        assert found.upper == 1 or at(blocks, found.upper - 1e-8) < BAR + 1e-6


@settings(deadline=None)
@given(series())
def test_interval_is_found_for_a_billion_units_as_well(blocks: Blocks) -> None:
    found = interval(blocks)
    assert found is None or -1 <= found.lower <= found.upper <= 1


def test_differences_that_fit_beyond_a_hole_are_kept() -> None:
    grid = np.linspace(-0.7, 0.6, 1301)
    fits = np.array([at(WITH_A_HOLE, difference) < BAR for difference in grid])
    assert np.flatnonzero(np.diff(fits.astype(int)) == 1).size == 2
    found = interval(WITH_A_HOLE)
    assert found is not None
    assert found.lower == pytest.approx(grid[fits].min(), abs=1e-3)
    assert found.upper == pytest.approx(grid[fits].max(), abs=1e-3)


def test_ends_are_where_the_evidence_reaches_the_bar() -> None:
    blocks = Blocks.from_columns(50, 200, [20] * 50, 200, [25] * 50)
    found = interval(blocks)
    assert found is not None
    assert at(blocks, found.lower) == pytest.approx(BAR, abs=1e-6)
    assert at(blocks, found.upper) == pytest.approx(BAR, abs=1e-6)


def test_exchanging_the_variants_mirrors_the_interval() -> None:
    rng = np.random.default_rng(5)
    n = rng.integers(1, 300, size=(2, 30))
    k = rng.binomial(n, [[0.1], [0.15]])
    blocks = Blocks.from_columns(50, n[0], k[0], n[1], k[1])
    here, there = interval(blocks), interval(blocks.swapped())
    assert here is not None
    assert there is not None
    assert (there.lower, there.upper) == pytest.approx((-here.upper, -here.lower), abs=1e-9)


def test_smaller_alpha_leaves_more_differences_in() -> None:
    blocks = Blocks.from_columns(50, 500, [50, 52, 45], 500, [60, 71, 63])
    narrow, wide = interval(blocks, 0.05), interval(blocks, 0.01)
    assert narrow is not None
    assert wide is not None
    assert wide.lower < narrow.lower < narrow.upper < wide.upper


def test_without_units_every_difference_fits() -> None:
    for blocks in (Blocks.of([]), Blocks.from_columns(0, 100, 50, 0, 0)):
        found = interval(blocks)
        assert found is not None
        assert (found.lower, found.upper) == (-1, 1)
        assert effect(blocks) is None


def test_no_single_difference_fits_blocks_that_contradict_each_other() -> None:
    blocks = Blocks.from_columns(50, [1, 1000, 100], [1, 475, 50], [1000, 100, 100], [514, 6, 99])
    assert min(at(blocks, difference) for difference in np.linspace(-0.999, 0.999, 1999)) > BAR
    assert interval(blocks) is None


def test_effect_of_one_block_is_the_difference_of_its_rates() -> None:
    assert effect(Blocks.from_columns(50, 200, 20, 100, 25)) == pytest.approx(0.15)


def test_effect_is_not_moved_by_a_ramp_under_a_rising_base_rate() -> None:
    blocks = Blocks.from_columns([5, 75], [950, 250], [95, 125], [50, 750], [5, 375])
    pooled = (380 / 800) - (220 / 1200)
    assert pooled == pytest.approx(0.29, abs=0.01)
    assert effect(blocks) == 0.0


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.05, math.nan])
def test_alpha_that_is_no_probability_of_error_is_refused(alpha: float) -> None:
    with pytest.raises(ExperimentError, match=r"alpha is .* between 0 and 1"):
        interval(Blocks.from_columns(50, 1, 0, 1, 0), alpha)


@given(st.integers(2, 3))
def test_several_experiments_have_no_common_interval(n_experiments: int) -> None:
    blocks = Blocks.from_columns(50, np.ones((n_experiments, 4)), 0, 1, 0)
    with pytest.raises(ExperimentError, match=r"expected those of one experiment, \(n_blocks,\)"):
        interval(blocks)
