"""Changes written by server-side apply: the rollout controller's way of writing.

A JSON patch says what to change; what is sent is what should then be so::

    patch ──> applied to the object as it is ──> metadata.resourceVersion, spec.predictors ──> API

The cluster notes the field manager as who owns `spec.predictors`, which is atomic, so that a GitOps
tool that applies the rest of the object can leave them to it. Flux cannot: it overrides whatever
its manifest has. So the same write states an annotation by which Flux leaves the object alone, and
who gives the predictors back gives that up as well. The resource version makes sure that nothing is
overwritten that was not seen: a write that was decided on too long ago is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jsonpatch
import kubernetes.client

from abserve.errors import KubernetesError
from abserve.promotion.kubernetes import Document, Kubernetes, Report, say_nothing

FIELD_MANAGER = "abserve-rollout"
# Flux looks for it in the object as the cluster holds it, not only in its manifest.
LEFT_ALONE = {"kustomize.toolkit.fluxcd.io/ssa": "Ignore"}

_GROUP, _VERSION, _PLURAL = "machinelearning.seldon.io", "v1", "seldondeployments"
_APPLY = "application/apply-patch+yaml"
_CONFLICT = 409
# Whoever else writes the object writes its status, a few times for each change of the spec.
_TRIES = 10


class Applying:
    """SeldonDeployments of one namespace (`SeldonDeployments`), written by server-side apply.

    Parameters
    ----------
    cluster : Kubernetes
        The cluster and namespace.
    check : callable
        Called before each write; what it raises keeps that from being made.
    """

    def __init__(self, cluster: Kubernetes, check: Callable[[], None]) -> None:
        self._cluster = cluster
        self._check = check

    def get(self, name: str) -> Document:
        """Return a SeldonDeployment as the cluster holds it."""
        return self._cluster.get(name)

    def names(self) -> list[str]:
        """Return the names of the namespace's SeldonDeployments."""
        return self._cluster.names()

    def patch(self, name: str, operations: Sequence[Mapping[str, Any]]) -> Document:
        """Change the predictors of a SeldonDeployment; return it as it then is.

        Raises
        ------
        KubernetesError
            If it is not what the patch expects, because somebody changed it meanwhile; or if the
            cluster refuses or does not answer.
        """
        for _ in range(_TRIES):
            changed = self._try(name, operations)
            if changed is not None:
                return changed
        raise KubernetesError(
            f"SeldonDeployment {name!r} is written by somebody else all the time: {_TRIES} tries "
            "met another version of it each time; 'kubectl get sdep -o yaml --show-managed-fields' "
            "shows by whom"
        )

    def wait_until_available(
        self, name: str, generation: int, timeout_seconds: float, report: Report = say_nothing
    ) -> Document:
        """Wait until the cluster serves the SeldonDeployment as of `generation`; return it."""
        return self._cluster.wait_until_available(name, generation, timeout_seconds, report)

    def _try(self, name: str, operations: Sequence[Mapping[str, Any]]) -> Document | None:
        """Write once; None if somebody wrote since the object was read."""
        document = self._cluster.get(name)
        try:
            wanted = jsonpatch.apply_patch(document, list(operations))
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise KubernetesError(
                f"SeldonDeployment {name!r} is not as it was when the change was decided on: "
                f"somebody else changed it meanwhile ({error})"
            ) from error
        self._check()
        with self._cluster.asking():
            try:
                changed: Document = self._cluster.custom.patch_namespaced_custom_object(
                    _GROUP,
                    _VERSION,
                    self._cluster.namespace,
                    _PLURAL,
                    name,
                    {
                        "apiVersion": document["apiVersion"],
                        "kind": document["kind"],
                        "metadata": {
                            "name": name,
                            "namespace": self._cluster.namespace,
                            "annotations": LEFT_ALONE,
                            "resourceVersion": document["metadata"]["resourceVersion"],
                        },
                        "spec": {"predictors": wanted["spec"]["predictors"]},
                    },
                    field_manager=FIELD_MANAGER,
                    force=True,
                    _content_type=_APPLY,
                    _request_timeout=self._cluster.timeout_seconds,
                )
            except kubernetes.client.ApiException as error:
                if error.status == _CONFLICT:
                    return None
                raise
        return changed
