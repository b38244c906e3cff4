"""Whether Seldon would take a SeldonDeployment, and whether one machine can run it.

`admit` asks what Seldon's validating webhook asks, so that a file refused here would be refused
there. `supported` asks what only a machine without Kubernetes has to ask: what would change the
answers a client gets is refused, what would not is named in a warning, and nothing is ignored in
silence. Both find every fault before they raise.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from abserve.seldon.faults import Fault, InvalidManifestError
from abserve.seldon.naming import NO_ENGINE, SERVICE_NAME
from abserve.seldon.pods import pod_faults, unheeded_fields, unheeded_in_pods
from abserve.seldon.resource import (
    PredictiveUnit,
    Predictor,
    SeldonDeployment,
)
from abserve.weights import WHOLE

UNKNOWN_IMPLEMENTATION = "UNKNOWN_IMPLEMENTATION"
HUGGINGFACE_SERVER = "HUGGINGFACE_SERVER"

_PROTOCOLS = ("seldon", "tensorflow", "kfserving", "v2")
_OPEN_PROTOCOLS = ("v2", "kfserving")
_TRANSPORTS = ("rest", "grpc")
_SERVER_TYPES = ("rpc", "kafka")
_BUILT_IN = ("SIMPLE_MODEL", "SIMPLE_ROUTER", "RANDOM_ABTEST", "AVERAGE_COMBINER")
_WITHOUT_TENSORFLOW = ("SKLEARN_SERVER", "XGBOOST_SERVER", "MLFLOW_SERVER", HUGGINGFACE_SERVER)
_SERVERS = (*_WITHOUT_TENSORFLOW, "TRITON_SERVER", "TENSORFLOW_SERVER", "TEMPO_SERVER")
_KAFKA = ("KAFKA_BROKER", "KAFKA_INPUT_TOPIC", "KAFKA_OUTPUT_TOPIC")
_TRANSPORT_OF = {"REST": "rest", "GRPC": "grpc"}

# A Service is named after both, so each must be what a DNS name is made of.
_DEPLOYMENT_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_PREDICTOR_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

_HEEDED_IN_SPEC = {
    "name", "predictors", "annotations", "protocol", "transport", "replicas", "server_type",
}  # fmt: skip
_HEEDED_IN_PREDICTOR = {
    "name", "graph", "component_specs", "replicas", "annotations", "labels", "traffic", "shadow",
    "explainer",
}  # fmt: skip
_HEEDED_IN_NODE = {
    "name", "children", "type", "implementation", "parameters", "model_uri",
    "env_secret_ref_name", "storage_initializer_image",
}  # fmt: skip
_HEEDED_ANNOTATIONS = {NO_ENGINE, SERVICE_NAME}

Faults = Iterator[Fault]


def admit(deployment: SeldonDeployment) -> None:
    """Check what Seldon's validating webhook checks.

    Raises
    ------
    InvalidManifestError
        If Seldon would refuse the deployment. It carries all faults.
    """
    _raise_all(deployment, (_settings, _kafka, _predictors, _nodes, _endpoints, _traffic))


def supported(deployment: SeldonDeployment) -> tuple[str, ...]:
    """Check that one machine gives the answers Kubernetes would give.

    Returns
    -------
    tuple of str
        Warnings: what stands in the file and has no effect on one machine.

    Raises
    ------
    InvalidManifestError
        If a client would get other answers than on Kubernetes. It carries all faults.
    """
    _raise_all(deployment, (_local_names, _local_settings, _local_predictors, pod_faults))
    return tuple(_warnings(deployment))


def _raise_all(
    deployment: SeldonDeployment, rules: tuple[Callable[[SeldonDeployment], Faults], ...]
) -> None:
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
        elif node.implementation not in _BUILT_IN:
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


# What one machine asks.


def _local_names(deployment: SeldonDeployment) -> Faults:
    named = [("metadata.name", deployment.name, _DEPLOYMENT_NAME)]
    named += [
        (f"spec.predictors[{index}].name", predictor.name, _PREDICTOR_NAME)
        for index, predictor in enumerate(deployment.spec.predictors)
    ]
    for field, name, pattern in named:
        if not pattern.fullmatch(name):
            yield Fault(
                field,
                f"found {name!r}, expected lower-case letters, digits and '-', because a Service "
                "is named after it; rename it",
                "FieldValueInvalid",
            )


def _local_settings(deployment: SeldonDeployment) -> Faults:
    spec = deployment.spec
    if spec.protocol not in _OPEN_PROTOCOLS:
        found = repr(spec.protocol) if spec.protocol else "nothing, which is 'seldon',"
        message = f"found {found}, expected v2: locally only the V2 protocol is served; change it"
        yield Fault("spec.protocol", message, "FieldValueNotSupported")
    if spec.transport == "grpc":
        message = "found 'grpc', expected rest: the local gateway routes REST; remove it"
        yield Fault("spec.transport", message, "FieldValueNotSupported")
    if spec.server_type == "kafka":
        message = "found 'kafka', expected rpc: there is no Kafka on one machine; remove it"
        yield Fault("spec.serverType", message, "FieldValueNotSupported")


def _local_predictors(deployment: SeldonDeployment) -> Faults:
    if deployment.spec.replicas is not None and deployment.spec.replicas < 0:
        yield _negative("spec.replicas", deployment.spec.replicas)
    for index, predictor in enumerate(deployment.spec.predictors):
        field = f"spec.predictors[{index}]"
        no_engine = predictor.annotations.get(NO_ENGINE)
        if no_engine is None or no_engine.lower() != "true":
            found = "nothing" if no_engine is None else repr(no_engine)
            yield Fault(
                f"{field}.annotations[{NO_ENGINE}]",
                f'found {found}, expected "true": there is no Seldon executor on one machine; '
                "add the annotation, and Kubernetes does without it too",
                "FieldValueRequired",
            )
        if not 0 <= (predictor.traffic or 0) <= WHOLE:
            message = f"found {predictor.traffic}, expected a percentage from 0 to 100; change it"
            yield Fault(f"{field}.traffic", message, "FieldValueInvalid")
        if predictor.replicas is not None and predictor.replicas < 0:
            yield _negative(f"{field}.replicas", predictor.replicas)
        if predictor.explainer and predictor.explainer.type:
            message = f"found {predictor.explainer.type!r}: no explainer runs locally; remove it"
            yield Fault(f"{field}.explainer", message, "FieldValueForbidden")
        yield from _local_graph(f"{field}.graph", predictor.graph)


def _local_graph(field: str, node: PredictiveUnit) -> Faults:
    if node.children:
        message = "found a graph of several nodes, expected one: only the executor joins nodes"
        yield Fault(f"{field}.children", f"{message}; remove them", "FieldValueForbidden")
    if node.type not in {None, "MODEL"}:
        message = f"found {node.type!r}, expected MODEL: nothing else runs locally; change it"
        yield Fault(f"{field}.type", message, "FieldValueNotSupported")
    if node.implementation not in {None, UNKNOWN_IMPLEMENTATION}:
        yield Fault(
            f"{field}.implementation",
            f"found {node.implementation!r}: prepackaged servers are not yet on the local "
            "cluster; remove it and use a container with the image abserve/runtimes",
            "FieldValueNotSupported",
        )
    if not node.model_uri:
        message = "found nothing, expected the version's folder, such as s3://models/iris/v1"
        yield Fault(f"{field}.modelUri", f"{message}; add it", "FieldValueRequired")
    elif node.model_uri.startswith("pvc://"):
        message = f"found {node.model_uri!r}, but there are no volume claims on one machine"
        yield Fault(f"{field}.modelUri", f"{message}; use s3://", "FieldValueNotSupported")
    if node.storage_initializer_image:
        message = f"found {node.storage_initializer_image!r}, but locally rclone copies the version"
        yield Fault(f"{field}.storageInitializerImage", f"{message}; remove it",
                    "FieldValueForbidden")  # fmt: skip
    if node.endpoint and node.endpoint.type == "GRPC":
        message = "found 'GRPC', expected REST: the local gateway routes REST; remove it"
        yield Fault(f"{field}.endpoint.type", message, "FieldValueNotSupported")


def _negative(field: str, replicas: int) -> Fault:
    message = f"found {replicas}, expected 0 or more; change it"
    return Fault(field, message, "FieldValueInvalid")


# What one machine passes over, and says so.


def _warnings(deployment: SeldonDeployment) -> Iterator[str]:
    ignored = Counter(_without_indexes(field) for field in _unheeded(deployment))
    if ignored:
        yield f"no effect on one machine: {', '.join(ignored)}"
    scaling = Counter(
        f"spec.predictors[].componentSpecs[].{field}"
        for predictor in deployment.spec.predictors
        for pod in predictor.component_specs
        for field, value in (
            ("hpaSpec", pod.hpa_spec),
            ("kedaSpec", pod.keda_spec),
            ("pdbSpec", pod.pdb_spec),
        )
        if value
    )
    if scaling:
        yield f"nothing scales on one machine, replicas stay as given: {', '.join(scaling)}"
    nodes = list(dict.fromkeys(each.graph.name for each in deployment.spec.predictors))
    if len(nodes) > 1:
        yield (
            f"graph nodes are named {', '.join(nodes)}: a request names one of them, and the other "
            "predictors answer it with 404; give all the same name"
        )


def _unheeded(deployment: SeldonDeployment) -> Iterator[str]:
    for where, annotations in (
        ("metadata", deployment.metadata.annotations),
        ("spec", deployment.spec.annotations),
    ):
        for name in annotations:
            if name.startswith("seldon.io/"):
                yield f"{where}.annotations[{name}]"
    yield from unheeded_fields("spec", deployment.spec, _HEEDED_IN_SPEC)
    for index, predictor in enumerate(deployment.spec.predictors):
        field = f"spec.predictors[{index}]"
        for name in predictor.annotations:
            if name.startswith("seldon.io/") and name not in _HEEDED_ANNOTATIONS:
                yield f"{field}.annotations[{name}]"
        yield from unheeded_fields(field, predictor, _HEEDED_IN_PREDICTOR)
        yield from unheeded_fields(f"{field}.graph", predictor.graph, _HEEDED_IN_NODE)
    yield from unheeded_in_pods(deployment)


def _without_indexes(field: str) -> str:
    return re.sub(r"\[\d+\]", "[]", field)
