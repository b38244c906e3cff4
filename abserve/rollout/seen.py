"""What a look at the SeldonDeployment found, as far as a rollout cares.

Versions, names and weights of its predictors are the rollout's own: nobody else may change them in
the middle. Replicas, annotations and whatever else the object says may be changed; that only ends
the block in which it happens.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from abserve.promotion.applying import FIELD_MANAGER
from abserve.promotion.availability import generation_of, is_available, progress
from abserve.promotion.readiness import unready_predictors
from abserve.rollout.records import Begin
from abserve.seldon import SeldonDeployment, weights_of
from abserve.weights import WHOLE


@dataclass(frozen=True, slots=True)
class Deployment:
    """A SeldonDeployment as it was found.

    `weights` are by variant, `model_uris` by predictor, `silent` says of predictors that have no
    ready replica why, `progress` is what the operator says of all. `changed_by` says who else wrote
    the predictors last, and is empty if nobody did.
    """

    uid: str
    generation: int
    model_uris: Mapping[str, str]
    weights: Mapping[str, int]
    available: bool = True
    silent: Mapping[str, str] = field(default_factory=dict)
    progress: str = ""
    changed_by: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from the cluster's document.

        Raises
        ------
        ManifestError
            If it is no SeldonDeployment that could be served.
        """
        deployment = SeldonDeployment.parse(document)
        generation = generation_of(document)
        unready = unready_predictors(document)
        return cls(
            uid=str(document["metadata"].get("uid", "")),
            generation=generation,
            model_uris={
                each.name: each.graph.model_uri or "" for each in deployment.spec.predictors
            },
            weights=weights_of(deployment).by_variant,
            available=is_available(document, generation),
            # One of several that is not ready, because it is being scaled up for example, holds
            # changes up. The others answer.
            silent={name: str(each) for name, each in unready.items() if not each.n_ready},
            progress=progress(document),
            changed_by=_last_writer(document["metadata"]),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: when it was, and what was there; `deployment` is None if it was deleted.

    `clock_set_seconds` is by how much the clock was set forward since the look before.
    """

    at: float
    deployment: Deployment | None
    clock_set_seconds: float = 0.0


def shown(weights: Mapping[str, int]) -> str:
    """Return weights as people type them."""
    return " ".join(f"{name}={weight}" for name, weight in weights.items())


def interference(
    begin: Begin, deployment: Deployment | None, expected: tuple[Mapping[str, int], ...]
) -> str | None:
    """Say what somebody else changed, if anything.

    Parameters
    ----------
    begin : Begin
        What the rollout found.
    deployment : Deployment or None
        What is there now.
    expected : tuple of mapping of str to int
        The weights that may be found, the likeliest last.
    """
    name = begin.experiment.deployment
    if deployment is None:
        return f"SeldonDeployment {name!r} was deleted"
    if deployment.uid != begin.uid:
        return f"SeldonDeployment {name!r} was deleted and made anew"
    changes = list(_changed_predictors(begin.model_uris, deployment.model_uris))
    # Of other predictors, other weights are a matter of course.
    if not changes and all(deployment.weights != weights for weights in expected):
        found = shown(deployment.weights)
        changes.append(f"the weights from {shown(expected[-1])} to {found}")
    if not changes:
        return None
    return f"{deployment.changed_by or 'somebody'} changed {', and '.join(changes)}"


def _changed_predictors(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    if before.keys() != now.keys():
        yield f"the predictors from {', '.join(before)} to {', '.join(now)}"
    for name in before:
        if name in now and now[name] != before[name]:
            yield f"the version of {name} from {before[name]} to {now[name]}"


def is_promoting(
    begin: Begin, deployment: Deployment, expected: tuple[Mapping[str, int], ...]
) -> bool:
    """Tell whether a deployment is as a promotion leaves it, before, after or between its steps."""
    baseline, candidate = begin.experiment.baseline, begin.experiment.candidate
    shifted = {each: WHOLE * (each == candidate) for each in begin.weights}
    adopted = {**begin.model_uris, baseline: begin.model_uris[candidate]}
    if deployment.model_uris == begin.model_uris:
        return deployment.weights in (*expected, shifted)
    if deployment.model_uris == adopted:
        return deployment.weights == shifted
    return is_promoted(begin, deployment)


def is_promoted(begin: Begin, deployment: Deployment) -> bool:
    """Tell whether the baseline has the candidate's version and all requests."""
    baseline, candidate = begin.experiment.baseline, begin.experiment.candidate
    kept = {name: uri for name, uri in begin.model_uris.items() if name != candidate}
    promoted = {**kept, baseline: begin.model_uris[candidate]}
    return deployment.model_uris == promoted and deployment.weights == {baseline: WHOLE}


def is_rolling_back(
    begin: Begin, deployment: Deployment, expected: tuple[Mapping[str, int], ...]
) -> bool:
    """Tell whether a deployment is as a rollback leaves it, before or after.

    It may remove predictors that are not ready, and never the baseline.
    """
    known = deployment.model_uris.items() <= begin.model_uris.items()
    return known and (deployment.weights in expected or is_rolled_back(begin, deployment))


def is_rolled_back(begin: Begin, deployment: Deployment) -> bool:
    """Tell whether the baseline has all requests."""
    return deployment.weights.get(begin.experiment.baseline) == WHOLE


def _last_writer(metadata: Mapping[str, Any]) -> str:
    """Return who but us wrote the predictors last, and when."""
    entries = [
        entry
        for entry in metadata.get("managedFields") or ()
        if "f:predictors" in (entry.get("fieldsV1") or {}).get("f:spec", {})
        and entry.get("manager") != FIELD_MANAGER
    ]
    if not entries:
        return ""
    latest = max(entries, key=lambda entry: str(entry.get("time", "")))
    return f"field manager {latest.get('manager')!r} ({latest.get('time')})"
