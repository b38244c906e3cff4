import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from abserve.errors import ExperimentError
from abserve.experiment import Blocks, log_rate_ratio, log_share_evidence
from tests.abserve.experiment.generated import series


def counted(weight: object, k_baseline: object, k_candidate: object) -> Blocks:
    return Blocks.from_columns(weight, 10**9, k_baseline, 10**9, k_candidate)


def test_known_answers() -> None:
    assert log_share_evidence(counted(50, 23, 50))[0] == pytest.approx(3.1112726, abs=5e-8)
    assert log_rate_ratio(counted(50, 200, 190), 1.25)[0] == pytest.approx(1.4912289, abs=5e-8)


@pytest.mark.parametrize(
    ("weight", "s_a", "s_b", "ratio"),
    [(50, 20, 10, 1.0), (10, 30, 2, 1.5), (75, 3, 12, 1.1), (50, 0, 0, 2.0), (50, 5, 60, 1.25)],
)
def test_evidence_is_the_integral_it_is_said_to_be(
    weight: int, s_a: int, s_b: int, ratio: float
) -> None:
    share = weight / 100
    p_0 = share * ratio / (1 - share + share * ratio)

    def likelihood_ratio(p: float) -> float:
        return (p / p_0) ** s_b * ((1 - p) / (1 - p_0)) ** s_a / p_0

    integral, _ = quad(likelihood_ratio, 0, p_0, epsabs=0, epsrel=1e-10)
    found = log_rate_ratio(counted(weight, s_a, s_b), ratio)[0]
    assert found == pytest.approx(math.log(integral), abs=1e-8)


def test_overwhelming_errors_of_the_candidate_give_a_number_and_no_evidence() -> None:
    assert -20 < log_rate_ratio(counted(50, 0, 10**6), 1.25)[0] < 0


@given(series(), st.floats(0.01, 100))
def test_evidence_is_always_a_finite_number(blocks: Blocks, ratio: float) -> None:
    assert np.isfinite(log_rate_ratio(blocks, ratio)).all()
    assert np.isfinite(log_share_evidence(blocks)).all()


def test_change_of_weights_opens_a_new_factor() -> None:
    together = log_rate_ratio(counted([10, 50], [90, 40], [6, 30]), 1.25)
    first, second = (
        log_rate_ratio(counted(weight, s_a, s_b), 1.25)[0]
        for weight, s_a, s_b in ((10, 90, 6), (50, 40, 30))
    )
    assert together.tolist() == pytest.approx([first, first + second])


@pytest.mark.parametrize("p", [0.5, 0.6, 0.9])
def test_expectation_is_at_most_1_wherever_the_ratio_is_exceeded(p: float) -> None:
    """E[e] over all outcomes of twelve errors whose share is the bound's, or worse."""
    s_b = np.arange(13)
    e = np.exp([log_rate_ratio(counted(50, 12 - s, s), 1.0)[0] for s in s_b])
    probability = [math.comb(12, s) * p**s * (1 - p) ** (12 - s) for s in range(13)]
    assert probability @ e <= 1 + 1e-12


def test_rewards_are_no_counts() -> None:
    for compute in (log_share_evidence, lambda blocks: log_rate_ratio(blocks, 1.25)):
        with pytest.raises(ExperimentError, match="not whole; expected counts"):
            compute(counted(50, 1.5, 2))


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.inf, math.nan])
def test_ratio_that_rates_cannot_have_is_refused(ratio: float) -> None:
    with pytest.raises(ExperimentError, match="expected a number above 0"):
        log_rate_ratio(counted(50, 1, 1), ratio)
