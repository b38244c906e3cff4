"""The time between being told to end and ending, in which whoever sends requests looks elsewhere.

::

    SIGTERM ──> not ready, and every answer closes its connection ──drain──> no longer listening
                                                                   ──finish──> ended

A server that stops listening at once loses the requests that are on their way to it: its gateway
learns from a refused connection. So it first says that it is not ready, and goes on answering;
the gateway takes it out, and by then has no connection left that it might use again.
"""

import os

from abserve.errors import AbserveError

SECONDS_VARIABLE = "ABSERVE_DRAIN_SECONDS"
USUAL_SECONDS = 3.0

_MOST_SECONDS = 3600.0


class Draining:
    """Whether the drain has begun; shared by all that must know."""

    def __init__(self) -> None:
        self.begun = False


def drain_seconds_from_environment() -> float:
    """Return how long to go on answering after SIGTERM.

    Raises
    ------
    AbserveError
        If the environment holds something that is no number of seconds.
    """
    given = os.environ.get(SECONDS_VARIABLE, str(USUAL_SECONDS))
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    # NaN is on neither side.
    if not 0 <= seconds <= _MOST_SECONDS:
        raise AbserveError(
            f"{SECONDS_VARIABLE} is {given!r}; expected a number of seconds from 0 to "
            f"{_MOST_SECONDS:g}, such as 3"
        )
    return seconds
