"""Before anything is counted: whether servers count what an experiment needs."""

import math

from abserve.analysis.counting import Variants
from abserve.analysis.experiment_file import Experiment, Latency, PredictionDrift, UnitHeader
from abserve.errors import ExperimentError, TelemetryError
from abserve.slots import period_of
from abserve.telemetry import Reading
from abserve.telemetry.readings import PREDICTIONS, REQUESTS, SECONDS, UNIT_INFO, UNITS

MAX_CLASSES = 64


def classes_of(reading: Reading, variants: Variants) -> tuple[str, ...]:
    """Return all classes that either version can predict; none of regressors."""
    return tuple(sorted({name for _, version in variants for name in _classes(reading, version)}))


def check_countable(reading: Reading, experiment: Experiment, variants: Variants) -> None:
    """Check that the servers count what an experiment needs.

    Raises
    ------
    TelemetryError
        If no replica counts the requests of a version as abserve's servers do.
    ExperimentError
        If they count other units, know no such bound of the latency, or predict no classes (or
        too many) where the experiment is about classes.
    """
    for role, version in variants:
        _check_served(reading, role, version)
        _check_unit(reading, experiment, version)
        classes = _classes(reading, version)
        if experiment.primary.metric == "accuracy" and not classes:
            raise ExperimentError(
                f"the primary metric is accuracy, and version {version!r} predicts numbers, not "
                "classes; expected the metric reward"
            )
        for guardrail in experiment.guardrails:
            if isinstance(guardrail, PredictionDrift) and not classes:
                raise ExperimentError(
                    f"prediction_drift is a guardrail, and version {version!r} predicts numbers, "
                    "not classes; remove it"
                )
            if isinstance(guardrail, Latency):
                _check_bound(reading, guardrail.within_seconds, version)
    n_classes = len(classes_of(reading, variants))
    if n_classes > MAX_CLASSES and any(
        isinstance(each, PredictionDrift) for each in experiment.guardrails
    ):
        raise ExperimentError(
            f"prediction_drift is a guardrail, and there are {n_classes} classes; each has to be "
            f"shown not to drift, so expected at most {MAX_CLASSES}: remove it"
        )


def _labels(reading: Reading, name: str, label: str, version: str | None = None) -> set[str]:
    """Return the values of a label, of the series of one version or of all."""
    return {
        series[label]
        for replica in reading.replicas.values()
        for series in replica.samples
        if series.name == name and version in {None, series["version"]}
    }


def _check_served(reading: Reading, role: str, version: str) -> None:
    served = _labels(reading, REQUESTS, "version")
    if version not in served:
        raise TelemetryError(
            f"no replica counts requests of version {version!r} ({role}); found "
            f"{sorted(served) or 'no version'} among {len(reading.replicas)} replicas: serve it by "
            "abserve's runtimes, whose metrics are needed"
        )


def _check_unit(reading: Reading, experiment: Experiment, version: str) -> None:
    expected = experiment.unit.header if isinstance(experiment.unit, UnitHeader) else ""
    found = _labels(reading, UNIT_INFO, "header", version)
    if not found:
        raise TelemetryError(
            f"no replica says what the units of version {version!r} are ({UNIT_INFO}); serve it by "
            "this release of abserve's runtimes"
        )
    for header in found - {expected}:
        raise ExperimentError(
            f"the unit of the experiment is {_unit(expected)}, and servers of version {version!r} "
            f"count by {_unit(header)}; change 'unit', or set ABSERVE_UNIT_HEADER to {expected!r} "
            "for the servers"
        )
    period = str(period_of(experiment.interval_seconds, experiment.maturity_seconds))
    if period not in _labels(reading, UNITS, "period", version):
        raise TelemetryError(
            f"no replica counts the units of version {version!r} by periods of {period} s "
            f"({UNITS}); serve it by this release of abserve's runtimes"
        )


def incomparable_units(
    reading: Reading, experiment: Experiment, variants: Variants, changed_at: float
) -> str | None:
    """Say why first exposures of the two versions cannot be compared, if they cannot.

    A version remembers the units that each of its replicas has seen. So a unit is new to both
    versions alike only if all replicas began to remember together, under the present weights.

    Parameters
    ----------
    reading : Reading
        Of the present.
    changed_at : float
        When somebody last changed the predictors, weights included, in seconds since 1970.
    """
    if not isinstance(experiment.unit, UnitHeader):
        return None
    versions = {version for _, version in variants}
    started = [
        replica.started_at
        for replica in reading.replicas.values()
        if any(
            series.name == REQUESTS and series["version"] in versions for series in replica.samples
        )
    ]
    if not started:
        return None
    interval, first, last = experiment.interval_seconds, min(started), max(started)
    if last - first > interval:
        found = f"replicas were started up to {last - first:.0f} s apart"
    elif changed_at - first > interval:
        found = (
            f"the predictors were changed {changed_at - first:.0f} s after a replica was started"
        )
    else:
        return None
    return (
        f"units are what the header {experiment.unit.header!r} names, which count at their first "
        f"request to a version, and {found}, so that units are new to one version that the other "
        f"knows; expected all replicas to be started within {interval} s of each other, under "
        "weights that stay: set the weights and an annotation of both predictors in one change, "
        "by which their replicas are replaced, or apply the SeldonDeployment anew"
    )


def _unit(header: str) -> str:
    return f"the header {header!r}" if header else "the request"


def _check_bound(reading: Reading, within_seconds: float, version: str) -> None:
    bounds = sorted(float(le) for le in _labels(reading, SECONDS, "le", version))
    finite = [bound for bound in bounds if math.isfinite(bound)]
    if within_seconds not in finite:
        nearest = sorted(sorted(finite, key=lambda bound: abs(bound - within_seconds))[:2])
        raise ExperimentError(
            f"'within_seconds' of the guardrail latency is {within_seconds:g}, which is no bound "
            f"that version {version!r} counts by; expected one as "
            f"{' or '.join(f'{bound:g}' for bound in nearest) or 'of a histogram'}"
        )


def _classes(reading: Reading, version: str) -> set[str]:
    return _labels(reading, PREDICTIONS, "label", version)
