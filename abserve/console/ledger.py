"""What the replicas of one SeldonDeployment have counted while we looked.

::

    replica ──reading──> minus its last reading ──> what the predictor served
                                          └───────> what was judged, by version

A replica answers for its own predictor, but ground truth counts for the version that answered,
whichever replica received it. Replicas come, go and begin again from nothing; the totals here only
ever grow.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from abserve.console.timeline import Timeline, Window
from abserve.telemetry import Drift, ReplicaCounts, VersionCounts, combine_drift

MINUTE_SECONDS = 60.0
POINT_SECONDS = 10.0
N_POINTS = 90

_NOTHING = VersionCounts()


@dataclass(frozen=True, slots=True)
class Point:
    """A predictor at one moment: requests of the last `POINT_SECONDS`, all else of a minute.

    Times are in seconds, shares in [0, 1]; None is what nothing was counted for.
    """

    at: float
    rate: float | None
    rejected: float | None
    failed: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    accuracy: float | None
    n_feedback: int


class Ledger:
    """Totals, the last minute, and the points of the last quarter of an hour.

    Parameters
    ----------
    from_the_start : bool
        Whether the SeldonDeployment appeared while we looked, so that its first replicas have
        counted nothing that we have not seen.
    """

    def __init__(self, *, from_the_start: bool) -> None:
        self._looking = from_the_start
        self._latest: dict[str, ReplicaCounts] = {}
        self._predictors: dict[str, str] = {}
        self.served: dict[str, VersionCounts] = {}
        self.judged: dict[str, VersionCounts] = {}
        self._served_lately: dict[str, Timeline] = {}
        self._judged_lately: dict[str, Timeline] = {}
        self.points: dict[str, deque[Point]] = {}

    def keep(self, pods: Mapping[str, str]) -> None:
        """Say which replicas there are now, and the predictor of each; others are forgotten."""
        self._latest = {pod: counts for pod, counts in self._latest.items() if pod in pods}
        if self._looking:
            for pod in pods.keys() - self._predictors.keys():
                self._latest[pod] = ReplicaCounts(None, {})
        self._looking = True
        self._predictors = dict(pods)

    def take(self, pod: str, counts: ReplicaCounts) -> None:
        """Take up a reading of one of the replicas.

        Raises
        ------
        TelemetryError
            If it cannot be added to what the others counted.
        """
        predictor = self._predictors.get(pod)
        if predictor is None:
            return
        earlier = self._latest.get(pod)
        self._latest[pod] = counts
        if earlier is None:
            return
        for version, increase in counts.since(earlier).items():
            self.judged[version] = self.judged.get(version, _NOTHING) + increase
            if version == counts.version:
                self.served[predictor] = self.served.get(predictor, _NOTHING) + increase

    def mark(self, at: float, predictors: Iterable[str]) -> None:
        """Note the totals of this moment; other predictors than these are forgotten."""
        for known in (self.served, self._served_lately, self.points):
            for gone in known.keys() - set(predictors):
                del known[gone]
        for predictor in predictors:
            _mark(self._served_lately, predictor, at, self.served)
        for version in {*self.judged, *(each.version or "" for each in self._latest.values())}:
            _mark(self._judged_lately, version, at, self.judged)

    def add_points(self, at: float) -> None:
        """Add a point to the history of each predictor."""
        for predictor, timeline in self._served_lately.items():
            history = self.points.setdefault(predictor, deque(maxlen=N_POINTS))
            history.append(self._point(at, predictor, timeline))

    def version(self, predictor: str) -> str | None:
        """Return the version that a predictor's replicas say they serve."""
        return next((each.version for each in self._of(predictor) if each.version), None)

    def lately(self, predictor: str) -> Window:
        """Return what a predictor served in the last minute."""
        timeline = self._served_lately.get(predictor)
        return timeline.last(MINUTE_SECONDS) if timeline else Window(_NOTHING, 0.0)

    def reported(self, predictor: str) -> VersionCounts:
        """Return what its replicas have counted since they were started, seen by us or not.

        Requests are the predictor's own; ground truth is that of its version. Without times:
        replicas of different releases may sort them into different buckets.
        """
        version = self.version(predictor) or ""
        served = [each.by_version.get(version, _NOTHING) for each in self._of(predictor)]
        judged = [each.by_version.get(version, _NOTHING) for each in self._latest.values()]
        return VersionCounts(
            n_requests=sum(each.n_requests for each in served),
            n_rejected=sum(each.n_rejected for each in served),
            n_failed=sum(each.n_failed for each in served),
            n_correct=sum(each.n_correct for each in judged),
            n_incorrect=sum(each.n_incorrect for each in judged),
        )

    def drift(self, predictor: str) -> Drift | None:
        """Return how far the rows a predictor answers of late lie from those it was fitted on."""
        return combine_drift(each.drift for each in self._of(predictor) if each.drift)

    def _of(self, predictor: str) -> list[ReplicaCounts]:
        return [
            counts for pod, counts in self._latest.items() if self._predictors[pod] == predictor
        ]

    def _point(self, at: float, predictor: str, timeline: Timeline) -> Point:
        minute = timeline.last(MINUTE_SECONDS)
        judged = self._judged_lately.get(self.version(predictor) or "")
        feedback = judged.last(MINUTE_SECONDS).counts if judged else _NOTHING
        return Point(
            at=at,
            rate=timeline.last(POINT_SECONDS).rate,
            rejected=minute.rejected,
            failed=minute.failed,
            p50=minute.counts.seconds.quantile(0.5),
            p90=minute.counts.seconds.quantile(0.9),
            p99=minute.counts.seconds.quantile(0.99),
            accuracy=feedback.accuracy,
            n_feedback=feedback.n_feedback,
        )


def _mark(
    timelines: dict[str, Timeline], name: str, at: float, totals: Mapping[str, VersionCounts]
) -> None:
    timeline = timelines.setdefault(name, Timeline(MINUTE_SECONDS))
    timeline.record(at, totals.get(name, _NOTHING))
