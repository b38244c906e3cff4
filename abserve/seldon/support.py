"""Whether one machine can run a SeldonDeployment that Seldon would take.

What would change the answers a client gets is refused, what would not is named in a warning, and
nothing is ignored in silence.
"""

import re
from collections import Counter
from collections.abc import Iterator

from abserve.seldon.admission import Faults, raise_all
from abserve.seldon.faults import Fault
from abserve.seldon.naming import NO_ENGINE, SERVICE_NAME
from abserve.seldon.pods import IMAGE, pod_faults, unheeded_fields, unheeded_in_pods
from abserve.seldon.prepackaged import (
    BUILT_IN,
    LOCAL_SERVERS,
    has_implementation,
    prepackaged_server,
)
from abserve.seldon.resource import PredictiveUnit, Predictor, SeldonDeployment
from abserve.seldon.routing import heeded_annotations, routing_faults
from abserve.weights import WHOLE

_OPEN_PROTOCOLS = ("v2", "kfserving")

_REMOTE = re.compile(r"[A-Za-z0-9_-]+:[^:]")

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
_OUR_ANNOTATIONS = ("seldon.io/", "abserve.io/")


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
    rules = (_local_names, _local_settings, _local_predictors, pod_faults, routing_faults)
    raise_all(deployment, rules)
    return tuple(_warnings(deployment))


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
        message = "found 'grpc', expected rest: both are served in any case; remove it"
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
        yield from _local_implementation(f"{field}.graph", predictor)


def _local_graph(field: str, node: PredictiveUnit) -> Faults:
    if node.children:
        message = "found a graph of several nodes, expected one: only the executor joins nodes"
        yield Fault(f"{field}.children", f"{message}; remove them", "FieldValueForbidden")
    if node.type not in {None, "MODEL"}:
        message = f"found {node.type!r}, expected MODEL: nothing else runs locally; change it"
        yield Fault(f"{field}.type", message, "FieldValueNotSupported")
    if not node.model_uri:
        message = "found nothing, expected the version's folder, such as s3://models/iris/v1"
        yield Fault(f"{field}.modelUri", f"{message}; add it", "FieldValueRequired")
    elif node.model_uri.startswith("pvc://"):
        message = f"found {node.model_uri!r}, but there are no volume claims on one machine"
        yield Fault(f"{field}.modelUri", f"{message}; use s3://", "FieldValueNotSupported")
    elif not _REMOTE.match(node.model_uri):
        # rclone would take a backend's settings in front of the path, commands among them.
        message = f"found {node.model_uri!r}, expected <remote>://<bucket>/<path>"
        example = f"write for example s3://models/{node.name}/v1"
        yield Fault(f"{field}.modelUri", f"{message}; {example}", "FieldValueInvalid")
    if node.storage_initializer_image:
        message = f"found {node.storage_initializer_image!r}, but locally rclone copies the version"
        yield Fault(f"{field}.storageInitializerImage", f"{message}; remove it",
                    "FieldValueForbidden")  # fmt: skip
    if node.endpoint and node.endpoint.type == "GRPC":
        message = "found 'GRPC', expected REST: both are served in any case; remove it"
        yield Fault(f"{field}.endpoint.type", message, "FieldValueNotSupported")


def _local_implementation(field: str, predictor: Predictor) -> Faults:
    node = predictor.graph
    if node.implementation in BUILT_IN:
        message = f"found {node.implementation!r}, which is part of Seldon's executor, and there is"
        yield Fault(
            f"{field}.implementation",
            f"{message} none on one machine; use a container with the image {IMAGE}",
            "FieldValueNotSupported",
        )
    elif has_implementation(node) and prepackaged_server(node) is None:
        yield Fault(
            f"{field}.implementation",
            f"found {node.implementation!r}, expected {', '.join(LOCAL_SERVERS)}: no other "
            "prepackaged server is on one machine; change it, or remove it and use a container "
            f"with the image {IMAGE}",
            "FieldValueNotSupported",
        )
    elif not has_implementation(node) and all(
        each.name != node.name for each in predictor.containers
    ):
        # Seldon's webhook asks this of every implementation but an empty one.
        message = f"found no container named {node.name!r}, which would serve the node; add it"
        yield Fault(f"{field}.implementation", message, "FieldValueRequired")


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

    for predictor in deployment.spec.predictors:
        server = prepackaged_server(predictor.graph)
        if server is not None:
            yield (
                f"{server.name} loads {predictor.graph.model_uri} with joblib, which runs whatever "
                "code the file holds, here as you and without a container; serve only what you "
                "trust"
            )


def _unheeded(deployment: SeldonDeployment) -> Iterator[str]:
    for where, annotations in (
        ("metadata", deployment.metadata.annotations),
        ("spec", deployment.spec.annotations),
    ):
        for name in annotations:
            if name.startswith(_OUR_ANNOTATIONS) and name not in heeded_annotations(deployment):
                yield f"{where}.annotations[{name}]"
    yield from unheeded_fields("spec", deployment.spec, _HEEDED_IN_SPEC)
    for index, predictor in enumerate(deployment.spec.predictors):
        field = f"spec.predictors[{index}]"
        for name in predictor.annotations:
            if name.startswith(_OUR_ANNOTATIONS) and name not in _HEEDED_ANNOTATIONS:
                yield f"{field}.annotations[{name}]"
        yield from unheeded_fields(field, predictor, _HEEDED_IN_PREDICTOR)
        yield from unheeded_fields(f"{field}.graph", predictor.graph, _HEEDED_IN_NODE)
    yield from unheeded_in_pods(deployment)


def _without_indexes(field: str) -> str:
    return re.sub(r"\[\d+\]", "[]", field)
