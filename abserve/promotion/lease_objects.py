"""Leases as the Kubernetes API keeps them: read, made, and replaced by whoever saw them last.

That somebody else was faster is no error here but an answer: None.
"""

from collections.abc import Callable, Set
from typing import Any, Protocol

import kubernetes.client

from abserve.promotion.kubernetes import Document, Kubernetes

_GROUP, _VERSION, _PLURAL = "coordination.k8s.io", "v1", "leases"
API_VERSION = f"{_GROUP}/{_VERSION}"

_NOT_FOUND, _CONFLICT = 404, 409


class Leases(Protocol):
    """The Leases of one namespace; the errors are those of the cluster."""

    def get(self, name: str) -> Document | None:
        """Return a Lease; None if there is none."""

    def create(self, lease: Document) -> Document | None:
        """Make a Lease and return it; None if there is one."""

    def replace(self, lease: Document) -> Document | None:
        """Change a Lease and return it; None if it is gone, or not of the version named."""


class ClusterLeases:
    """The Leases of a cluster's namespace; each answer may take `timeout_seconds`."""

    def __init__(self, cluster: Kubernetes, timeout_seconds: float) -> None:
        self._cluster = cluster
        self._custom = cluster.custom
        self._timeout_seconds = timeout_seconds

    def get(self, name: str) -> Document | None:
        return self._ask({_NOT_FOUND}, self._custom.get_namespaced_custom_object, name)

    def create(self, lease: Document) -> Document | None:
        # A namespace that is not there is not found either, and that is an error.
        return self._ask({_CONFLICT}, self._custom.create_namespaced_custom_object, lease)

    def replace(self, lease: Document) -> Document | None:
        name = lease["metadata"]["name"]
        replace = self._custom.replace_namespaced_custom_object
        return self._ask({_NOT_FOUND, _CONFLICT}, replace, name, lease)

    def _ask(self, expected: Set[int], ask: Callable[..., Document], *what: Any) -> Document | None:
        """Return what the cluster answers; None if it refuses with one of the `expected` codes."""
        place = (_GROUP, _VERSION, self._cluster.namespace, _PLURAL)
        with self._cluster.asking():
            try:
                return ask(*place, *what, _request_timeout=self._timeout_seconds)
            except kubernetes.client.ApiException as error:
                if error.status in expected:
                    return None
                raise
