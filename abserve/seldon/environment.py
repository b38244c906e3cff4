"""The environment of a predictor's server: what the operator sets, and what the user sets.

Some names are the operator's: what the user sets under them is dropped. Others are its defaults: it
sets them where the container's `env` does not. The operator's variables are therefore joined over
the user's, and then win over `envFrom` alone, as they do on Kubernetes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeGuard

from abserve.errors import ManifestError
from abserve.seldon.containers import Container, EnvironmentSource, KeyReference, ObjectReference
from abserve.seldon.prepackaged import prepackaged_server
from abserve.seldon.resource import PredictiveUnit, Predictor, SeldonDeployment

MODEL_MOUNT = "/mnt/models"
"""Where the operator puts the version's folder; on one machine it stands for that folder."""

METRICS_ENDPOINT = "/prometheus"

MODEL_URI_VARIABLE = "MLSERVER_MODEL_URI"

# The operator's own constant: it does not know what a folder of somebody else's holds.
_PREPACKAGED_VERSION = "v1"

# On Kubernetes a user's ports would win. Here each replica has ports of its own, so those do;
# `supported` warns of the difference.
_OPERATORS = frozenset({
    "MLSERVER_GRPC_PORT",
    # The operator leaves it alone, and listens on all addresses; one machine, on its own only.
    "MLSERVER_HOST",
    "MLSERVER_HTTP_PORT",
    "MLSERVER_METRICS_ENDPOINT",
    "MLSERVER_METRICS_PORT",
    "MLSERVER_MODELS_DIR",
    "MLSERVER_MODEL_NAME",
    MODEL_URI_VARIABLE,
    "PREDICTIVE_UNIT_GRPC_SERVICE_PORT",
    "PREDICTIVE_UNIT_HTTP_SERVICE_PORT",
    "PREDICTIVE_UNIT_ID",
    "PREDICTIVE_UNIT_IMAGE",
    "PREDICTIVE_UNIT_METRICS_ENDPOINT",
    "PREDICTIVE_UNIT_METRICS_SERVICE_PORT",
    "PREDICTIVE_UNIT_SERVICE_PORT",
    "PREDICTOR_ID",
    "PREDICTOR_LABELS",
    "SELDON_DEPLOYMENT_ID",
    "SELDON_EXECUTOR_ENABLED",
})  # fmt: skip

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")

Contents = Mapping[str, Mapping[str, str]]
"""Secrets or ConfigMaps of one namespace: by name, then by key, decoded."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports one replica listens on."""

    http: int
    grpc: int
    metrics: int


def is_operators(name: str) -> bool:
    """Tell whether the operator sets this variable, whatever the user writes."""
    # MLServer reads its variables whatever their case.
    return name.upper() in _OPERATORS


def is_mounted(path: str | None) -> TypeGuard[str]:
    """Tell whether a path lies in the folder that the version is copied to."""
    if path is None:
        return False
    place = PurePosixPath(path)
    return place.is_relative_to(MODEL_MOUNT) and ".." not in place.parts


def container_environment(
    deployment: SeldonDeployment, predictor: Predictor, ports: Ports, model_folder: Path | str
) -> dict[str, str]:
    """Return the variables the operator sets for one replica of a predictor.

    Parameters
    ----------
    deployment, predictor
        From `with_defaults`, which adds the label ``version``.
    model_folder
        The folder the version was copied to; on Kubernetes ``/mnt/models``.
    """
    node, container = predictor.graph, predictor.model_container
    http, grpc, metrics = str(ports.http), str(ports.grpc), str(ports.metrics)
    variables = {
        "MLSERVER_HTTP_PORT": http,
        "MLSERVER_GRPC_PORT": grpc,
        "MLSERVER_METRICS_PORT": metrics,
        "MLSERVER_METRICS_ENDPOINT": METRICS_ENDPOINT,
        "MLSERVER_MODELS_DIR": str(model_folder),
        "MLSERVER_MODEL_NAME": container.name,
        "PREDICTIVE_UNIT_ID": container.name,
        "PREDICTIVE_UNIT_IMAGE": container.image or "",
        "PREDICTIVE_UNIT_SERVICE_PORT": http,
        "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": http,
        "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": grpc,
        "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": metrics,
        "PREDICTIVE_UNIT_METRICS_ENDPOINT": METRICS_ENDPOINT,
        "PREDICTOR_ID": predictor.name,
        "PREDICTOR_LABELS": _to_json(dict(predictor.labels)),
        "SELDON_DEPLOYMENT_ID": deployment.name,
        "SELDON_EXECUTOR_ENABLED": "true",
    }
    if node.model_uri:
        variables[MODEL_URI_VARIABLE] = _model_uri(container, str(model_folder))
    given = {variable.name for variable in container.env}
    return variables | {
        name: value for name, value in _defaults(deployment, node).items() if name not in given
    }


def _defaults(deployment: SeldonDeployment, node: PredictiveUnit) -> Mapping[str, str]:
    """Return what the operator sets unless the container's `env` does."""
    variables = {}
    if node.parameters:
        parameters = [parameter.model_dump() for parameter in node.parameters]
        variables["PREDICTIVE_UNIT_PARAMETERS"] = _to_json(parameters)
    server = prepackaged_server(node)
    if server is not None:
        variables["MLSERVER_MODEL_IMPLEMENTATION"] = server.runtime
        variables["MLSERVER_MODEL_VERSION"] = _PREPACKAGED_VERSION
        variables["TEMPO_RUNTIME_OPTIONS"] = _to_json(
            {
                "k8s_options": {
                    "defaultRuntime": "tempo.seldon.SeldonKubernetesRuntime",
                    "namespace": deployment.namespace,
                }
            }
        )
    return variables


def _model_uri(container: Container, model_folder: str) -> str:
    """Return where the model lies: what the user says lies below the mount, else the folder."""
    given = next(
        (each.value for each in reversed(container.env) if each.name == MODEL_URI_VARIABLE), None
    )
    return model_folder + given.removeprefix(MODEL_MOUNT) if is_mounted(given) else model_folder


def resolve_environment(
    container: Container, secrets: Contents, config_maps: Contents
) -> dict[str, str]:
    """Return the variables the user sets, without those that are the operator's.

    As in Kubernetes, `env` wins over `envFrom`, a later entry over an earlier one, and
    ``$(NAME)`` stands for a variable set before it; ``$$`` is a dollar sign.

    Raises
    ------
    ManifestError
        If a Secret, a ConfigMap or a key is missing that is not optional, or a source is one
        that only a pod has.
    """
    variables: dict[str, str] = {}
    for entry in container.env_from:
        for reference, kind, contents in (
            (entry.secret_ref, "Secret", secrets),
            (entry.config_map_ref, "ConfigMap", config_maps),
        ):
            if reference:
                found = _contents_of(reference, kind, contents, f"container {container.name!r}")
                variables |= {entry.prefix + key: value for key, value in found.items()}
    for variable in container.env:
        if variable.value_from is None:
            variables[variable.name] = _expanded(variable.value or "", variables)
            continue
        value = _value_from(variable.name, variable.value_from, secrets, config_maps)
        if value is not None:
            variables[variable.name] = value
    return {name: value for name, value in variables.items() if not is_operators(name)}


def _value_from(
    name: str, source: EnvironmentSource, secrets: Contents, config_maps: Contents
) -> str | None:
    if source.secret_key_ref:
        return _key_of(source.secret_key_ref, "Secret", secrets, name)
    if source.config_map_key_ref:
        return _key_of(source.config_map_key_ref, "ConfigMap", config_maps, name)
    raise ManifestError(
        f"variable {name!r} comes from {', '.join(source.model_extra or {}) or 'nothing'}, "
        "expected secretKeyRef or configMapKeyRef; give it a value"
    )


def _key_of(reference: KeyReference, kind: str, contents: Contents, variable: str) -> str | None:
    whole = ObjectReference(name=reference.name, optional=reference.optional)
    found = _contents_of(whole, kind, contents, f"variable {variable!r}")
    if reference.key in found or reference.optional:
        return found.get(reference.key)
    raise ManifestError(
        f"variable {variable!r} needs key {reference.key!r} of {kind} {reference.name!r}, "
        f"which has {', '.join(sorted(found)) or 'none'}; add the key"
    )


def _contents_of(
    reference: ObjectReference, kind: str, contents: Contents, user: str
) -> Mapping[str, str]:
    if reference.name in contents:
        return contents[reference.name]
    if reference.optional:
        return {}
    raise ManifestError(
        f"{user} needs {kind} {reference.name!r}, which is not in this namespace; create it with "
        f"kubectl create {kind.lower()}"
    )


def _expanded(value: str, variables: Mapping[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        # Kubernetes leaves a reference to an unknown variable as it stands.
        return "$" if match[1] is None else variables.get(match[1], match[0])

    return _REFERENCE.sub(replacement, value)


def _to_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
