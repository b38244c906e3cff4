"""One SeldonDeployment: what the cluster says of it, and what its replicas have counted.

It is told what was read and gives back what the page shows, as JSON values: times in seconds,
moments in seconds since 1970 or as the cluster writes them, shares in [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from abserve.console.cluster import Document
from abserve.console.evidence import ALPHA, BAR, RATIO_BAR, EvidenceLog, Setting, Totals
from abserve.console.ledger import MINUTE_SECONDS, POINT_SECONDS, Ledger
from abserve.console.objects import (
    Pod,
    Predictor,
    Spec,
    conditions,
    events_about,
    read_spec,
)
from abserve.telemetry import ReplicaCounts
from abserve.weights import WHOLE


class Deployment:
    """What is known of one SeldonDeployment.

    Parameters
    ----------
    document : dict
        The object as the cluster first sent it.
    at : float
        When that was.
    from_the_start : bool
        Whether it appeared while we looked.
    """

    def __init__(self, document: Document, at: float, *, from_the_start: bool) -> None:
        self.ledger = Ledger(from_the_start=from_the_start)
        self.evidence = EvidenceLog()
        self.spec = Spec(-1)
        self.pods: dict[str, Pod] = {}
        self._document = document
        self._events: Sequence[Document] = ()
        self._faults: dict[str, str] = {}
        self._weights: dict[str, int] = {}
        self._weights_changed = True
        self._weights_since = at
        self._served_before: dict[str, int] = {}

    @property
    def name(self) -> str:
        return str(self._document["metadata"]["name"])

    @property
    def uid(self) -> str:
        """What tells it from a later one of the same name."""
        return str(self._document["metadata"].get("uid", ""))

    def show(self, document: Document, pods: Sequence[Pod]) -> None:
        """Take up the object and its pods as the cluster holds them now."""
        self._document = document
        if document["metadata"].get("generation", 0) != self.spec.generation:
            self.spec = read_spec(document)
        self.pods = {pod.name: pod for pod in pods}
        self._faults = {pod: told for pod, told in self._faults.items() if pod in self.pods}
        predictors = {each.service: each.name for each in self.spec.predictors}
        self.ledger.keep(
            {pod.name: predictors[pod.service] for pod in pods if pod.service in predictors}
        )
        weights = {each.name: each.weight for each in self.spec.variants}
        if weights != self._weights:
            self._weights, self._weights_changed = weights, True

    def tell(self, documents: Sequence[Document]) -> None:
        """Take up the namespace's events."""
        names = {self.name, *self.pods, *self.spec.related}
        self._events = events_about(names, documents)

    def take(self, pod: str, counts: ReplicaCounts) -> None:
        """Take up what a replica has counted."""
        self._faults.pop(pod, None)
        self.ledger.take(pod, counts)

    def miss(self, pod: str, reason: str) -> None:
        """Note that a replica could not be read."""
        self._faults[pod] = reason

    def failed_to_read(self, pod: str) -> bool:
        return pod in self._faults

    def container_of(self, pod: str) -> str | None:
        """Return the container that serves in a pod; None if the pod is not of this deployment."""
        service = self.pods[pod].service if pod in self.pods else None
        found = (each.container for each in self.spec.predictors if each.service == service)
        return next(found, None)

    def mark(self, at: float) -> None:
        """Note the totals of this moment."""
        self.ledger.mark(at, [each.name for each in self.spec.predictors])
        if self._weights_changed:
            # Only now: what was served until the replicas were read belongs to the weights before.
            self._weights_changed, self._weights_since = False, at
            self._served_before = self._served()

    def end_block(self, at: float) -> None:
        """End an interval: add a point to the charts, and a block to the evidence."""
        self.ledger.add_points(at)
        served = self._served()
        totals = Totals(
            n_baseline=served.get(self.spec.baseline or "", 0),
            n_candidate=served.get(self.spec.candidate or "", 0),
            judged=dict(self.ledger.judged),
        )
        self.evidence.end_block(at, self._setting(), totals)

    def overview(self) -> dict[str, Any]:
        """Return what a list of deployments shows."""
        rates = [self._rate(each.name) for each in self.spec.variants]
        known = [rate for rate in rates if rate is not None]
        return {
            "name": self.name,
            "state": self._state(),
            "weights": [
                {"name": each.name, "role": each.role, "weight": each.weight}
                for each in self.spec.variants
            ],
            "rate": sum(known) if known else None,
        }

    def detail(self) -> dict[str, Any]:
        """Return all of it but what goes over time."""
        status = self._document.get("status") or {}
        metadata = self._document["metadata"]
        return {
            "name": self.name,
            "namespace": metadata.get("namespace", ""),
            "generation": self.spec.generation,
            "created": metadata.get("creationTimestamp", ""),
            "model": self.spec.model,
            "state": self._state(),
            "message": status.get("description") or "",
            "fault": self.spec.fault,
            "address": (status.get("address") or {}).get("url", ""),
            "conditions": conditions(self._document),
            "baseline": self.spec.baseline,
            "candidate": self.spec.candidate,
            "weights_since": self._weights_since,
            "predictors": [self._predictor(each) for each in self.spec.predictors],
            "pods": [self._pod(each) for each in self.pods.values()],
            "events": list(self._events),
        }

    def charts(self) -> dict[str, Any]:
        """Return the last quarter of an hour of each predictor, column by column."""
        return {
            "name": self.name,
            "point_seconds": POINT_SECONDS,
            "window_seconds": MINUTE_SECONDS,
            "predictors": [
                {
                    "name": each.name,
                    "role": each.role,
                    "points": [asdict(point) for point in self.ledger.points.get(each.name, ())],
                }
                for each in self.spec.predictors
            ],
        }

    def experiment(self) -> dict[str, Any]:
        """Return the evidence over time."""
        versions = self.evidence.versions
        return {
            "name": self.name,
            "alpha": ALPHA,
            "bar": BAR,
            "block_seconds": POINT_SECONDS,
            "began": self.evidence.began,
            "versions": versions,
            "n_baseline": self.evidence.n_baseline,
            "n_candidate": self.evidence.n_candidate,
            "sample_ratio": self.evidence.sample_ratio,
            "sample_ratio_bar": RATIO_BAR,
            "points": [asdict(point) for point in self.evidence.points],
        }

    def _state(self) -> str:
        """Return the state, in words that do not call an older generation the present one."""
        status = self._document.get("status") or {}
        generation = self._document["metadata"].get("generation", 0)
        if status.get("observedGeneration", generation) < generation:
            return "Updating"
        return str(status.get("state") or "Creating")

    def _served(self) -> dict[str, int]:
        return {name: counts.n_requests for name, counts in self.ledger.served.items()}

    def _setting(self) -> Setting | None:
        baseline, candidate = self.spec.baseline, self.spec.candidate
        if baseline is None or candidate is None:
            return None
        versions = self.ledger.version(baseline), self.ledger.version(candidate)
        if versions[0] is None or versions[1] is None or versions[0] == versions[1]:
            return None
        of_both = self._weights[baseline] + self._weights[candidate]
        share = WHOLE * self._weights[candidate] / of_both if of_both else 0.0
        return Setting(self.spec.generation, versions[0], versions[1], share)

    def _predictor(self, predictor: Predictor) -> dict[str, Any]:
        ledger, name = self.ledger, predictor.name
        minute, reported = ledger.lately(name), ledger.reported(name)
        drift = ledger.drift(name)
        pods = [pod for pod in self.pods.values() if pod.service == predictor.service]
        n_served, n_all = self._share_counts(name)
        return {
            "name": name,
            "role": predictor.role,
            "shadow": predictor.shadow,
            "version": ledger.version(name),
            "model_uri": predictor.model_uri,
            "weight": predictor.weight,
            "share": n_served / n_all if n_all and not predictor.shadow else None,
            "n_shared": n_all,
            "n_ready": sum(pod.ready for pod in pods),
            "n_wanted": predictor.n_wanted,
            "rate": self._rate(name),
            "n_requests": reported.n_requests,
            "rejected": minute.rejected,
            "failed": minute.failed,
            "n_rejected": reported.n_rejected,
            "n_failed": reported.n_failed,
            "p50": minute.counts.seconds.quantile(0.5),
            "p90": minute.counts.seconds.quantile(0.9),
            "p99": minute.counts.seconds.quantile(0.99),
            "accuracy": reported.accuracy,
            "n_feedback": reported.n_feedback,
            "drift": asdict(drift) if drift else None,
            "unread": [self._faults[pod.name] for pod in pods if pod.name in self._faults],
        }

    def _rate(self, name: str) -> float | None:
        """Return the requests per second of a predictor that any replica speaks for."""
        return self.ledger.lately(name).rate if self.ledger.version(name) else None

    def _share_counts(self, name: str) -> tuple[int, int]:
        """Return the requests since the weights changed: of a predictor, and of all variants."""
        served = self._served()
        since: Mapping[str, int] = {
            each.name: served.get(each.name, 0) - self._served_before.get(each.name, 0)
            for each in self.spec.variants
        }
        return since.get(name, 0), sum(since.values())

    def _pod(self, pod: Pod) -> dict[str, Any]:
        predictors = {each.service: each.name for each in self.spec.predictors}
        return {
            "name": pod.name,
            "predictor": predictors.get(pod.service, ""),
            "ready": pod.ready,
            "status": pod.status,
            "message": pod.message or self._faults.get(pod.name, ""),
            "n_restarts": pod.n_restarts,
            "created": pod.created,
        }
