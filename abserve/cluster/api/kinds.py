"""The kinds of objects the local cluster knows, and how kubectl is told of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SELDON_GROUP = "machinelearning.seldon.io"
_COORDINATION_GROUP = "coordination.k8s.io"

OWN_NAMESPACES = ("default", "kube-public", "kube-system")
"""Namespaces that every cluster has, and that cannot be deleted."""

_READ = ("get", "list", "watch")
_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: where its path lies and which verbs work on it."""

    name: str
    plural: str
    group: str = ""
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = _ALL
    subresources: tuple[str, ...] = ()
    derived: bool = False
    """Made anew from what runs by each cluster that starts, and so not kept on disk."""

    @property
    def version_kind(self) -> dict[str, str]:
        """How Kubernetes names the kind in documents about documents."""
        return {"group": self.group, "version": "v1", "kind": self.name}

    @property
    def api_version(self) -> str:
        return version_of(self.group)

    @property
    def root(self) -> str:
        """The path under which the kind's group answers."""
        return root_of(self.group)


SELDON_DEPLOYMENT = Kind(
    "SeldonDeployment",
    "seldondeployments",
    SELDON_GROUP,
    short=("sdep",),
    categories=("all",),
    subresources=("scale", "status"),
)
NAMESPACE = Kind(
    "Namespace",
    "namespaces",
    short=("ns",),
    namespaced=False,
    verbs=tuple(verb for verb in _ALL if verb != "deletecollection"),
)
SECRET = Kind("Secret", "secrets")
CONFIG_MAP = Kind("ConfigMap", "configmaps", short=("cm",))
POD = Kind(
    "Pod",
    "pods",
    short=("po",),
    categories=("all",),
    verbs=("delete", *_READ),
    subresources=("log", "proxy"),
    derived=True,
)
SERVICE = Kind(
    "Service", "services", short=("svc",), categories=("all",), verbs=_READ, derived=True
)
EVENT = Kind("Event", "events", short=("ev",))
LEASE = Kind("Lease", "leases", _COORDINATION_GROUP)

KINDS = (SELDON_DEPLOYMENT, NAMESPACE, SECRET, CONFIG_MAP, POD, SERVICE, EVENT, LEASE)


@dataclass(frozen=True, slots=True)
class Subresource:
    """What discovery says of a subresource: its verbs, and its kind where it has one of its own."""

    verbs: tuple[str, ...]
    version_kind: dict[str, str] | None = None


SCALE = {"group": "autoscaling", "version": "v1", "kind": "Scale"}

SUBRESOURCES = {
    "log": Subresource(("get",)),
    "proxy": Subresource(("get",), {"group": "", "version": "v1", "kind": "PodProxyOptions"}),
    "scale": Subresource(("get", "patch", "update"), SCALE),
    "status": Subresource(("get", "patch", "update")),
}


def groups() -> tuple[str, ...]:
    """Return the named groups, without the core group."""
    return tuple(sorted({kind.group for kind in KINDS if kind.group}))


def version_of(group: str) -> str:
    """Return the API version of a group; the core group's has no name in it."""
    return f"{group}/v1" if group else "v1"


def root_of(group: str) -> str:
    """Return the path under which a group answers."""
    return f"/apis/{group}/v1" if group else "/api/v1"


def kinds_of(group: str) -> tuple[Kind, ...]:
    return tuple(kind for kind in KINDS if kind.group == group)


def resource_list(group: str) -> dict[str, Any]:
    """Return the discovery document of a group."""
    resources: list[dict[str, Any]] = []
    for kind in kinds_of(group):
        resources.append(
            {
                "name": kind.plural,
                "singularName": kind.name.lower(),
                "namespaced": kind.namespaced,
                "kind": kind.name,
                "verbs": kind.verbs,
                "shortNames": kind.short,
                "categories": kind.categories,
            }
        )
        for name in kind.subresources:
            subresource = SUBRESOURCES[name]
            resources.append(
                {
                    "name": f"{kind.plural}/{name}",
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    **(subresource.version_kind or {"kind": kind.name}),
                    "verbs": subresource.verbs,
                }
            )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version_of(group),
        "resources": resources,
    }


def group_list() -> dict[str, Any]:
    """Return the discovery document of ``/apis``."""
    versions = [{"groupVersion": version_of(group), "version": "v1"} for group in groups()]
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {"name": group, "versions": [version], "preferredVersion": version}
            for group, version in zip(groups(), versions, strict=True)
        ],
    }


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The media type of `aggregated`."""


def aggregated(groups: Iterable[str]) -> dict[str, Any]:
    """Return one document with all that discovery says of `groups`.

    Clients that ask for it, as kubectl does, need no further request for each group.
    """
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": group} if group else {},
                "versions": [
                    {
                        "version": "v1",
                        "freshness": "Current",
                        "resources": [_aggregated_resource(kind) for kind in kinds_of(group)],
                    }
                ],
            }
            for group in groups
        ],
    }


def _aggregated_resource(kind: Kind) -> dict[str, Any]:
    return {
        "resource": kind.plural,
        "responseKind": kind.version_kind,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.name.lower(),
        "verbs": kind.verbs,
        "shortNames": kind.short,
        "categories": kind.categories,
        "subresources": [
            {
                "subresource": name,
                "responseKind": SUBRESOURCES[name].version_kind or kind.version_kind,
                "verbs": SUBRESOURCES[name].verbs,
            }
            for name in kind.subresources
        ],
    }
