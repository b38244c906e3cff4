from fractions import Fraction
from itertools import pairwise

import pytest

from abserve.slots import N_SLOTS, PERIODS_SECONDS, slot_of
from runtimes.outcomes import Outcomes, Slot

NOW = 1_800_000_000


def found(outcomes: Outcomes, period: int) -> dict[int, Slot]:
    return {number: slot for _, each, number, slot in outcomes.slots() if each == period}


def test_nothing_is_counted_at_first() -> None:
    assert list(Outcomes().slots()) == []


def test_an_outcome_is_counted_in_a_slot_of_every_ring() -> None:
    outcomes = Outcomes()
    outcomes.add("accuracy", 1, NOW, NOW)
    assert list(outcomes.slots()) == [
        ("accuracy", period, slot_of(NOW, period), Slot(1, 1.0)) for period in PERIODS_SECONDS
    ]


def test_metrics_are_counted_apart() -> None:
    outcomes = Outcomes()
    outcomes.add("reward", 0.5, NOW, NOW)
    outcomes.add("accuracy", 1, NOW, NOW)
    assert {(metric, slot) for metric, _, _, slot in outcomes.slots()} == {
        ("accuracy", Slot(1, 1.0)),
        ("reward", Slot(1, 0.5)),
    }


@pytest.mark.parametrize(
    ("seconds_ago", "periods"),
    [
        (0, PERIODS_SECONDS),
        (59, PERIODS_SECONDS),
        (60, PERIODS_SECONDS[1:]),
        (3600, PERIODS_SECONDS[2:]),
        (60 * 3600, PERIODS_SECONDS[3:]),
        (30 * 24 * 3600, ()),
    ],
)
def test_late_feedback_is_counted_in_the_rings_that_reach_as_far(
    seconds_ago: int, periods: tuple[int, ...]
) -> None:
    outcomes = Outcomes()
    # The last second of a period of all rings.
    now = NOW // PERIODS_SECONDS[-1] * PERIODS_SECONDS[-1]
    outcomes.add("accuracy", 1, now - seconds_ago, now)
    assert tuple(period for _, period, _, _ in outcomes.slots()) == periods


def test_what_a_clock_that_is_ahead_assigned_is_counted_where_the_period_has_begun() -> None:
    outcomes = Outcomes()
    outcomes.add("accuracy", 1, NOW + 1, NOW)
    assert found(outcomes, 1) == {}
    assert found(outcomes, 60) == {slot_of(NOW, 60): Slot(1, 1.0)}


def test_there_is_a_bounded_number_of_slots_that_only_grow() -> None:
    outcomes = Outcomes()
    counts = []
    for second in range(3 * N_SLOTS):
        outcomes.add("accuracy", 1, NOW + second, NOW + second)
        counts.append(found(outcomes, 1))
    assert len(counts[-1]) == N_SLOTS
    assert set(counts[-1].values()) == {Slot(3, 3.0)}
    for earlier, later in pairwise(counts):
        assert all(later[number].n >= slot.n for number, slot in earlier.items())


def test_sums_are_exact_so_that_no_difference_exceeds_what_was_possible() -> None:
    outcomes = Outcomes()
    for _ in range(10_000):
        outcomes.add("reward", 1 / 3, NOW, NOW)
    before = found(outcomes, 60)[slot_of(NOW, 60)]
    for _ in range(7):
        outcomes.add("reward", 1, NOW, NOW)
    after = found(outcomes, 60)[slot_of(NOW, 60)]
    assert after.sum - before.sum == after.n - before.n == 7
    assert Fraction(before.sum) == 10_000 * Fraction(round(2**20 / 3), 2**20)
    assert before.sum == pytest.approx(10_000 / 3, rel=1e-6)
