"""The past as Prometheus keeps it: raw samples of the replicas' counters.

The samples of a replica are those of one scrape, its start time among them. There is no ``rate``
and no ``increase``, which extrapolate.

The target that was scraped is what is left of a series' labels without the metric's own, and its
start time has no other labels. A matcher as ``model=~"|iris"`` lets that series, which has no such
label, pass.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from abserve.analysis import Experiment
from abserve.errors import LostCountsError
from abserve.rollout.prometheus_api import Access, Prometheus, Scraped, in_words, take_own
from abserve.slots import period_of, rest_seconds
from abserve.telemetry import Reading, ReplicaReading, Series
from abserve.telemetry.readings import COUNTED, STARTED

_OWN_LABELS = frozenset(
    {"model", "version", "outcome", "header", "le", "label", "metric", "period", "slot"}
)
# Those of Prometheus and of a replica, by which its samples are of another moment than they say.
_SAMPLES_DIFFER_SECONDS = 1


class PrometheusHistory:
    """What the replicas of one SeldonDeployment had counted, from Prometheus.

    Parameters
    ----------
    access : Access
        The Prometheus that scrapes them.
    namespace, model : str
        Of the SeldonDeployment, and the name of the model that it serves. If the targets have the
        label ``seldon_deployment_id``, it must be the SeldonDeployment's.
    experiment : Experiment
        Says which outcomes are needed, and of which SeldonDeployment.
    """

    def __init__(self, access: Access, namespace: str, model: str, experiment: Experiment) -> None:
        period = period_of(experiment.interval_seconds, experiment.maturity_seconds)
        self._prometheus = Prometheus(access)
        self._recent_seconds = min(
            access.recent_seconds, rest_seconds(experiment.interval_seconds, period)
        )
        self._matchers = self._prometheus.matchers(
            (STARTED, *COUNTED),
            namespace,
            model=model,
            seldon_deployment_id=experiment.deployment,
            metric=experiment.primary.metric,
            period=str(period),
        )

    def reading(self, at: float, since: float | None = None) -> Reading:
        """Return what each replica had counted at `at`, in seconds since 1970.

        Parameters
        ----------
        since : float, optional
            A second before the oldest that samples may be; by default `Access` says how old.

        Raises
        ------
        LostCountsError
            If no sample was kept of then, or it cannot be told whose they are.
        TelemetryError
            If Prometheus does not answer, refuses, answers in part, or has not come to that moment.
        """
        recent_seconds = self._recent_seconds
        if since is not None:
            # Prometheus knows no range of nothing.
            recent_seconds = max(at - since - _SAMPLES_DIFFER_SECONDS, 0.001)
        targets = _targets(self._prometheus.samples(self._matchers, recent_seconds, at))
        if not any(target.samples for target in targets):
            raise LostCountsError(
                f"{self._prometheus} has no samples of abserve's servers from the "
                f"{recent_seconds:g} s before {in_words(at)} with {{{self._matchers}}}; expected"
                " those of the predictors: see that it scrapes them, often enough and with these "
                "labels"
            )
        return Reading(at, self._replicas(targets, at))

    def _replicas(self, targets: Iterable["_Target"], at: float) -> dict[str, ReplicaReading]:
        replicas: dict[str, ReplicaReading] = {}
        processes: set[tuple[str, float]] = set()
        for target in targets:
            instance = target.labels.get("instance", "")
            pod = target.labels.get("pod", "")
            name = "/".join(filter(None, (pod, instance)))
            if target.started_at is None:
                raise LostCountsError(
                    f"{self._prometheus} has no {STARTED} of replica {name} at {in_words(at)}; "
                    "expected it to be kept with the other metrics, for without it a counter that "
                    "began anew cannot be told"
                )
            process = (pod or instance, target.started_at)
            if target.samples and (name in replicas or process in processes):
                raise LostCountsError(
                    f"{self._prometheus} has two targets for replica {name} at {in_words(at)}, one "
                    f"of them with the labels {dict(target.labels)}; expected one: name it with a "
                    'selector, as job="models"'
                )
            if target.samples:
                processes.add(process)
            replicas[name] = ReplicaReading(target.started_at, target.samples)
        return replicas


@dataclass(frozen=True, slots=True)
class _Target:
    """What the last scrape of one target had; `started_at` is None if that was not kept."""

    labels: Mapping[str, str]
    started_at: float | None
    samples: Mapping[Series, float]


def _targets(result: Iterable[Scraped]) -> list[_Target]:
    last: dict[frozenset[tuple[str, str]], dict[Series, tuple[float, float]]] = defaultdict(dict)
    for scraped in result:
        labels = dict(scraped.metric)
        name = labels.pop("__name__")
        own = {} if name == STARTED else take_own(labels, _OWN_LABELS)
        if scraped.values:
            last[frozenset(labels.items())][Series.of(name, own)] = scraped.values[-1]
    started = Series.of(STARTED, {})
    return [
        _Target(
            dict(sorted(labels)),
            samples[started][1] if started in samples else None,
            {
                series: value
                for series, (scraped_at, value) in samples.items()
                # What an older scrape had is of a process that has ended.
                if series != started and scraped_at == samples.get(started, (scraped_at,))[0]
            },
        )
        for labels, samples in last.items()
    ]
