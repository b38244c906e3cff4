"""The `status` of a SeldonDeployment, from what is known of its predictors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from abserve.seldon.naming import deployment_name, service_name
from abserve.seldon.resource import Predictor, SeldonDeployment

State = Literal["Available", "Creating", "Failed"]

NOT_PROGRESSING = "Deployment is no longer progressing and not available."


@dataclass(frozen=True, slots=True)
class PredictorState:
    """What runs of one predictor.

    `replicas` were asked for, `ready_replicas` answer, and `message` says why not more do.
    `failed` means that no more will. `http` and `grpc` are where it answers, as host:port.
    """

    name: str
    ready_replicas: int
    replicas: int
    message: str = ""
    failed: bool = False
    http: str = ""
    grpc: str = ""

    @property
    def ready(self) -> bool:
        """Whether the operator would call it ready: a predictor of no replicas never is."""
        return 0 < self.replicas <= self.ready_replicas


def state_of(predictors: Sequence[PredictorState], *, routed: bool) -> State:
    """Return the state that stands for all predictors together.

    Parameters
    ----------
    predictors
        All predictors that should run.
    routed
        Whether the gateway has the current routes.
    """
    if all(each.ready for each in predictors):
        return "Available" if routed else "Creating"
    return "Failed" if any(each.failed and not each.ready for each in predictors) else "Creating"


# The operator's own words, for what it finds nothing to make of.
_NO_MAPPINGS = "No Ambassador Mappaings defined"
_NOT_MADE = {
    "HpasReady": "No HPAs defined",
    "KedaReady": "No KEDA resources defined",
    "PdbsReady": "No PDBs defined",
}


def build_status(
    deployment: SeldonDeployment,
    predictors: Sequence[PredictorState],
    *,
    url: str,
    routed: bool,
    now: datetime,
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the `status` object as the operator would write it.

    Parameters
    ----------
    deployment
        The deployment whose reconciliation this reports; its generation becomes
        `observedGeneration`.
    predictors
        One state per predictor of `deployment`; a predictor without one has not begun.
    url
        Where a client sends inference requests.
    routed
        Whether the gateway has the current routes.
    now
        An aware time; the `lastTransitionTime` of each condition whose status changed.
    previous
        The status before, from which unchanged conditions keep their time.
    """
    given = {each.name: each for each in predictors}
    states = [
        (each, given.get(each.name, PredictorState(each.name, 0, each.replicas or 1)))
        for each in deployment.spec.predictors
    ]
    state = state_of([each for _, each in states], routed=routed)
    deployments, services = {}, {}
    for predictor, each in states:
        services[service_name(deployment, predictor)] = _service(deployment, predictor, each)
        for index in range(len(predictor.component_specs)):
            deployments[deployment_name(deployment, predictor, index)] = _deployment(each)
    status: dict[str, Any] = {
        "state": state,
        "description": _description(state, [each for _, each in states]),
        "deploymentStatus": deployments,
        "serviceStatus": services,
        # The scale subresource reads this, and it knows of the first predictor only.
        "replicas": states[0][1].ready_replicas if states else 0,
        "address": {"url": url},
        "conditions": _conditions([each for _, each in states], routed, now, previous or {}),
    }
    if deployment.metadata.generation is not None:
        status["observedGeneration"] = deployment.metadata.generation
    return status


def _deployment(state: PredictorState) -> dict[str, Any]:
    status = {"replicas": state.replicas, "availableReplicas": state.ready_replicas}
    return {**status, "description": state.message} if state.message else status


def _service(
    deployment: SeldonDeployment, predictor: Predictor, state: PredictorState
) -> dict[str, str]:
    status = {"svcName": service_name(deployment, predictor)}
    if state.http:
        status["httpEndpoint"] = state.http
    if state.grpc:
        status["grpcEndpoint"] = state.grpc
    return status


def _description(state: State, predictors: Sequence[PredictorState]) -> str:
    if state == "Available":
        return ""
    told = "; ".join(
        f"{each.name}: {each.message}" for each in predictors if each.message and not each.ready
    )
    return " ".join([NOT_PROGRESSING] * (state == "Failed") + [told] * bool(told))


def _conditions(
    predictors: Sequence[PredictorState],
    routed: bool,
    now: datetime,
    previous: Mapping[str, Any],
) -> list[dict[str, str]]:
    waiting = [each for each in predictors if not each.ready]
    failed = any(each.failed for each in waiting)
    message = "; ".join(
        f"{each.name}: {each.ready_replicas} of {each.replicas} replicas ready"
        + f" ({each.message})" * bool(each.message)
        for each in waiting
    )
    deployments = (
        not waiting,
        ("ProgressDeadlineExceeded" if failed else "MinimumReplicasUnavailable")
        if waiting
        else "MinimumReplicasAvailable",
        message,
    )
    # Kubernetes' own conditions give reasons of one word; the operator's give sentences.
    services = (True, "All services created", "")
    routes = (
        (True, "All VirtualServices created", "")
        if routed
        else (False, "Not all VirtualServices created", "")
    )
    ready = next((each for each in (deployments, routes) if not each[0]), (True, "", ""))
    since = dict(_times_by_condition(previous))
    return [
        {
            "type": name,
            "status": (status := "True" if holds else "False"),
            **({"reason": reason} if reason else {}),
            **({"message": text} if text else {}),
            "lastTransitionTime": since.get((name, status), as_time(now)),
        }
        for name, (holds, reason, text) in (
            ("AmbassadorMappingsReady", (True, _NO_MAPPINGS, "")),
            ("DeploymentsReady", deployments),
            *((each, (True, reason, "")) for each, reason in _NOT_MADE.items()),
            ("Ready", ready),
            ("ServicesReady", services),
            ("istioVirtualServicesReady", routes),
        )
    ]


def _times_by_condition(status: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    for each in status.get("conditions", ()):
        if "lastTransitionTime" in each:
            yield (each["type"], each["status"]), each["lastTransitionTime"]


def as_time(time: datetime) -> str:
    """Return a time as Kubernetes writes it: in UTC, in whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
