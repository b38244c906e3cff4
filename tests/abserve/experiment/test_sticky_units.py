"""Users who come back: what has to be counted, over 2,000 experiments without any difference.

2,000 users, each with a success rate of their own, send about ten requests each. Their place on the
unit interval, drawn once, gives them to the candidate while it lies below its weight, which is
raised from 10 to 25 and 50 %: users move from the baseline to the candidate, and nowhere else. The
base rate rises threefold meanwhile. A user is counted at the first request to each variant.
"""

from typing import NamedTuple

import numpy as np
import pytest

from abserve.experiment import SAMPLE_RATIO_BAR, Alternative, Blocks, log_evidence, log_sample_ratio
from tests.abserve.experiment.test_claims import (
    ALPHA,
    N_BLOCKS,
    N_EXPERIMENTS,
    N_UNITS,
    highest,
    share_of_alarms,
)

N_USERS = 2000
STEPS = np.repeat([10, 25, 50], [33, 33, 34])
DRIFT = np.linspace(0.5, 1.5, N_BLOCKS)


class Counted(NamedTuple):
    """The same requests, counted in two ways."""

    requests: Blocks
    users: Blocks


def simulate(seed: int, weight: np.ndarray) -> Counted:
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(N_BLOCKS), N_UNITS)
    at = np.arange(block.size)
    counts = np.zeros((2, 4, N_EXPERIMENTS, N_BLOCKS))
    for i in range(N_EXPERIMENTS):
        rate, place = rng.beta(0.05, 0.45, N_USERS), rng.random(N_USERS)
        user = rng.integers(0, N_USERS, block.size)
        candidate = place[user] < weight[block] / 100
        success = rng.random(block.size) < rate[user] * DRIFT[block]
        seen = user * 2 + candidate
        first = np.full(2 * N_USERS, -1)
        # Where several requests name one place, the last that is written stays: the earliest.
        first[seen[::-1]] = at[::-1]
        for way, chosen in enumerate((at, first[first >= 0])):
            cell = block[chosen] * 2 + candidate[chosen]
            n = np.bincount(cell, minlength=2 * N_BLOCKS)
            k = np.bincount(cell, weights=success[chosen], minlength=2 * N_BLOCKS)
            counts[way, :, i] = n[::2], k[::2], n[1::2], k[1::2]
    return Counted(*(Blocks.from_columns(weight, *columns) for columns in counts))


@pytest.fixture(scope="module")
def raised() -> Counted:
    return simulate(20260313, STEPS)


def test_requests_of_users_who_come_back_are_no_units(raised: Counted) -> None:
    """One user's requests succeed or fail together: too few users are taken for many."""
    assert share_of_alarms(log_evidence(raised.requests, 0.0, "two-sided")) > 3 * ALPHA
    assert share_of_alarms(log_evidence(raised.requests, 0.0, "greater")) > 2 * ALPHA


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_users_counted_once_per_variant_are_rejected_at_most_as_often_as_stated(
    raised: Counted, alternative: Alternative
) -> None:
    assert share_of_alarms(log_evidence(raised.users, 0.0, alternative)) <= highest(ALPHA)


def test_users_arrive_in_the_weights_until_these_are_raised(raised: Counted) -> None:
    before = raised.users.until(33)
    alarms = share_of_alarms(log_sample_ratio(before), 1 / SAMPLE_RATIO_BAR)
    assert alarms <= highest(1 / SAMPLE_RATIO_BAR)


def test_users_who_move_arrive_at_the_candidate_beyond_its_weight(raised: Counted) -> None:
    """Users whom the baseline knew are new to the candidate: no ratio can be expected of them."""
    assert share_of_alarms(log_sample_ratio(raised.users), 1 / SAMPLE_RATIO_BAR) > 0.99
