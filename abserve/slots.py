"""Feedback by the time its request was assigned: rings of slots.

Feedback comes late, and counts for the block in which its request was assigned. So servers count
it by that time, in counters that only grow and whose number is bounded: for each period of
`PERIODS_SECONDS` a ring of `N_SLOTS` counters, each standing for one period of time and, after a
turn of the ring, for a later one.

::

    assigned at 12:03:20, period 60 s  ──>  minute 723 of the day  ──>  slot 3 of 120

Only feedback younger than `REACH` periods is counted. Half a ring later at the earliest its slot
stands for a new period, so that in between the slot rests, and what it grows by from the beginning
of a period on is that period's.
"""

from abserve.errors import ExperimentError

PERIODS_SECONDS = (1, 60, 3600, 12 * 3600)
N_SLOTS = 120
REACH = N_SLOTS // 2


def slot_of(time: int, period_seconds: int) -> int:
    """Return the slot of a moment, given in whole seconds since 1970."""
    return time // period_seconds % N_SLOTS


def is_within_reach(assigned_at: int, now: int, period_seconds: int) -> bool:
    """Tell whether feedback on a request assigned then may still be counted in its slot."""
    return 0 <= now // period_seconds - assigned_at // period_seconds < REACH


def period_of(interval_seconds: int, maturity_seconds: int) -> int:
    """Return the finest period that feedback of such blocks can be counted in.

    Raises
    ------
    ExperimentError
        If there is none: blocks must be whole periods, and their feedback within reach.

    Examples
    --------
    >>> period_of(interval_seconds=60, maturity_seconds=600)
    60
    """
    within_reach = [
        period for period in PERIODS_SECONDS if interval_seconds + maturity_seconds < REACH * period
    ]
    if not within_reach:
        longest = REACH * PERIODS_SECONDS[-1]
        raise ExperimentError(
            f"blocks of {interval_seconds} s and a maturity of {maturity_seconds} s take "
            f"{interval_seconds + maturity_seconds} s; expected less than {longest} s, for which "
            "servers count feedback"
        )
    period = within_reach[0]
    if interval_seconds % period:
        raise ExperimentError(
            f"the interval is {interval_seconds} s; with a maturity of {maturity_seconds} s "
            f"feedback is counted by periods of {period} s, so expected a multiple of {period} s"
        )
    return period


def rest_seconds(interval_seconds: int, period_seconds: int) -> int:
    """Return for how long, when a block begins, all of its slots have rested.

    Whoever reads them for the last time before it, and not earlier than that, has what they were
    at its beginning.
    """
    return (REACH + 1) * period_seconds - interval_seconds
