"""What became of responses, counted by the time their requests were assigned.

::

    metric, value, assigned at ──> a slot of each ring within whose reach it is ──> n, sum
                                        (abserve.slots)

Each response is one outcome of a metric: a number in [0, 1]. It is rounded to a multiple of 2**-20.
Sums and differences of such numbers are exact in floating point, up to eight billion of them, so
that whoever takes two readings from each other never finds more than was possible.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias, get_args

from abserve.slots import N_SLOTS, PERIODS_SECONDS, is_within_reach, slot_of

Metric: TypeAlias = Literal["accuracy", "reward"]

_METRICS: tuple[Metric, ...] = get_args(Metric)
_PARTS = 1 << 20


class Slot(NamedTuple):
    """What was counted in one slot of a ring; replaced as a whole, because a scrape may look on."""

    n: int = 0
    sum: float = 0.0


class Outcomes:
    """The outcomes of one version."""

    def __init__(self) -> None:
        self._rings: dict[tuple[Metric, int], list[Slot | None]] = {
            (metric, period): [None] * N_SLOTS for metric in _METRICS for period in PERIODS_SECONDS
        }

    def add(self, metric: Metric, value: float, assigned_at: int, now: float) -> None:
        """Count what became of one response, where it still may be.

        Parameters
        ----------
        metric : Metric
            What was measured.
        value : float
            In [0, 1].
        assigned_at : int
            When its request was assigned, in seconds since 1970.
        now : float
            The present time, likewise.
        """
        exact = round(value * _PARTS) / _PARTS
        for period in PERIODS_SECONDS:
            if is_within_reach(assigned_at, int(now), period):
                ring = self._rings[metric, period]
                number = slot_of(assigned_at, period)
                counted = ring[number] or Slot()
                ring[number] = Slot(counted.n + 1, counted.sum + exact)

    def slots(self) -> Iterator[tuple[Metric, int, int, Slot]]:
        """Yield metric, period, number and content of each slot that anything was counted in."""
        for (metric, period), ring in self._rings.items():
            for number, slot in enumerate(ring):
                if slot is not None:
                    yield metric, period, number, slot
