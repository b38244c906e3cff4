"""What a replica exposes, written by the real prometheus_client."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BOUNDS = (0.1, 0.5, 1.0)
_VERSION = ("model", "version")


class Replica:
    """The collectors of one replica, with the names and labels of `runtimes.metrics`."""

    def __init__(self, serves: str | None = "v1", bounds: tuple[float, ...] = BOUNDS) -> None:
        self._registry = registry = CollectorRegistry()
        outcome = (*_VERSION, "outcome")
        self._requests = Counter("abserve_requests", "Requests", outcome, registry=registry)
        self._feedback = Counter("abserve_feedback", "Rows judged", outcome, registry=registry)
        self._seconds = Histogram(
            "abserve_inference_seconds", "Time", _VERSION, registry=registry, buckets=bounds
        )
        self._drift = Gauge("abserve_drift_psi", "Index", (*_VERSION, "feature"), registry=registry)
        self._drift_rows = Gauge("abserve_drift_window_rows", "Rows", _VERSION, registry=registry)
        self._info = Gauge(
            "abserve_model_info",
            "Loaded",
            (*_VERSION, "git_commit", "trained_at"),
            registry=registry,
        )
        if serves:
            self._info.labels("iris", serves, "1623454", "2026-01-02").set(1)

    def answer(
        self,
        version: str = "v1",
        *,
        ok: int = 0,
        rejected: int = 0,
        failed: int = 0,
        model: str = "iris",
    ) -> None:
        for outcome, n_requests in (("ok", ok), ("rejected", rejected), ("failed", failed)):
            self._requests.labels(model, version, outcome).inc(n_requests)

    def take(self, seconds: Iterable[float], version: str = "v1", model: str = "iris") -> None:
        for each in seconds:
            self._seconds.labels(model, version).observe(each)

    def judge(
        self, version: str = "v1", *, correct: int = 0, incorrect: int = 0, model: str = "iris"
    ) -> None:
        for outcome, n_rows in (("correct", correct), ("incorrect", incorrect)):
            self._feedback.labels(model, version, outcome).inc(n_rows)

    def drift(self, n_rows: int, version: str = "v1", **by_feature: float) -> None:
        self._drift_rows.labels("iris", version).set(n_rows)
        for feature, index in by_feature.items():
            self._drift.labels("iris", version, feature).set(index)

    @property
    def text(self) -> str:
        return generate_latest(self._registry).decode()
