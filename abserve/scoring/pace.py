"""How many requests are in flight: as many as the server bears, which it says by being busy.

::

    in flight      /|    /|        each answer lets in a little more; a server that is busy
                  / |   / |        halves it, and gets a pause that doubles until it answers
                 /  |__/  |__

This is how TCP shares a line (additive increase, multiplicative decrease): several that score at
once, and the requests of people beside them, all get their part. Pauses are drawn at random, so
that those that were sent away together do not come back together.
"""

import random
import time
from collections.abc import Callable
from threading import Condition

from abserve.errors import ScoringError

_FIRST_IN_FLIGHT = 2.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 30.0
# Nobody should sleep for hours because a header says so.
_LONGEST_OBEYED_SECONDS = 600.0
_LOOK_SECONDS = 1.0


class StoppedError(Exception):
    """Nothing is to be sent any more."""


class Pace:
    """Lets requests start. May be asked from many threads.

    Parameters
    ----------
    most_in_flight : int
        At no time are there more.
    patience_seconds : float
        How long the server may be busy without one answer.
    clock : callable, optional
        Returns seconds that only grow.
    """

    def __init__(
        self,
        most_in_flight: int,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most_in_flight
        self._patience = patience_seconds
        self._clock = clock
        self._changed = Condition()
        self._limit = min(_FIRST_IN_FLIGHT, most_in_flight)
        self._in_flight = 0
        self._n_busy = 0
        self._cut_at = self._resume_at = self._answered_at = clock()
        self._stopped = False

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return int(self._limit)

    @property
    def n_busy(self) -> int:
        """How often the server was busy since its last answer."""
        return self._n_busy

    def start(self) -> float:
        """Wait until one more request may be sent; return when that is.

        Raises
        ------
        StoppedError
            If none may be any more.
        """
        with self._changed:
            while not self._stopped:
                pause = self._resume_at - self._clock()
                if pause <= 0 and self._in_flight < self.limit:
                    self._in_flight += 1
                    return self._clock()
                self._changed.wait(pause if 0 < pause < _LOOK_SECONDS else _LOOK_SECONDS)
            raise StoppedError

    def answered(self) -> None:
        """Note that a request was answered, if only with a refusal of its rows."""
        with self._changed:
            self._in_flight -= 1
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._n_busy = 0
            self._answered_at = self._clock()
            self._changed.notify_all()

    def busy(self, started_at: float, retry_after: float | None, reason: str) -> None:
        """Note that the server was busy for a request.

        Raises
        ------
        ScoringError
            If it has been for longer than our patience.
        """
        with self._changed:
            now = self._clock()
            self._in_flight -= 1
            self._changed.notify_all()
            if now - self._answered_at > self._patience:
                raise ScoringError(
                    f"{reason}. Nothing was answered for {now - self._answered_at:.0f} s; what was "
                    "is kept, and the same command goes on from there"
                )
            # What was sent before the last cut tells nothing new.
            if started_at >= self._cut_at:
                self._limit = max(1.0, self._limit / 2)
                self._cut_at = now
                self._n_busy += 1
            longest = min(_FIRST_PAUSE_SECONDS * 2 ** min(self._n_busy, 20), _LONGEST_PAUSE_SECONDS)
            pause = random.uniform(longest / 2, longest)  # noqa: S311  # no secret
            if retry_after is not None:
                pause = max(pause, min(retry_after, _LONGEST_OBEYED_SECONDS))
            self._resume_at = max(self._resume_at, now + pause)

    def stop(self) -> None:
        """Let nothing start any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
