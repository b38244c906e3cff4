"""What of a predictor's pods one machine can stand in for.

There are no images and no volumes: a pod becomes one process of our own server, started with the
container's environment. Whatever else a pod says is refused if it could change an answer.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from abserve.seldon.containers import Container, EnvironmentVariable, PodSpec, SeldonValue
from abserve.seldon.environment import MODEL_MOUNT, MODEL_URI_VARIABLE, is_mounted, is_operators
from abserve.seldon.faults import Fault
from abserve.seldon.prepackaged import MLSERVER_IMAGE, prepackaged_server
from abserve.seldon.resource import PredictiveUnit, SeldonDeployment, SeldonPodSpec

IMAGE = "abserve/runtimes"

_HEALTH = "/v2/health/"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
# A process has a disk to write to and needs no word from Kubernetes about itself.
_VOLUMES = {"emptyDir", "downwardAPI"}

_HEEDED_IN_COMPONENT = {"metadata", "spec", "replicas", "hpa_spec", "keda_spec", "pdb_spec"}
_HEEDED_IN_POD = {
    "containers", "init_containers", "volumes", "termination_grace_period_seconds",
}  # fmt: skip
_HEEDED_IN_CONTAINER = {
    "name", "image", "command", "args", "env", "env_from", "ports",
    # Nothing is pulled, nothing is mounted beyond the volumes checked above.
    "imagePullPolicy", "volumeMounts", "workingDir",
    "terminationMessagePath", "terminationMessagePolicy",
}  # fmt: skip


def is_ours(image: str) -> bool:
    """Tell whether an image is ours, from whatever registry and in whatever version.

    Examples
    --------
    >>> is_ours("ghcr.io/acme/abserve/runtimes:0.1.0")
    True
    >>> is_ours("seldonio/mlserver:1.7.1")
    False
    """
    return _is_from(image, IMAGE)


def _is_from(image: str, repository: str) -> bool:
    path = image.partition("@")[0]
    folder, slash, last = path.rpartition("/")
    found = folder + slash + last.partition(":")[0]
    return found.split("/")[-2:] == repository.split("/")


def pod_faults(deployment: SeldonDeployment) -> Iterator[Fault]:
    """Yield what a process in a pod's stead would do differently."""
    for field, node, pod in _component_specs(deployment):
        if pod.replicas is not None and pod.replicas < 0:
            message = f"found {pod.replicas}, expected 0 or more; change it"
            yield Fault(f"{field}.replicas", message, "FieldValueInvalid")
        if pod.spec is None:
            continue
        if pod.spec.init_containers:
            message = "found init containers, but locally only the graph's container runs"
            yield Fault(f"{field}.spec.initContainers", f"{message}; remove them",
                        "FieldValueForbidden")  # fmt: skip
        yield from _volume_faults(f"{field}.spec", pod.spec)
        for index, container in enumerate(pod.spec.containers):
            where = f"{field}.spec.containers[{index}]"
            if container.name == node.name:
                yield from _image_faults(where, container.image or "", node)
                yield from _container_faults(where, container)
            else:
                message = (
                    f"found a container {container.name!r} beside the graph's, {node.name!r}, but "
                    "locally only that one runs; remove it"
                )
                yield Fault(where, message, "FieldValueForbidden")


def unheeded_in_pods(deployment: SeldonDeployment) -> Iterator[str]:
    """Yield the fields of pods that have no effect on one machine, and change no answer."""
    for field, _, pod in _component_specs(deployment):
        yield from unheeded_fields(field, pod, _HEEDED_IN_COMPONENT)
        if pod.spec is None:
            continue
        yield from unheeded_fields(f"{field}.spec", pod.spec, _HEEDED_IN_POD)
        for index, container in enumerate(pod.spec.containers):
            where = f"{field}.spec.containers[{index}]"
            fields = _HEEDED_IN_CONTAINER | _plain_probes(container)
            yield from unheeded_fields(where, container, fields)
            for position, variable in enumerate(container.env):
                if is_operators(variable.name) and not _means_the_copy(variable):
                    yield f"{where}.env[{position}] ({variable.name})"


def unheeded_fields(field: str, value: SeldonValue, heeded: set[str]) -> Iterator[str]:
    """Yield the paths of the non-empty fields of `value` that are not among `heeded`."""
    fields = type(value).model_fields
    for name in fields:
        if name in value.model_fields_set - heeded and getattr(value, name):
            yield f"{field}.{fields[name].alias}"
    for name, extra in (value.model_extra or {}).items():
        if extra and name not in heeded:
            yield f"{field}.{name}"


def _component_specs(
    deployment: SeldonDeployment,
) -> Iterator[tuple[str, PredictiveUnit, SeldonPodSpec]]:
    for index, predictor in enumerate(deployment.spec.predictors):
        for position, pod in enumerate(predictor.component_specs):
            field = f"spec.predictors[{index}].componentSpecs[{position}]"
            yield field, predictor.graph, pod


def _volume_faults(field: str, pod: PodSpec) -> Iterator[Fault]:
    for index, volume in enumerate(pod.volumes):
        kinds = volume.keys() - {"name"} - _VOLUMES
        if kinds:
            message = (
                f"found a volume of kind {', '.join(sorted(kinds))}, expected emptyDir: one "
                "machine mounts nothing; remove it, or hand the value over as env"
            )
            yield Fault(f"{field}.volumes[{index}]", message, "FieldValueNotSupported")


def _image_faults(field: str, image: str, node: PredictiveUnit) -> Iterator[Fault]:
    server = prepackaged_server(node)
    if server is None and not is_ours(image):
        found = repr(image) if image else "nothing"
        expected, serves, remedy = IMAGE, "our server", "change it"
    elif server is not None and image and not _is_from(image, MLSERVER_IMAGE):
        found = f"{image!r} for {server.name}"
        expected, serves = MLSERVER_IMAGE, "MLServer as it comes"
        remedy = f"remove it, or for {IMAGE} the implementation"
    else:
        return
    message = (
        f"found {found}, expected {expected} from any registry: one machine runs {serves} and no "
        f"containers; {remedy}"
    )
    yield Fault(f"{field}.image", message, "FieldValueNotSupported")


def _container_faults(field: str, container: Container) -> Iterator[Fault]:
    for name, given in (
        ("command", container.command),
        ("args", container.args),
        ("workingDir", (container.model_extra or {}).get("workingDir")),
    ):
        if given:
            message = "found a value, but locally our server is started its own way; remove it"
            yield Fault(f"{field}.{name}", message, "FieldValueForbidden")
    for index, variable in enumerate(container.env):
        source = variable.value_from
        if source and not (source.secret_key_ref or source.config_map_key_ref):
            message = (
                f"found {', '.join(source.model_extra or {}) or 'nothing'}, expected "
                "secretKeyRef or configMapKeyRef: there is no pod to ask; give a value"
            )
            where = f"{field}.env[{index}].valueFrom"
            yield Fault(where, message, "FieldValueNotSupported")


def _means_the_copy(variable: EnvironmentVariable) -> bool:
    """Tell whether a variable names a place on Kubernetes that the version's copy stands for."""
    if variable.name == MODEL_URI_VARIABLE:
        return is_mounted(variable.value)
    return variable.value == MODEL_MOUNT


def _plain_probes(container: Container) -> set[str]:
    """Name the probes that ask what the local cluster asks anyway."""
    extra: Mapping[str, Any] = container.model_extra or {}
    return {
        name
        for name in _PROBES
        if isinstance(probe := extra.get(name), Mapping)
        and isinstance(get := probe.get("httpGet"), Mapping)
        and str(get.get("path")).startswith(_HEALTH)
    }
