"""Which predictors of a SeldonDeployment are not ready, by what the operator says of each.

The operator changes routes only while every predictor is ready. One that is not holds them as they
are, so that a weight of 0 takes no request away from it: it has to be removed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abserve.promotion.availability import generation_of, is_available
from abserve.seldon import Predictor, SeldonDeployment, deployment_name, with_defaults


@dataclass(frozen=True, slots=True)
class Readiness:
    """How many replicas of a predictor are ready; `description` is the operator's, if any."""

    n_ready: int
    n_replicas: int
    description: str = ""

    @property
    def ready(self) -> bool:
        """Whether the operator would call it ready: a predictor of no replicas never is."""
        return 0 < self.n_replicas <= self.n_ready

    def __str__(self) -> str:
        told = f": {self.description}" if self.description else ""
        return f"{self.n_ready} of {self.n_replicas} replicas ready{told}"


def unready_predictors(document: Mapping[str, Any]) -> dict[str, Readiness]:
    """Return the predictors that are not ready, shadows among them, by name.

    Of a change that the operator has not looked at yet, nothing is known: then it is what was.
    """
    if is_available(document, generation_of(document)):
        return {}
    deployment = with_defaults(SeldonDeployment.parse(document))
    states = (document.get("status") or {}).get("deploymentStatus") or {}
    found = {each.name: _readiness(deployment, each, states) for each in deployment.spec.predictors}
    return {name: state for name, state in found.items() if not state.ready}


def _readiness(
    deployment: SeldonDeployment, predictor: Predictor, states: Mapping[str, Mapping[str, Any]]
) -> Readiness:
    own = [
        states.get(deployment_name(deployment, predictor, index)) or {}
        for index in range(len(predictor.component_specs))
    ]
    return Readiness(
        n_ready=sum(each.get("availableReplicas") or 0 for each in own),
        # The operator leaves out what is 0: a Deployment that has made no pod yet wants some.
        n_replicas=sum(each.get("replicas") or predictor.replicas or 0 for each in own),
        description="; ".join(filter(None, (each.get("description") for each in own))),
    )
