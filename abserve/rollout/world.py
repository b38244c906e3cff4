"""What a rollout has to do with: time, the cluster, the right to act, and whoever looks on."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from abserve.analysis import Experiment
from abserve.errors import AbserveError, KubernetesError, ManifestError
from abserve.promotion import SeldonDeployments
from abserve.promotion.kubernetes import Document, Report
from abserve.promotion.leases import seconds_since_boot
from abserve.rollout.history import History
from abserve.rollout.records import Record
from abserve.rollout.state import State
from abserve.rollout.stepping import Pace

_T = TypeVar("_T")
_P = ParamSpec("_P")

_LONGEST_PAUSE_SECONDS = 30.0
# The cluster, and what others make of the SeldonDeployment, may be better a moment later.
_MAY_PASS = (KubernetesError, ManifestError)


class Clock(Protocol):
    """Time, and the only way in which a rollout waits."""

    def now(self) -> float:
        """Return the time of day, in seconds since 1970."""

    def monotonic(self) -> float:
        """Return the time of a clock that nobody sets, in seconds."""

    def wait(self, seconds: float) -> None:
        """Return when so many seconds have passed."""


class SystemClock:
    """The clock of this machine."""

    def __init__(self) -> None:
        self._never = threading.Event()

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return seconds_since_boot()

    def wait(self, seconds: float) -> None:
        self._never.wait(seconds)


class Leading(Protocol):
    """The right to act, as `abserve.promotion.leases.Leadership` has it."""

    @property
    def held(self) -> bool:
        """Whether this process leads."""

    def check(self) -> None:
        """Raise KubernetesError unless it does."""


class Cluster(SeldonDeployments, Protocol):
    """SeldonDeployments of one namespace."""

    def names(self) -> list[str]:
        """Return the names of those there are."""


@dataclass(frozen=True, slots=True)
class World:
    """All that a rollout has to do with.

    Parameters
    ----------
    cluster : Cluster
        Where the SeldonDeployment is; what it writes, it writes only while `leading`.
    namespace, name : str
        The SeldonDeployment's.
    history : callable
        Makes the source of the counts of an experiment on a model.
    leading : Leading
        The right to act.
    clock : Clock
        Time.
    pace : Pace
        Times that depend on who counts.
    timeout_seconds : float
        How long a rollback may take to be in force.
    tell : callable
        Told of each record, with the state before it.
    report : callable
        Told of everything else, in words.
    looked : callable
        Told of each look: where the rollout stands, None if there is none, and when it was.
    found : callable
        Told of the SeldonDeployment whenever it was read, None if there is none.
    """

    cluster: Cluster
    namespace: str
    name: str
    history: Callable[[Experiment, str], History]
    leading: Leading
    clock: Clock
    pace: Pace
    timeout_seconds: float
    tell: Callable[[State, Record], None]
    report: Report
    looked: Callable[[State | None, float], None]
    found: Callable[[Document | None], None]

    def find(self) -> Document | None:
        """Return the SeldonDeployment; None if there is none.

        Raises
        ------
        KubernetesError
            If the cluster refuses or does not answer.
        ManifestError
            If it is no SeldonDeployment that could be served.
        """
        document: Document | None = None
        try:
            document = self.cluster.get(self.name)
        except KubernetesError:
            if self.name in self.cluster.names():
                raise
        self.found(document)
        return document


class Pauses:
    """Tries again after longer and longer pauses, and says why once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._told = ""
        self._seconds = 0.0

    def until_done(self, ask: Callable[[], _T]) -> _T:
        """Ask until there is an answer.

        Raises
        ------
        KubernetesError
            If this process does not lead any more.
        """
        while True:
            self._world.leading.check()
            try:
                answer = ask()
            except _MAY_PASS as error:
                self._pause(error)
            else:
                self._reset()
                return answer

    def unless_done(self, act: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Act, and pause if that failed.

        Raises
        ------
        KubernetesError
            If it failed because this process does not lead any more.
        """
        try:
            act(*args, **kwargs)
        except _MAY_PASS as error:
            self._world.leading.check()
            self._pause(error)
        else:
            self._reset()

    def _reset(self) -> None:
        self._told, self._seconds = "", 0.0

    def _pause(self, error: AbserveError) -> None:
        if str(error) != self._told:
            self._told = str(error)
            self._world.report(f"trying again: {error}")
        self._seconds = min(max(2 * self._seconds, 1.0), _LONGEST_PAUSE_SECONDS)
        self._world.clock.wait(self._seconds)
