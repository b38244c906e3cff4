"""The drift that a version's replicas measured, as Prometheus has it.

`abserve.promotion.candidate.read_drift` asks the replicas themselves.
"""

from collections import defaultdict

from abserve.promotion.candidate import Baseline
from abserve.rollout.prometheus_api import Access, Prometheus, take_own
from abserve.telemetry import Drift, combine_drift
from abserve.telemetry.counts import DRIFT, DRIFT_ROWS

_OWN_LABELS = ("model", "version", "feature")


def read_drift(access: Access, namespace: str, baseline: Baseline, at: float) -> Drift | None:
    """Return how far the rows of late lay from those that the baseline was fitted on.

    Parameters
    ----------
    access : Access
        The Prometheus that scrapes the replicas.
    namespace : str
        Where they are.
    baseline : Baseline
        Whose replicas.
    at : float
        As of when, in seconds since 1970.

    Returns
    -------
    Drift or None
        None if no sample says how many rows a replica of that version took up.

    Raises
    ------
    TelemetryError
        If Prometheus does not answer, refuses or answers in part.
    """
    prometheus = Prometheus(access)
    matchers = prometheus.matchers(
        (DRIFT, DRIFT_ROWS),
        namespace,
        model=baseline.model,
        seldon_deployment_id=baseline.deployment,
    )
    n_rows: dict[frozenset[tuple[str, str]], int] = {}
    by_feature: dict[frozenset[tuple[str, str]], dict[str, float]] = defaultdict(dict)
    for scraped in prometheus.samples(matchers, access.recent_seconds, at):
        labels = dict(scraped.metric)
        name = labels.pop("__name__")
        own = take_own(labels, _OWN_LABELS)
        if own.get("version") != baseline.version or not scraped.values:
            continue
        target, value = frozenset(labels.items()), scraped.values[-1][1]
        if name == DRIFT_ROWS:
            n_rows[target] = int(value)
        else:
            by_feature[target][own.get("feature", "")] = value
    return combine_drift(Drift(rows, by_feature[target]) for target, rows in n_rows.items() if rows)
