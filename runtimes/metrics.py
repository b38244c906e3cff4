"""What every runtime counts, beside MLServer's own metrics.

MLServer's `mlserver.log` knows histograms only, and what it logs is missing from ``/metrics``
without parallel workers; these are plain prometheus_client collectors on the default registry,
which is served either way. Label values come from a version's artifact or from a token that we
signed, never from a client, so their number is bounded.
"""

from dataclasses import dataclass
from functools import cache

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
