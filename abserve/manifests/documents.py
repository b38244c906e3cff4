"""Reading Kubernetes objects in their JSON form, whatever their kind."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Document = dict[str, Any]

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
# Where the pod's template stands in the kinds that have one.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "ScaledJob": ("spec", "jobTargetRef", "template"),
}


# libyaml's is ten times as fast as the one in Python, and not in every build of PyYAML.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# An object of more than 1.5 MiB has no place in a cluster, and kubectl takes minutes for 40 MiB.
MOST_BYTES = 8 * 2**20
_MOST_VALUES = 2**20


class ExcessError(yaml.YAMLError):
    """A few lines whose aliases spell out more than could be applied."""


def yaml_documents(text: str) -> list[Any]:
    """Return the documents of a YAML file, empty ones left out.

    Raises
    ------
    yaml.YAMLError
        If it is no YAML, or would be larger than anything that could be applied.
    """
    try:
        found = [each for each in yaml.load_all(text, Loader=_LOADER) if each is not None]  # safe
        n_values = sum(_n_values(each, {}) for each in found)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply, or holds itself") from error
    # Without aliases each value takes at least a letter.
    if n_values > max(_MOST_VALUES, len(text)):
        raise ExcessError(
            f"its aliases spell out {n_values:.1e} values, more than could be applied; write fewer"
        )
    return found


def _n_values(value: Any, known: dict[int, int]) -> int:
    """Return how many values there are once each alias is written out."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        below = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_n_values(each, known) for each in below)
    return known[id(value)]


def listed(value: Any, *path: str) -> list[Any]:
    """Return the list at `path`; an empty one where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, list) else []


def dig(value: Any, *path: str) -> Any:
    """Return what stands at `path`, or None where a step of it is missing."""
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def mapping(value: Any, *path: str) -> Mapping[str, Any]:
    """Return the mapping at `path`; an empty one where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, Mapping) else {}


def entries(value: Any, *path: str) -> list[Mapping[str, Any]]:
    """Return the mappings in the list at `path`; none where there is no list."""
    return [each for each in listed(value, *path) if isinstance(each, Mapping)]


def name_of(document: Mapping[str, Any]) -> str:
    metadata = mapping(document, "metadata")
    return str(metadata.get("name") or metadata.get("generateName") or "")


def namespace_of(document: Mapping[str, Any]) -> str | None:
    found = dig(document, "metadata", "namespace")
    return None if found is None else str(found)


def kind_of(document: Mapping[str, Any]) -> str:
    return str(document.get("kind") or "")


def group_of(document: Mapping[str, Any]) -> str:
    """Return the API group; empty for the core group, as RBAC writes it."""
    group, slash, _ = str(document.get("apiVersion") or "").rpartition("/")
    return group if slash else ""


def subject_of(document: Mapping[str, Any]) -> str:
    return f"{kind_of(document)}/{name_of(document)}"


def pod_template(document: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return the pods that an object makes: the path of their spec, and their metadata and spec.

    None if it makes none, or if they are written another way, as a SeldonDeployment's.
    """
    path = _TEMPLATES.get(kind_of(document))
    if path is None:
        return None
    return ".".join([*path, "spec"]), mapping(document, *path) if path else document


def containers(value: Any, field: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every container in a document of whatever kind, with the path of its field."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from containers(each, f"{field}[{index}]")
    elif isinstance(value, Mapping):
        for key, below in value.items():
            path = f"{field}.{key}" if field else str(key)
            if key in _CONTAINERS:
                for index, each in enumerate(entries(value, key)):
                    if "name" in each:
                        yield f"{path}[{index}]", each
            else:
                yield from containers(below, path)
