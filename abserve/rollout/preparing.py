"""Before a rollout: find out whether this is a comparison that can be made, and of what."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from abserve.analysis import Experiment
from abserve.analysis.countable import check_countable, classes_of, incomparable_units
from abserve.analysis.counting import Variants
from abserve.analysis.experiment_file import UnitHeader
from abserve.errors import ExperimentError
from abserve.promotion.availability import generation_of, is_available, progress
from abserve.rollout.changed import predictors_changed_at
from abserve.rollout.history import History
from abserve.rollout.records import Begin, version_of
from abserve.rollout.seen import shown
from abserve.seldon import (
    SeldonDeployment,
    check_scaled_together,
    roles,
    unit_header,
    weights_of,
)
from abserve.telemetry import Reading
from abserve.weights import WHOLE

# Whatever computes an analysis.
_SOFTWARE = ("abserve", "numpy", "scipy")


def prepare(
    experiment: Experiment,
    document: Mapping[str, Any],
    namespace: str,
    history: History,
    at: float,
    counted_at: float,
) -> Begin:
    """Return the first record of a rollout.

    Parameters
    ----------
    experiment : Experiment
        What is to be shown.
    document : mapping
        The SeldonDeployment as the cluster holds it.
    namespace : str
        Where it is.
    history : History
        Where counts come from.
    at, counted_at : float
        Now, and a moment of which the samples are kept, in seconds since 1970.

    Raises
    ------
    ExperimentError
        If the SeldonDeployment is not what the experiment is about, is not Available, its servers
        do not count what is needed, or know units that are new to the other version.
    ManifestError
        If it cannot be told which predictor has which role, or one is scaled by its own load.
    TelemetryError
        If the counts cannot be read.
    """
    deployment = SeldonDeployment.parse(document)
    variants = _variants(experiment, deployment, document)
    _check_unit(experiment, deployment)
    check_scaled_together(deployment)
    if not is_available(document, generation_of(document)):
        raise ExperimentError(
            f"SeldonDeployment {progress(document)}; expected it to be Available before its "
            "candidate gets requests"
        )
    reading = history.reading(counted_at)
    check_countable(reading, experiment, variants)
    _check_first_exposures(experiment, deployment, document, reading, variants)
    return Begin(
        at=at,
        namespace=namespace,
        uid=str(document["metadata"].get("uid", "")),
        model=deployment.model,
        experiment=experiment,
        model_uris={each.name: each.graph.model_uri or "" for each in deployment.spec.predictors},
        weights=weights_of(deployment).by_variant,
        classes=classes_of(reading, variants),
        software=software(),
    )


def _check_first_exposures(
    experiment: Experiment,
    deployment: SeldonDeployment,
    document: Mapping[str, Any],
    reading: Reading,
    variants: Variants,
) -> None:
    """Check that units which a header names are new to both versions alike."""
    if not isinstance(experiment.unit, UnitHeader):
        return
    [weight] = experiment.weight_steps
    wanted = {experiment.baseline: WHOLE - weight, experiment.candidate: weight}
    found = weights_of(deployment).by_variant
    if found != wanted:
        raise ExperimentError(
            f"SeldonDeployment {deployment.name!r} has the weights {shown(found)}, and units are "
            f"what the header {experiment.unit.header!r} names: one that a change moves is new to "
            f"one version only; expected the weights of the experiment, {shown(wanted)}, from the "
            "start of all replicas on: set them and an annotation of both predictors in one "
            "change, by which their replicas are replaced, or apply the SeldonDeployment anew"
        )
    changed_at = predictors_changed_at(document)
    if why := incomparable_units(reading, experiment, variants, changed_at):
        raise ExperimentError(f"SeldonDeployment {deployment.name!r}: {why}")


def software() -> dict[str, str]:
    """Return the versions of whatever computes an analysis."""
    return {name: version(name) for name in _SOFTWARE}


def _variants(
    experiment: Experiment, deployment: SeldonDeployment, document: Mapping[str, Any]
) -> Variants:
    name = deployment.name
    if experiment.deployment != name:
        raise ExperimentError(
            f"the experiment is about SeldonDeployment {experiment.deployment!r}; expected "
            f"{name!r}: name another file"
        )
    compared = (experiment.baseline, experiment.candidate)
    found = [each.name for each in deployment.variants]
    if sorted(found) != sorted(compared):
        raise ExperimentError(
            f"SeldonDeployment {name!r} has the variants {', '.join(found)}; the experiment "
            f"compares {' and '.join(compared)}, expected these two and no other: add what is "
            "missing as a predictor, and remove the rest"
        )
    if roles(document) != compared:
        raise ExperimentError(
            f"a promotion of SeldonDeployment {name!r} would make {roles(document)[1]!r} the "
            f"baseline, and the experiment calls it so now; expected baseline {compared[0]!r}: "
            "exchange the two in the experiment"
        )
    versions = [_version(deployment, each) for each in compared]
    shadow = deployment.shadow
    if shadow is not None and _version(deployment, shadow.name) in versions:
        raise ExperimentError(
            f"the shadow {shadow.name!r} serves {_version(deployment, shadow.name)!r}, as a "
            "variant does, and counts are by version; expected another version: remove the shadow"
        )
    return Variants(*versions)


def _version(deployment: SeldonDeployment, predictor: str) -> str:
    uri = deployment.predictor(predictor).graph.model_uri
    if not uri or not version_of(uri):
        raise ExperimentError(
            f"predictor {predictor!r} has no modelUri whose last part is a version, found "
            f"{uri!r}; expected for example s3://models/{deployment.model}/v1"
        )
    return version_of(uri)


def _check_unit(experiment: Experiment, deployment: SeldonDeployment) -> None:
    stated = experiment.unit.header if isinstance(experiment.unit, UnitHeader) else None
    found = unit_header(deployment)
    if stated == found:
        return
    routed = f"by the header {found}" if found else "each by itself"
    meant = f"what the header {stated} names" if stated else "a request"
    todo = (
        'set the annotation abserve.io/sticky: "true" and abserve.io/unit-header'
        if stated
        else f"write 'unit: {{header: {found}}}' in the experiment"
    )
    raise ExperimentError(
        f"SeldonDeployment {deployment.name!r} assigns requests {routed}, and the unit of the "
        f"experiment is {meant}; expected the same: {todo}"
    )
