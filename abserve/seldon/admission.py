"""Whether Seldon would take a SeldonDeployment.

`admit` asks what Seldon's validating webhook asks, so that a file refused here would be refused
there. It finds every fault before it raises.
"""

from collections.abc import Callable, Iterator

from abserve.seldon.faults import Fault, InvalidManifestError
from abserve.seldon.naming import NO_ENGINE, SERVICE_NAME
from abserve.seldon.prepackaged import (
    HUGGINGFACE_SERVER,
    SKLEARN_SERVER,
    UNKNOWN_IMPLEMENTATION,
    is_prepackaged,
)
from abserve.seldon.resource import (
    PredictiveUnit,
    Predictor,
    SeldonDeployment,
)
from abserve.weights import WHOLE

_PROTOCOLS = ("seldon", "tensorflow", "kfserving", "v2")
_TRANSPORTS = ("rest", "grpc")
_SERVER_TYPES = ("rpc", "kafka")
_WITHOUT_TENSORFLOW = (SKLEARN_SERVER, "XGBOOST_SERVER", "MLFLOW_SERVER", HUGGINGFACE_SERVER)
_SERVERS = (*_WITHOUT_TENSORFLOW, "TRITON_SERVER", "TENSORFLOW_SERVER", "TEMPO_SERVER")
_KAFKA = ("KAFKA_BROKER", "KAFKA_INPUT_TOPIC", "KAFKA_OUTPUT_TOPIC")
_TRANSPORT_OF = {"REST": "rest", "GRPC": "grpc"}

Faults = Iterator[Fault]


def admit(deployment: SeldonDeployment) -> None:
    """Check what Seldon's validating webhook checks.

    Raises
    ------
    InvalidManifestError
        If Seldon would refuse the deployment. It carries all faults.
    """
    raise_all(deployment, (_settings, _kafka, _predictors, _nodes, _endpoints, _traffic))


def raise_all(
    deployment: SeldonDeployment, rules: tuple[Callable[[SeldonDeployment], Faults], ...]
) -> None:
    """Raise one error with the faults that all `rules` find, if they find any."""
    faults = [fault for rule in rules for fault in rule(deployment)]
    if faults:
        raise InvalidManifestError(faults)


# What Seldon asks.


def _settings(deployment: SeldonDeployment) -> Faults:
    spec = deployment.spec
    for field, found, expected in (
        ("protocol", spec.protocol, _PROTOCOLS),
        ("transport", spec.transport, _TRANSPORTS),
        ("serverType", spec.server_type, _SERVER_TYPES),
    ):
        if found and found not in expected:
            yield Fault(
                f"spec.{field}",
                f"found {found!r}, expected one of {', '.join(expected)}; change it",
                "FieldValueNotSupported",
            )


def _kafka(deployment: SeldonDeployment) -> Faults:
    if deployment.spec.server_type != "kafka":
        return
    for index, predictor in enumerate(deployment.spec.predictors):
        orchestrator = predictor.svc_orch_spec
        named = {each.name for each in orchestrator.env} if orchestrator else set()
        missing = [name for name in _KAFKA if name not in named]
        if missing:
            yield Fault(
                f"spec.predictors[{index}].svcOrchSpec.env",
                f"serverType kafka expects {', '.join(_KAFKA)}, found no {', '.join(missing)}; "
                "add them",
                "FieldValueRequired",
            )


def _predictors(deployment: SeldonDeployment) -> Faults:
    predictors = deployment.spec.predictors
    if not predictors:
        message = "found no predictor, expected at least one; add one"
        yield Fault("spec.predictors", message, "FieldValueRequired")
    if len(predictors) == 1 and predictors[0].shadow:
        yield Fault(
            "spec.predictors[0].shadow",
            "found a shadow as the only predictor, expected one that answers; add that, or "
            "remove shadow",
            "FieldValueInvalid",
        )
    names: set[str] = set()
    services: set[str] = set()
    for index, predictor in enumerate(predictors):
        field = f"spec.predictors[{index}]"
        if predictor.name in names:
            message = f"found {predictor.name!r} a second time; give each predictor its own name"
            yield Fault(f"{field}.name", message, "FieldValueDuplicate")
        names.add(predictor.name)
        service = predictor.annotations.get(SERVICE_NAME)
        if service is not None:
            if service in services:
                message = f"found service name {service!r} a second time; give each its own"
                yield Fault(f"{field}.annotations[{SERVICE_NAME}]", message, "FieldValueDuplicate")
            services.add(service)
        if NO_ENGINE in predictor.annotations and predictor.graph.children:
            yield Fault(
                f"{field}.annotations[{NO_ENGINE}]",
                "found the annotation on a graph of several nodes, expected one node, because "
                "only the executor joins nodes; remove the annotation or the children",
                "FieldValueForbidden",
            )


def _nodes(deployment: SeldonDeployment) -> Faults:
    for field, predictor, node in deployment.nodes():
        if node.implementation is None or node.implementation == UNKNOWN_IMPLEMENTATION:
            yield from _own_container(field, predictor, node)
        elif is_prepackaged(node):
            yield from _prepackaged(field, deployment, predictor, node)
        if node.logger and not node.logger.mode:
            message = "found nothing, expected all, request or response; add it"
            yield Fault(f"{field}.logger.mode", message, "FieldValueRequired")


def _own_container(field: str, predictor: Predictor, node: PredictiveUnit) -> Faults:
    names = [each.name for each in predictor.containers]
    if node.name not in names:
        yield Fault(
            f"{field}.name",
            f"found {node.name!r}, expected the name of a container of the predictor "
            f"({', '.join(names) or 'it has none'}); the name is what links them, so make "
            "them equal",
            "FieldValueInvalid",
        )
    if node.type == "UNKNOWN_TYPE" and not node.methods:
        yield Fault(
            f"{field}.type",
            "found 'UNKNOWN_TYPE' without methods, expected a type or methods; remove it for a "
            "MODEL",
            "FieldValueInvalid",
        )


def _prepackaged(
    field: str, deployment: SeldonDeployment, predictor: Predictor, node: PredictiveUnit
) -> Faults:
    server = node.implementation
    if not node.model_uri and server != HUGGINGFACE_SERVER:
        message = f"found nothing, expected the location of the model {server} serves; add it"
        yield Fault(f"{field}.modelUri", message, "FieldValueRequired")
    if deployment.spec.protocol == "tensorflow" and server in _WITHOUT_TENSORFLOW:
        message = f"found {server!r}, which does not speak protocol tensorflow; use protocol v2"
        yield Fault(f"{field}.implementation", message, "FieldValueInvalid")
    has_image = any(each.name == node.name and each.image for each in predictor.containers)
    if not has_image and server not in _SERVERS:
        yield Fault(
            f"{field}.implementation",
            f"found {server!r}, expected one of {', '.join(_SERVERS)}, or a container named "
            f"{node.name!r} with an image; change one of them",
            "FieldValueNotSupported",
        )


def _endpoints(deployment: SeldonDeployment) -> Faults:
    transport = deployment.spec.transport
    found = [
        (f"{field}.endpoint.type", node.endpoint.type)
        for field, _, node in deployment.nodes()
        if node.endpoint and node.endpoint.type
    ]
    first = found[0][1] if found else ""
    for field, kind in found:
        if kind != first:
            message = f"found {kind!r} beside {first!r}, expected one type; use spec.transport"
            yield Fault(field, message, "FieldValueInvalid")
        elif transport and _TRANSPORT_OF.get(kind, transport) != transport:
            message = f"found {kind!r}, but spec.transport is {transport!r}; remove endpoint.type"
            yield Fault(field, message, "FieldValueInvalid")


def _traffic(deployment: SeldonDeployment) -> Faults:
    predictors, variants = deployment.spec.predictors, deployment.variants
    shadows = [
        (f"spec.predictors[{index}]", each) for index, each in enumerate(predictors) if each.shadow
    ]
    for field, each in shadows[1:]:
        message = f"found {each.name!r}, a second shadow, expected at most one; remove it"
        yield Fault(f"{field}.shadow", message, "FieldValueInvalid")
    for field, each in shadows:
        if not 0 <= (each.traffic or 0) <= WHOLE:
            message = f"found {each.traffic}, expected the percentage of requests to copy, 0 to 100"
            yield Fault(f"{field}.traffic", f"{message}; change it", "FieldValueInvalid")
    total = sum(each.traffic or 0 for each in variants)
    if len(variants) > 1 and total != WHOLE:
        shares = ", ".join(f"{each.name}={each.traffic or 0}" for each in variants)
        yield Fault(
            "spec.predictors",
            f"traffic sums to {total} ({shares}), expected 100; change it so that it does, "
            "shadows not counted",
            "FieldValueInvalid",
        )
    # Seldon overlooks a lone predictor beside a shadow here, and so do we.
    if len(predictors) == 1 and 0 < total < WHOLE:
        message = f"found {total}, expected 100 for the only predictor; remove it"
        yield Fault("spec.predictors[0].traffic", message, "FieldValueInvalid")
