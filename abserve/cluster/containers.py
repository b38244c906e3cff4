"""What became of a replica's containers, in Kubernetes' words.

::

    Waiting ──begin──> Running ──end──> Terminated
       ▲                  │
       └───────fail───────┘   CrashLoopBackOff; how it ended is `last`

A replica has two: the initializer, which copies the version, and the server. Each run has a log of
its own, and the number of the run is the number of restarts.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from abserve.cluster.logs import RunLogs

COMPLETED, ERROR, UNHEALTHY, UNKNOWN = "Completed", "Error", "Unhealthy", "ContainerStatusUnknown"
"""Reasons for an end; Unhealthy was ended by us, because it did not become ready."""

INITIALIZING, CRASH_LOOP, CONFIG_ERROR = (
    "PodInitializing",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
)
"""Reasons to wait."""

# A shell adds this to the number of the signal that ended a process, and so does Kubernetes.
_SIGNALLED = 128
# What Kubernetes reports of a container that it has lost sight of.
_UNKNOWN_EXIT_CODE = 137


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running, for a reason in one word, and in many."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Running since `started`."""

    started: dt.datetime


@dataclass(frozen=True, slots=True)
class Terminated:
    """Ended; `signal` is 0 unless one ended it."""

    exit_code: int
    signal: int
    reason: str
    message: str
    started: dt.datetime
    finished: dt.datetime

    @classmethod
    def completed(cls, time: dt.datetime) -> "Terminated":
        """Return the end of what had nothing to say, and took no time."""
        return cls(0, 0, COMPLETED, "", time, time)


class Container:
    """One container of a replica.

    Parameters
    ----------
    name : str
        Its name in the Pod.
    folder : Path
        The replica's.
    now : callable
        The time, in UTC.
    """

    def __init__(self, name: str, folder: Path, now: Callable[[], dt.datetime]) -> None:
        self.name = name
        self.state: Waiting | Running | Terminated = Waiting(INITIALIZING)
        self.last: Terminated | None = None
        self.logs = RunLogs(folder / "logs" / name)
        self._now = now

    @property
    def n_restarts(self) -> int:
        return max(self.logs.newest, 0)

    @property
    def log(self) -> Path:
        """The file of the newest run."""
        return self.logs.path(self.n_restarts)

    def is_running(self, run: int) -> bool:
        return isinstance(self.state, Running) and run == self.logs.newest

    def begin(self) -> Path:
        """Note that it runs from now on; return the file for what it says."""
        self.state = Running(self._now())
        return self.logs.begin()

    def end(self, code: int | None, reason: str = ERROR, message: str = "") -> None:
        """Note that it has ended, if it ran.

        Parameters
        ----------
        code : int or None
            Its exit code, negative for a signal; None if nobody can tell.
        reason, message : str
            Why, if it failed: in one word, and in many.
        """
        if not isinstance(self.state, Running):
            return
        if code is None:
            exit_code, signal, reason = _UNKNOWN_EXIT_CODE, 0, UNKNOWN
        elif code < 0:
            exit_code, signal = _SIGNALLED - code, -code
        else:
            exit_code, signal = code, 0
            reason = COMPLETED if code == 0 and reason == ERROR else reason
        self.state = Terminated(exit_code, signal, reason, message, self.state.started, self._now())

    def fail(self, code: int | None, reason: str, message: str, delay_seconds: float) -> str:
        """Note that it has ended or could not begin, and is to begin again after a delay.

        Returns
        -------
        str
            What it waits for, in one word.
        """
        self.end(code, reason, message)
        if isinstance(self.state, Terminated):
            self.last = self.state
            self.state = Waiting(
                CRASH_LOOP, f"back-off {delay_seconds:g}s restarting failed container: {message}"
            )
        else:
            self.state = Waiting(CONFIG_ERROR, message)
        return self.state.reason

    def run_began(self, run: int) -> dt.datetime | None:
        """Return when a run began, if that is known."""
        told_last = self.logs.newest
        if not isinstance(self.state, Waiting):
            if run == self.logs.newest:
                return self.state.started
            told_last -= 1
        return self.last.started if self.last is not None and run == told_last else None
