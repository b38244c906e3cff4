"""What one cluster is given: the objects of all kustomizations applied to it, and what follows.

::

    SeldonDeployment ──operator──> Deployments, Services, pods with Seldon's labels
    ExternalSecret, Certificate ──their controllers──> Secrets
    Deployment, Job, CronJob, ... ──Kubernetes──> pods

What charts bring is not seen, but for the pods that `abserve.manifests.pods` knows: nothing here
fetches a chart. A namespace that holds no pod of ours is taken for a chart's.
"""

from collections.abc import Iterable, Iterator

from abserve.manifests.deployments import is_seldon_deployment, parsed
from abserve.manifests.documents import (
    Document,
    dig,
    kind_of,
    mapping,
    name_of,
    namespace_of,
)
from abserve.manifests.pods import Pod, gateway_account, pods, pods_of_clusters
from abserve.seldon import container_service_name, deployment_name, service_name

MADE_ELSEWHERE = "abserve.io/secrets-made-elsewhere"
"""An annotation of any object: Secrets of its namespace that somebody makes by hand."""

# What the local cluster makes in each namespace.
LOCAL_SECRETS = ("model-repository", "feedback-key")

_IN_EVERY_NAMESPACE = {
    ("ServiceAccount", "default"),
    ("ConfigMap", "kube-root-ca.crt"),
    # Istio's own, in every namespace of the mesh.
    ("ConfigMap", "istio-ca-root-cert"),
}
_USER_FACING_ROLES = ("cluster-admin", "admin", "edit", "view")
# What `flux bootstrap` makes before it reads this repository.
_BOOTSTRAP = {
    ("GitRepository", "flux-system"),
    ("Kustomization", "flux-system"),
    ("Secret", "flux-system"),
}
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "flux-system")


class Given:
    """All that a cluster is given.

    Parameters
    ----------
    documents : iterable of dict
        The objects of all kustomizations that are applied to it.
    local : bool
        Whether it is the local cluster, which makes some Secrets itself.
    """

    def __init__(self, documents: Iterable[Document], *, local: bool = False) -> None:
        self.documents = tuple(documents)
        self._local = local
        self.pods = (*pods_of_clusters(), *(pod for each in self.documents for pod in pods(each)))
        self._places: dict[tuple[str, str], set[str | None]] = {}
        self._keys: dict[tuple[str, str], list[tuple[str | None, set[str]]]] = {}
        for each in self.documents:
            for kind, name in _made(each):
                self._places.setdefault((kind, name), set()).add(namespace_of(each))
            account = gateway_account(each)
            if account is not None:
                namespace, name = account
                self._places.setdefault(("ServiceAccount", name), set()).add(namespace)
            if kind_of(each) in {"ConfigMap", "Secret"}:
                fields = ("data", "stringData", "binaryData")
                keys = {key for field in fields for key in mapping(each, field)}
                found = self._keys.setdefault((kind_of(each), name_of(each)), [])
                found.append((namespace_of(each), keys))

    def has(self, kind: str, name: str, namespace: str | None) -> bool:
        """Tell whether there is such an object; with no namespace, whether in any."""
        if (kind, name) in _IN_EVERY_NAMESPACE | _BOOTSTRAP:
            return True
        if kind == "ClusterRole" and (name in _USER_FACING_ROLES or name.startswith("system:")):
            return True
        if kind == "Secret" and self._local and name in LOCAL_SECRETS:
            return True
        return any(same(each, namespace) for each in self._places.get((kind, name), ()))

    def has_accounts(self, namespace: str | None) -> bool:
        """Tell whether ServiceAccounts of a namespace are known: one that is missing is an error.

        Where none is, a chart may make them.
        """
        return any(
            kind == "ServiceAccount" and namespace in places
            for (kind, _), places in self._places.items()
        )

    def lacks_key(self, kind: str, name: str, namespace: str | None, key: str) -> bool:
        """Tell whether a ConfigMap or Secret is here in full, and without this key."""
        found = [
            keys
            for where, keys in self._keys.get((kind, name), ())
            if same(where, namespace) and keys
        ]
        return bool(found) and not any(key in keys for keys in found)

    def has_namespace(self, name: str) -> bool:
        """Tell whether a namespace is made; where none is, somebody else makes them all."""
        made = {name_of(each) for each in self.documents if kind_of(each) == "Namespace"}
        return not made or name in made or name in _NAMESPACES

    def pods_in(self, namespaces: Iterable[str | None] | None) -> tuple[Pod, ...]:
        """Return the pods of some namespaces; with None, of all."""
        if namespaces is None:
            return self.pods
        wanted = tuple(namespaces)
        return tuple(
            each for each in self.pods if any(same(each.namespace, name) for name in wanted)
        )


def same(one: str | None, other: str | None) -> bool:
    """Tell whether two namespaces may be the same; who applies a file may name a missing one."""
    return one is None or other is None or one == other


def _made(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the kind and name of an object, and of those that a controller makes of it."""
    kind, name = kind_of(document), name_of(document)
    yield kind, name
    if kind == "ExternalSecret":
        yield "Secret", str(dig(document, "spec", "target", "name") or name)
    elif kind == "Certificate":
        yield "Secret", str(dig(document, "spec", "secretName"))
    elif is_seldon_deployment(document):
        yield from _made_by_seldon(document)
    for secret in str(dig(document, "metadata", "annotations", MADE_ELSEWHERE) or "").split(","):
        if secret.strip():
            yield "Secret", secret.strip()


def _made_by_seldon(document: Document) -> Iterator[tuple[str, str]]:
    deployment = parsed(document)
    if deployment is None:
        return
    for predictor in deployment.spec.predictors:
        yield "predictor", f"{deployment.metadata.name}/{predictor.name}"
        yield "Service", service_name(deployment, predictor)
        for index, component in enumerate(predictor.component_specs):
            yield "Deployment", deployment_name(deployment, predictor, index)
            for container in component.containers:
                yield "Service", container_service_name(deployment, predictor, container)
