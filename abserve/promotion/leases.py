"""Who may act, of several copies of one program: leader election with a Lease of the cluster.

::

    free, or run out ──take──> held ──renew──> held ──renew──> ...
                                 │
                                 ├── released: free at once
                                 └── lost: not renewed in time, or another holds it

The algorithm is that of Kubernetes' own controllers (client-go's ``leaderelection``). The API
orders all writes: each names the version of the Lease that it replaces, so of two only one comes
through. No clock is compared with another's: who waits counts the Lease's duration from when it
saw the Lease change last, and who holds it counts a shorter time from before it sent its last
renewal. So the one has stopped before the other begins, as long as their clocks run at about the
same speed.

A process may be paused for any time between asking whether the Lease is held and the arrival of
its write. A write that must not come from an old leader therefore names the `resourceVersion` that
it was decided on as well.
"""

import datetime as dt
import math
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from abserve.errors import KubernetesError
from abserve.promotion.kubernetes import Document, Kubernetes, Report, say_nothing
from abserve.promotion.lease_objects import API_VERSION, ClusterLeases, Leases

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
# Zero is none that Kubernetes takes.
_RELEASED_SECONDS = 1


def seconds_since_boot() -> float:
    """Return the time of a clock that goes on while the machine sleeps, as those of others do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Candidacy:
    """One contender for a Lease, step by step: nothing here waits.

    Parameters
    ----------
    leases : Leases
        Where the Lease is kept.
    name, identity : str
        The Lease, and who this is; no other contender may have the same identity.
    duration_seconds : int
        How long others wait after the last renewal that they saw.
    renew_seconds : float
        How long the Lease is held after a renewal was sent that was accepted; shorter.
    clock : callable
        Seconds that only grow.
    now : callable
        The time in UTC, for people to read.
    """

    def __init__(
        self,
        leases: Leases,
        name: str,
        identity: str,
        duration_seconds: int,
        renew_seconds: float,
        clock: Callable[[], float] = seconds_since_boot,
        now: Callable[[], dt.datetime] = _utc_now,
    ) -> None:
        self.identity = identity
        self._leases = leases
        self._name = name
        self._duration_seconds = duration_seconds
        self._renew_seconds = renew_seconds
        self._clock = clock
        self._now = now
        self._seen: Document | None = None
        self._seen_at = -math.inf
        self._held_until = -math.inf

    @property
    def held(self) -> bool:
        return self._clock() < self._held_until

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last seen; empty if nobody did."""
        return str(self._spec.get("holderIdentity") or "")

    @property
    def seconds_to_wait(self) -> float:
        """How long until the Lease may be taken, as far as is known now."""
        if self.holder in {"", self.identity}:
            return 0
        duration = self._spec.get("leaseDurationSeconds") or self._duration_seconds
        return max(0, self._seen_at + float(duration) - self._clock())

    def take(self) -> bool:
        """Try to get the Lease; tell whether it is held now.

        Raises
        ------
        KubernetesError
            If the cluster refuses or does not answer.
        """
        self._look()
        if self.seconds_to_wait > 0:
            return False
        time = self._time()
        goes_over = self._seen is not None and self.holder != self.identity
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._duration_seconds,
            "acquireTime": time,
            "renewTime": time,
            "leaseTransitions": int(self._spec.get("leaseTransitions") or 0) + goes_over,
        }
        # The time before it is sent: nobody can see it earlier.
        sent_at = self._clock()
        if self._write(spec):
            self._held_until = sent_at + self._renew_seconds
        return self.held

    def renew(self) -> bool:
        """Try to keep the Lease; tell whether it is held still. What ran out does not come back.

        Raises
        ------
        KubernetesError
            If the cluster refuses or does not answer. It is held until its time is up all the same.
        """
        if self.held and not self._renewed():
            # Somebody wrote it: this process, if an answer was lost on the way, or another.
            self._look()
            if self.holder == self.identity:
                self._renewed()
            else:
                self._held_until = -math.inf
        return self.held

    def release(self) -> None:
        """Give the Lease back, so that nobody has to wait until it runs out.

        Raises
        ------
        KubernetesError
            If the cluster refuses or does not answer.
        """
        self._held_until = -math.inf
        if self.holder == self.identity:
            free = {"holderIdentity": "", "leaseDurationSeconds": _RELEASED_SECONDS}
            self._write({**self._spec, **free, "renewTime": self._time()})

    @property
    def _spec(self) -> Document:
        return (self._seen or {}).get("spec") or {}

    def _time(self) -> str:
        return self._now().strftime(_TIME)

    def _look(self) -> None:
        self._note(self._leases.get(self._name))

    def _note(self, found: Document | None) -> None:
        # Whatever changed it: to wait longer than necessary does no harm.
        if _version_of(found) != _version_of(self._seen):
            self._seen_at = self._clock()
        self._seen = found

    def _renewed(self) -> bool:
        sent_at = self._clock()
        written = self._write({**self._spec, "renewTime": self._time()})
        if written and self.held:
            self._held_until = sent_at + self._renew_seconds
        return written

    def _write(self, spec: Document) -> bool:
        """Store the Lease, if it is still as it was seen; tell whether it was."""
        if self._seen is None:
            lease = {
                "apiVersion": API_VERSION,
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": spec,
            }
            written = self._leases.create(lease)
        else:
            written = self._leases.replace({**self._seen, "spec": spec})
        if written is not None:
            self._note(written)
        return written is not None


def _version_of(lease: Document | None) -> str | None:
    return lease["metadata"]["resourceVersion"] if lease else None


class Leadership:
    """The right to act under a name, which one process at a time has.

    A context: entering it waits until this process leads, leaving it gives the right back, and in
    between a thread renews it. What was lost does not come back: leave, and enter another one.

    Parameters
    ----------
    cluster : Kubernetes
        The cluster, and the namespace of the Lease.
    name : str
        The Lease's name.
    identity : str
        Who this is, for people to read. A random part is added, so that no two are the same.
    duration_seconds : int
        How long others wait after the last renewal that they saw.
    renew_seconds : float
        How long the right is held after a renewal was sent that was accepted.
    retry_seconds : float
        The pause before the next renewal, and before the next look of one who waits.
    report : callable
        Told who leads, and what goes wrong meanwhile.
    alive_file : Path, optional
        Touched by each `check` that finds the right held, and by each look of one who waits: a file
        that gets old tells that this process is stuck, whatever its thread goes on renewing.

    Raises
    ------
    ValueError
        Unless `duration_seconds` > `renew_seconds` > `retry_seconds` > 0.
    """

    def __init__(
        self,
        cluster: Kubernetes,
        name: str,
        identity: str,
        duration_seconds: int = 15,
        renew_seconds: float = 10,
        retry_seconds: float = 2,
        report: Report = say_nothing,
        alive_file: Path | None = None,
    ) -> None:
        if not duration_seconds > renew_seconds > retry_seconds > 0:
            raise ValueError(
                f"a Lease of {duration_seconds} s, held for {renew_seconds} s, renewed every "
                f"{retry_seconds} s: expected each to be longer than the next"
            )
        self._name = name
        self._retry_seconds = retry_seconds
        self._report = report
        self._alive_file = alive_file
        # An answer that takes longer leaves no time to ask again.
        leases = ClusterLeases(cluster, renew_seconds / 2)
        self._candidacy = Candidacy(
            leases, name, f"{identity}_{uuid.uuid4().hex[:8]}", duration_seconds, renew_seconds
        )
        self._leaving = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name=f"lease {name}", daemon=True)

    @property
    def identity(self) -> str:
        """Who this is, as the Lease names its holder."""
        return self._candidacy.identity

    @property
    def held(self) -> bool:
        """Whether this process leads, for as long as nobody else can."""
        return self._candidacy.held

    def check(self) -> None:
        """Make sure that the right is `held`.

        Raises
        ------
        KubernetesError
            If it is lost; it says to whom, if that is known.
        """
        if not self.held:
            raise KubernetesError(self._lost())
        self._show_life()

    def __enter__(self) -> Self:
        """Wait until this process leads.

        Raises
        ------
        KubernetesError
            If the cluster refuses or does not answer when it is asked first. Later it is asked
            again, so that who waits outlives a restart of the API.
        """
        self._show_life()
        taken = self._candidacy.take()
        told = ""
        while not taken:
            told = self._tell(told, f"{self._candidacy.holder or 'another'} leads; waiting")
            self._leaving.wait(self._pause())
            self._show_life()
            try:
                taken = self._candidacy.take()
            except KubernetesError as error:
                told = self._tell(told, f"waiting to lead: {error}")
        self._report(f"leading as {self.identity}, by the Lease {self._name!r}")
        self._renewing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving.set()
        self._renewing.join()
        try:
            self._candidacy.release()
        except KubernetesError as failure:
            self._report(f"the Lease {self._name!r} runs out by itself: {failure}")

    def _show_life(self) -> None:
        if self._alive_file is not None:
            self._alive_file.touch()

    def _pause(self) -> float:
        """Return how long to wait before the next look: not beyond the end of the Lease."""
        wait = self._candidacy.seconds_to_wait
        return min(self._retry_seconds, wait) if wait > 0 else self._retry_seconds

    def _tell(self, told: str, text: str) -> str:
        if text != told:
            self._report(text)
        return text

    def _renew(self) -> None:
        told = ""
        while not self._leaving.wait(self._retry_seconds) and self.held:
            try:
                self._candidacy.renew()
                told = ""
            except KubernetesError as error:
                told = self._tell(told, f"the Lease {self._name!r} is not renewed: {error}")
        if not self._leaving.is_set():
            self._report(self._lost())

    def _lost(self) -> str:
        holder = self._candidacy.holder
        known = holder not in {"", self.identity}
        why = f"{holder} leads now" if known else "it was not renewed in time, or deleted"
        return f"the leadership by the Lease {self._name!r} is lost: {why}"
