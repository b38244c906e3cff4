"""Which versions a cluster serves, or will serve as soon as somebody moves a weight."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from abserve.promotion.kubernetes import Kubernetes


@dataclass(frozen=True, slots=True)
class Use:
    """A ``modelUri`` of a SeldonDeployment, and whose it is."""

    uri: str
    namespace: str
    deployment: str
    predictor: str

    def is_of(self, model: str, version: str) -> bool:
        """Tell whether the URI ends in a version's folder, whatever the store is called there."""
        return re.split("[/:]", self.uri.rstrip("/"))[-2:] == [model, version]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.deployment} {self.predictor}"


def uses(cluster: Kubernetes) -> tuple[Use, ...]:
    """Return every ``modelUri`` of every predictor, of all namespaces.

    Shadows count, and predictors of weight 0: a rollback goes to one.

    Raises
    ------
    KubernetesError
        If the cluster refuses, or does not answer.
    """
    return tuple(
        Use(
            uri=uri,
            namespace=document["metadata"]["namespace"],
            deployment=document["metadata"]["name"],
            predictor=predictor["name"],
        )
        for document in cluster.deployments(everywhere=True)
        for predictor in document["spec"]["predictors"]
        for uri in _model_uris(predictor)
    )


def _model_uris(value: Any) -> Iterator[str]:
    """Yield each ``modelUri`` at any depth: nodes have children, and explainers models."""
    if isinstance(value, dict):
        if isinstance(uri := value.get("modelUri"), str):
            yield uri
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _model_uris(each)
