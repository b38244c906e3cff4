"""The kinds of objects the local cluster knows, and how kubectl is told of them."""

from dataclasses import dataclass
from typing import Any

SELDON_GROUP = "machinelearning.seldon.io"

OWN_NAMESPACES = ("default", "kube-public")
"""Namespaces that every cluster has, and that cannot be deleted."""

_READ = ("get", "list", "watch")
_ALL = ("create", "delete", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: where its path lies and which verbs work on it."""

    name: str
    plural: str
    group: str = ""
    short: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = _ALL
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def root(self) -> str:
        """The path under which the kind's group answers."""
        return f"/apis/{self.group}/v1" if self.group else "/api/v1"


SELDON_DEPLOYMENT = Kind(
    "SeldonDeployment", "seldondeployments", SELDON_GROUP, ("sdep",), subresources=("status",)
)
NAMESPACE = Kind("Namespace", "namespaces", short=("ns",), namespaced=False)
SECRET = Kind("Secret", "secrets")
CONFIG_MAP = Kind("ConfigMap", "configmaps", short=("cm",))
POD = Kind("Pod", "pods", short=("po",), verbs=_READ, subresources=("log", "proxy"))
EVENT = Kind("Event", "events", short=("ev",), verbs=_READ)

KINDS = (SELDON_DEPLOYMENT, NAMESPACE, SECRET, CONFIG_MAP, POD, EVENT)


def groups() -> tuple[str, ...]:
    """Return the named groups, without the core group."""
    return tuple(sorted({kind.group for kind in KINDS if kind.group}))


def resource_list(group: str) -> dict[str, Any]:
    """Return the discovery document of a group."""
    kinds = [kind for kind in KINDS if kind.group == group]
    resources: list[dict[str, Any]] = []
    for kind in kinds:
        resources.append(
            {
                "name": kind.plural,
                "singularName": kind.name.lower(),
                "namespaced": kind.namespaced,
                "kind": kind.name,
                "verbs": list(kind.verbs),
                "shortNames": list(kind.short),
            }
        )
        resources.extend(
            {
                "name": f"{kind.plural}/{subresource}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": kind.name,
                "verbs": ["get"],
            }
            for subresource in kind.subresources
        )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": resources,
    }


def group_list() -> dict[str, Any]:
    """Return the discovery document of ``/apis``."""
    versions = [{"groupVersion": f"{group}/v1", "version": "v1"} for group in groups()]
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {"name": group, "versions": [version], "preferredVersion": version}
            for group, version in zip(groups(), versions, strict=True)
        ],
    }


def openapi(group: str) -> dict[str, Any]:
    """Return the OpenAPI document of a group.

    It says that the API checks unknown fields itself (``fieldValidation``), which is what kubectl
    looks for before it sends an object.
    """
    root = f"/apis/{group}/v1" if group else "/api/v1"
    paths: dict[str, Any] = {}
    for kind in (kind for kind in KINDS if kind.group == group):
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        operation = {
            "parameters": [
                {"name": name, "in": "query", "schema": {"type": "string"}}
                for name in ("dryRun", "fieldManager", "fieldValidation")
            ],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-group-version-kind": {
                "group": group,
                "version": "v1",
                "kind": kind.name,
            },
        }
        paths[f"{root}{scope}/{kind.plural}/{{name}}"] = {
            "patch": {**operation, "x-kubernetes-action": "patch"}
        }
    return {
        "openapi": "3.0.0",
        "info": {"title": "abserve local cluster", "version": "v1"},
        "paths": paths,
    }
