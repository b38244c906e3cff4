import math

import numpy as np
import pytest
from hypothesis import given
from scipy.stats import chisquare, dirichlet_multinomial, multinomial

from abserve.errors import ExperimentError
from abserve.experiment import SAMPLE_RATIO_BAR, Block, Blocks, SampleRatio, log_sample_ratio
from tests.abserve.experiment.generated import lists_of_blocks, series


def units(weight: object, n_baseline: object, n_candidate: object) -> Blocks:
    return Blocks.from_columns(weight, n_baseline, 0, n_candidate, 0)


@pytest.mark.parametrize(
    ("n_baseline", "n_candidate", "log_e", "p_value"),
    [(5200, 4800, 5.6136134, 6.334248e-5), (5050, 4950, -1.8149289, 0.3173105)],
)
def test_known_answers(n_baseline: int, n_candidate: int, log_e: float, p_value: float) -> None:
    found = log_sample_ratio(units(50, n_baseline, n_candidate))
    assert found[0] == pytest.approx(log_e, abs=5e-8)
    # The usual test of the same counts, for comparison: it may be looked at once only.
    assert chisquare([n_baseline, n_candidate]).pvalue == pytest.approx(p_value, rel=1e-6)


@pytest.mark.parametrize("weight", [1, 10, 50, 75])
def test_factor_is_a_ratio_of_scipys_likelihoods(weight: int) -> None:
    shares = np.array([1 - weight / 100, weight / 100])
    counts = [830, 170]
    expected = dirichlet_multinomial.logpmf(counts, 100 * shares, 1000) - multinomial.logpmf(
        counts, 1000, shares
    )
    assert log_sample_ratio(units(weight, 830, 170))[0] == pytest.approx(expected, rel=1e-9)


def test_change_of_weights_opens_a_new_factor() -> None:
    blocks = units([10, 10, 50, 50, 10], [900, 880, 510, 495, 905], [100, 120, 490, 505, 95])
    ten = log_sample_ratio(units(10, 1780, 220))[0]
    fifty = log_sample_ratio(units(50, 1005, 995))[0]
    ten_again = log_sample_ratio(units(10, 905, 95))[0]
    found = log_sample_ratio(blocks)
    assert found[1] == pytest.approx(ten)
    assert found[3] == pytest.approx(ten + fifty)
    assert found[4] == pytest.approx(ten + fifty + ten_again)


@given(lists_of_blocks())
def test_one_block_at_a_time_gives_the_same_bits_as_all_at_once(blocks: list[Block]) -> None:
    state = SampleRatio()
    one_by_one = []
    for block in blocks:
        state = state.add(block)
        one_by_one.append(state.log_e)
    assert one_by_one == log_sample_ratio(Blocks.of(blocks)).tolist()


@given(series())
def test_evidence_is_always_a_finite_number(blocks: Blocks) -> None:
    assert np.isfinite(log_sample_ratio(blocks)).all()


@given(series(most=10**6))
def test_exchanging_the_variants_changes_nothing(blocks: Blocks) -> None:
    here, there = log_sample_ratio(blocks), log_sample_ratio(blocks.swapped())
    assert there.tolist() == pytest.approx(here.tolist(), rel=1e-6, abs=1e-6)


def test_experiments_side_by_side_do_not_touch_each_other() -> None:
    weight = np.array([[10, 10, 50, 50], [50, 25, 25, 25]])
    n_baseline, n_candidate = weight * 7 + 1, weight * 9
    together = log_sample_ratio(units(weight, n_baseline, n_candidate))
    for i in range(2):
        alone = log_sample_ratio(units(weight[i], n_baseline[i], n_candidate[i]))
        assert alone.tolist() == together[i].tolist()


def test_strays_at_weight_0_are_borne_and_a_stream_is_not() -> None:
    bar = math.log(SAMPLE_RATIO_BAR)
    assert log_sample_ratio(units(0, 1000, 2))[0] < bar
    assert log_sample_ratio(units(0, 1000, 10))[0] > bar
    assert log_sample_ratio(units(100, 10, 1000))[0] > bar


def test_no_expected_count_of_a_small_block_is_above_1() -> None:
    """E[e] over all outcomes of ten units at 10 %, by enumeration."""
    n_candidate = np.arange(11)
    e = np.exp([log_sample_ratio(units(10, 10 - n, n))[0] for n in n_candidate])
    probability = [math.comb(10, n) * 0.1**n * 0.9 ** (10 - n) for n in range(11)]
    assert probability @ e == pytest.approx(1, abs=1e-12)


def test_concentration_of_0_is_refused() -> None:
    with pytest.raises(ExperimentError, match="the concentration is 0; expected a number above 0"):
        log_sample_ratio(units(50, 1, 1), concentration=0)
