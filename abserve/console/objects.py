"""SeldonDeployments, pods and events of the Kubernetes API, cut down to what the page shows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from abserve.console.cluster import Document
from abserve.errors import ManifestError
from abserve.seldon import (
    SeldonDeployment,
    deployment_name,
    mirror_percent,
    roles,
    service_name,
    with_defaults,
)

_METRICS_PORT = "metrics"
_MAX_EVENTS = 30


@dataclass(frozen=True, slots=True)
class Predictor:
    """One predictor as it is configured; of a shadow, `weight` is the share it gets copies of.

    `role` is "baseline", "candidate", "shadow", or empty.
    """

    name: str
    role: str
    shadow: bool
    weight: int
    model_uri: str
    n_wanted: int
    service: str
    container: str


@dataclass(frozen=True, slots=True)
class Spec:
    """A SeldonDeployment as it is configured; `fault` says why it cannot be read, if it cannot."""

    generation: int
    model: str = ""
    predictors: tuple[Predictor, ...] = ()
    baseline: str | None = None
    candidate: str | None = None
    related: frozenset[str] = frozenset()
    fault: str = ""

    @property
    def variants(self) -> tuple[Predictor, ...]:
        """The predictors that answer."""
        return tuple(each for each in self.predictors if not each.shadow)


@dataclass(frozen=True, slots=True)
class Pod:
    """One replica; `metrics_port` is None while it has none to read."""

    name: str
    deployment: str
    service: str
    ready: bool
    status: str
    message: str
    n_restarts: int
    created: str
    metrics_port: int | None


def read_spec(document: Document) -> Spec:
    """Read what a SeldonDeployment asks for."""
    generation = int(document["metadata"].get("generation", 0))
    try:
        deployment = with_defaults(SeldonDeployment.parse(document))
        names = _roles(document)
        predictors = tuple(
            Predictor(
                name=each.name,
                role="shadow" if each.shadow else names.get(each.name, ""),
                shadow=each.shadow,
                weight=mirror_percent(each) if each.shadow else each.traffic or 0,
                model_uri=each.graph.model_uri or "",
                n_wanted=each.replicas or 0,
                service=service_name(deployment, each),
                container=each.graph.name,
            )
            for each in deployment.spec.predictors
        )
        related = frozenset(
            deployment_name(deployment, each, index)
            for each in deployment.spec.predictors
            for index in range(len(each.component_specs))
        )
        model = deployment.model
    except ManifestError as error:
        return Spec(generation, fault=str(error))
    by_role = {role: name for name, role in names.items()}
    return Spec(
        generation,
        model,
        predictors,
        by_role.get("baseline"),
        by_role.get("candidate"),
        related,
    )


def read_pod(document: Document) -> Pod:
    metadata, status = document["metadata"], document.get("status") or {}
    labels = metadata.get("labels") or {}
    containers: Sequence[Mapping[str, Any]] = status.get("containerStatuses") or ()
    ports = [
        port
        for container in document.get("spec", {}).get("containers", ())
        for port in container.get("ports") or ()
    ]
    reason, message = _trouble(containers)
    leaving = bool(metadata.get("deletionTimestamp"))
    return Pod(
        name=metadata["name"],
        deployment=labels.get("seldon-deployment-id", ""),
        service=labels.get("seldon-app", ""),
        ready=bool(containers) and all(each.get("ready") for each in containers) and not leaving,
        status="Terminating" if leaving else status.get("reason") or reason
        or status.get("phase") or "Unknown",
        message=status.get("message") or message,
        n_restarts=sum(int(each.get("restartCount", 0)) for each in containers),
        created=metadata.get("creationTimestamp") or "",
        metrics_port=next(
            (int(each["containerPort"]) for each in ports if each.get("name") == _METRICS_PORT),
            None,
        ),
    )  # fmt: skip


def conditions(document: Document) -> list[Document]:
    """Return the conditions of a SeldonDeployment's status."""
    found = (document.get("status") or {}).get("conditions") or ()
    return [
        {
            "type": each.get("type", ""),
            "status": each.get("status", ""),
            "reason": each.get("reason", ""),
            "message": each.get("message", ""),
            "since": each.get("lastTransitionTime", ""),
        }
        for each in found
    ]


def events_about(names: Iterable[str], documents: Iterable[Document]) -> list[Document]:
    """Return the latest events about objects of these names, newest first."""
    wanted = frozenset(names)
    found = [
        {
            "severity": each.get("type", ""),
            "reason": each.get("reason", ""),
            "message": each.get("message", ""),
            "about": each["involvedObject"].get("name", ""),
            "count": each.get("count") or 1,
            "at": each.get("lastTimestamp")
            or each.get("eventTime")
            or each["metadata"].get("creationTimestamp", ""),
        }
        for each in documents
        if each["involvedObject"].get("name") in wanted
    ]
    return sorted(found, key=lambda each: str(each["at"]), reverse=True)[:_MAX_EVENTS]


def _roles(document: Document) -> dict[str, str]:
    """Return the role of the predictors that have one; a lone variant is the baseline."""
    try:
        baseline, candidate = roles(document)
    except ManifestError:
        variants = [
            each["name"] for each in document["spec"]["predictors"] if not each.get("shadow")
        ]
        return {variants[0]: "baseline"} if len(variants) == 1 else {}
    return {baseline: "baseline", candidate: "candidate"}


def _trouble(containers: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return reason and message of the first container that does not run."""
    for container in containers:
        state = container.get("state") or {}
        for kind in ("waiting", "terminated"):
            if kind in state:
                told = state[kind] or {}
                return str(told.get("reason", "")), str(told.get("message", ""))
    return "", ""
