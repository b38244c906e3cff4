"""What every runtime counts, beside MLServer's own metrics.

MLServer's `mlserver.log` knows histograms only, and what it logs is missing from ``/metrics``
without parallel workers; these are plain prometheus_client collectors on the default registry,
which is served either way. Label values come from a version's artifact or from a token that we
signed, never from a client, so their number is bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


@dataclass(frozen=True, slots=True)
class Collectors:
    """The collectors of this process; each is labelled with `model` and `version` first."""

    predictions: Counter
    inference_seconds: Histogram
    requests: Counter
    feedback: Counter
    model_info: Gauge


@cache
def collectors() -> Collectors:
    """Return the collectors, made at the first call.

    Prometheus refuses a second collector of the same name, so they are made once per process; and
    MLServer decides between one process and several only when it starts, so not at import.
    """
    by_version = ("model", "version")
    return Collectors(
        predictions=Counter(
            "abserve_predictions",
            "Rows classified, by predicted class",
            (*by_version, "label"),
        ),
        inference_seconds=Histogram(
            "abserve_inference_seconds",
            "Time from the parsed inference request to its response",
            by_version,
            buckets=_BUCKETS,
        ),
        requests=Counter(
            "abserve_requests",
            "Inference requests: ok, rejected (the client's fault) or failed (ours)",
            (*by_version, "outcome"),
        ),
        feedback=Counter(
            "abserve_feedback",
            "Rows whose ground truth became known, by whether they were predicted right",
            (*by_version, "outcome"),
        ),
        model_info=Gauge(
            "abserve_model_info",
            "1 for each version that was loaded",
            (*by_version, "git_commit", "trained_at"),
            multiprocess_mode="max",
        ),
    )


class VersionMetrics:
    """The time series of one version, found once: finding them again costs more than counting.

    They exist from here on, at 0.

    Parameters
    ----------
    model, version : str
        Whose series.
    classes : sequence of str
        Its classes, in the order of their indices.
    """

    def __init__(self, model: str, version: str, classes: Sequence[str]) -> None:
        metrics = collectors()
        self.seconds = metrics.inference_seconds.labels(model, version)
        self.ok = metrics.requests.labels(model, version, "ok")
        self.rejected = metrics.requests.labels(model, version, "rejected")
        self.failed = metrics.requests.labels(model, version, "failed")
        self._predictions = [metrics.predictions.labels(model, version, each) for each in classes]
        for outcome in ("correct", "incorrect"):
            metrics.feedback.labels(model, version, outcome)

    def count_answer(self, seconds: float, indices: NDArray[np.int64]) -> None:
        """Count one answered request, and the classes it was answered with."""
        self.seconds.observe(seconds)
        self.ok.inc()
        if len(indices) == 1:
            self._predictions[int(indices[0])].inc()
            return
        counts = np.bincount(indices, minlength=len(self._predictions)).tolist()
        for predictions, count in zip(self._predictions, counts, strict=True):
            if count:
                predictions.inc(count)
