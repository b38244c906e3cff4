import doctest

import pytest

from abserve import slots
from abserve.errors import ExperimentError
from abserve.slots import (
    N_SLOTS,
    PERIODS_SECONDS,
    REACH,
    is_within_reach,
    period_of,
    rest_seconds,
    slot_of,
)

NOW = 1_800_000_000


def test_the_examples_are_true() -> None:
    assert doctest.testmod(slots).failed == 0


def test_the_slots_of_a_ring_follow_each_other_and_begin_anew() -> None:
    numbers = [slot_of(NOW + 60 * minute, 60) for minute in range(N_SLOTS + 1)]
    first = numbers[0]
    assert numbers == [(first + minute) % N_SLOTS for minute in range(N_SLOTS + 1)]


@pytest.mark.parametrize("period", PERIODS_SECONDS)
def test_all_of_a_period_has_one_slot(period: int) -> None:
    began = NOW // period * period
    assert slot_of(began, period) == slot_of(began + period - 1, period)
    assert slot_of(began + period, period) == (slot_of(began, period) + 1) % N_SLOTS


@pytest.mark.parametrize(
    ("seconds_later", "within"),
    [(-1, False), (0, True), (59, True), (REACH * 60 - 1, True), (REACH * 60, False)],
)
def test_feedback_is_within_reach_for_half_a_ring(seconds_later: int, within: bool) -> None:
    minute = NOW // 60 * 60
    assert is_within_reach(minute, minute + seconds_later, 60) is within


def test_a_slot_rests_for_half_a_ring_before_it_stands_for_another_period() -> None:
    minute = NOW // 60 * 60
    again = minute + N_SLOTS * 60
    assert slot_of(again, 60) == slot_of(minute, 60)
    resting = range(minute + REACH * 60, again, 60)
    assert len(resting) == N_SLOTS - REACH
    assert not any(is_within_reach(minute, now, 60) for now in resting)


@pytest.mark.parametrize(
    ("interval", "maturity", "period"),
    [
        (1, 0, 1),
        (10, 49, 1),
        (60, 0, 60),
        (60, 600, 60),
        (3600, 0, 3600),
        (12 * 3600, 7 * 24 * 3600, 12 * 3600),
    ],
)
def test_blocks_are_counted_in_the_finest_ring_that_reaches_as_far(
    interval: int, maturity: int, period: int
) -> None:
    assert period_of(interval, maturity) == period


@pytest.mark.parametrize(
    ("interval", "maturity", "period"),
    [(30, 60, 60), (60, 3540, 3600), (3600, 60 * 3600, 43200), (3600, 7 * 24 * 3600, 43200)],
)
def test_blocks_that_are_no_whole_periods_of_their_ring_are_refused(
    interval: int, maturity: int, period: int
) -> None:
    with pytest.raises(ExperimentError, match=f"expected a multiple of {period} s"):
        period_of(interval, maturity)


def test_a_maturity_beyond_every_ring_is_refused() -> None:
    with pytest.raises(ExperimentError, match="expected less than 2592000 s"):
        period_of(12 * 3600, 30 * 24 * 3600)


@pytest.mark.parametrize("interval", [60, 600, 3600])
def test_when_a_block_begins_its_slots_have_rested_since_a_known_moment(interval: int) -> None:
    began = NOW // 3600 * 3600
    resting_since = began - rest_seconds(interval, 60)
    # The earlier periods that the block's slots stood for.
    earlier = range(began - N_SLOTS * 60, began - N_SLOTS * 60 + interval, 60)
    assert not any(is_within_reach(minute, resting_since, 60) for minute in earlier)
    assert is_within_reach(earlier[-1], resting_since - 1, 60)
