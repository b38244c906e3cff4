"""The models' manifests as tests read them: rendered, and field by field."""

import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.manifests.rendering import MANIFESTS, ROOT, rendered

MODELS = sorted(each.stem for each in (ROOT / "models").glob("*.yaml"))
ENVIRONMENTS = ("local", "staging", "production")
CLUSTERS = ("staging", "production")

Document = dict[str, Any]


@cache
def documents(folder: str) -> tuple[Document, ...]:
    """Return what a folder of manifests/ renders; not to be changed."""
    return tuple(rendered(MANIFESTS / folder))


def deployment(environment: str, model: str) -> Document:
    return only("SeldonDeployment", documents(f"overlays/{environment}/{model}"))


def only(kind: str, found: tuple[Document, ...] | list[Document]) -> Document:
    (one,) = [each for each in found if each["kind"] == kind]
    return one


def pods(document: Document) -> list[Document]:
    """Return the PodSpec of each predictor."""
    return [each["componentSpecs"][0]["spec"] for each in document["spec"]["predictors"]]


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each leaf; what has a name is found by it."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from fields(each, f"{path}.{key}")
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            place = each.get("name", index) if isinstance(each, dict) else index
            yield from fields(each, f"{path}[{place}]")
    else:
        yield path, value


def differences(one: Document, other: Document) -> set[str]:
    """Return the paths of the fields that are not the same in both."""
    left, right = dict(fields(one)), dict(fields(other))
    missing = object()
    return {
        path
        for path in left.keys() | right.keys()
        if left.get(path, missing) != right.get(path, missing)
    }


def beyond(found: set[str], allowed: tuple[str, ...]) -> set[str]:
    """Return the paths that no pattern of `allowed` fits."""
    return {each for each in found if not any(re.fullmatch(pattern, each) for pattern in allowed)}


def restricted_faults(pod: Document) -> list[str]:
    """Return what Kubernetes' restricted profile would say of a pod (Pod Security Standards)."""
    own = pod.get("securityContext", {})
    faults = [each for each in ("hostNetwork", "hostPID", "hostIPC") if pod.get(each)]
    faults += [
        f"volume {each['name']}"
        for each in pod.get("volumes", ())
        if each.keys()
        - {"name", "configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected"}
        - {"secret", "csi", "ephemeral"}
    ]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        context = own | container.get("securityContext", {})
        capabilities = context.get("capabilities", {})
        wrong = {
            "runAsNonRoot": context.get("runAsNonRoot") is not True,
            "runAsUser": context.get("runAsUser") == 0,
            "seccompProfile": context.get("seccompProfile", {}).get("type")
            not in {"RuntimeDefault", "Localhost"},
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is not False,
            "privileged": bool(context.get("privileged")),
            "capabilities.drop": "ALL" not in capabilities.get("drop", ()),
            "capabilities.add": bool(set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}),
            "hostPort": any(each.get("hostPort") for each in container.get("ports", ())),
        }
        faults += [f"{container['name']}: {field}" for field, is_wrong in wrong.items() if is_wrong]
    return faults


def copied(folder: Path) -> Path:
    """Copy manifests/ into `folder`, to be changed there."""
    return Path(shutil.copytree(MANIFESTS, folder / "manifests"))
