"""What commands that stay have in common: they tell when they say it, and end when they are told.

`repeat` keeps a schedule::

    09:00  a round of 20 minutes ──> 10:00  the next ──> 11:00 ...

The rounds are counted from the first, so that none is late because of those before; one that takes
longer than until the next, or a machine that sleeps, leaves out what it missed.
"""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any, NoReturn, Protocol

import click

# What a shell answers for a command that SIGTERM ended: 128 and the number of the signal.
_TERMINATED = 143
# How long a clock that is set, or a machine that slept, may go unnoticed.
_LOOK_SECONDS = 30.0

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PERIOD = re.compile(rf"([1-9][0-9]{{0,5}})([{''.join(_SECONDS)}])")


class Clock(Protocol):
    """The time of day, and the only way to wait."""

    def now(self) -> float:
        """Return the time of day, in seconds since 1970."""

    def wait(self, seconds: float) -> None:
        """Return when so many seconds have passed."""


def read_period(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> float | None:
    """Read an option such as ``90s``, ``30m``, ``24h`` or ``7d``, in seconds; its callback."""
    if value is None:
        return None
    found = _PERIOD.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no period; expected one such as 90s, 30m, 24h, 7d")
    return float(found[1]) * _SECONDS[found[2]]


def repeat(period_seconds: float, clock: Clock, act: Callable[[], None]) -> NoReturn:
    """Act now, and again every `period_seconds`, until something is raised."""
    due = clock.now()
    while True:
        act()
        due = following(due, period_seconds, clock.now())
        while (left := due - clock.now()) > 0:
            if left > period_seconds:  # the clock was set back
                due = clock.now() + period_seconds
            clock.wait(min(left, _LOOK_SECONDS))


def following(due: float, period_seconds: float, now: float) -> float:
    """Return when the round after `now` is due, if one was due at `due`.

    Examples
    --------
    >>> following(due=0.0, period_seconds=60.0, now=10.0)
    60.0
    >>> following(due=0.0, period_seconds=60.0, now=130.0)
    180.0
    """
    return due + period_seconds * max(1, (now - due) // period_seconds + 1)


def say_now(line: str) -> None:
    """Tell on stderr, with the time of day in UTC."""
    click.echo(f"{datetime.now(UTC):%H:%M:%S}  {line}", err=True)


@contextmanager
def ending_by_signals(say: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM end the command as ctrl-C does: what was held is released, and `say` tells it."""

    def terminate(_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(_TERMINATED)

    before: Any = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        say()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
