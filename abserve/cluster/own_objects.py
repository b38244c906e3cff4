"""Objects that every cluster has: its namespaces, and the way to its gateway.

The gateway stands in a ConfigMap, where clients of any cluster look for it, and in a Service, where
``kubectl get services`` and ``kubectl cluster-info`` look.
"""

from urllib.parse import urlsplit

from abserve.cluster.api.kinds import CONFIG_MAP, NAMESPACE, OWN_NAMESPACES, SERVICE
from abserve.cluster.api.store import Document, Store
from abserve.errors import ClusterError


def make_own_objects(store: Store, gateway_url: str) -> None:
    """Make what is missing, and write anew what an earlier cluster may have left otherwise."""
    for name in OWN_NAMESPACES:
        if store.find(NAMESPACE, "", name) is None:
            store.create(NAMESPACE, _namespace(name))
    config_map = _gateway_config_map(gateway_url)
    metadata = config_map["metadata"]
    if store.find(CONFIG_MAP, metadata["namespace"], metadata["name"]) is None:
        store.create(CONFIG_MAP, config_map)
    else:
        store.update(CONFIG_MAP, config_map)
    store.create(SERVICE, gateway_service(gateway_url))


def gateway_service(url: str) -> Document:
    """Return the Service of the gateway at `url`.

    ``kubectl cluster-info`` prints the Services that are labelled so, and always with ``http://``.
    """
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise ClusterError(f"the gateway's URL is {url!r}; expected one with a host and a port")
    shown = {"kubernetes.io/cluster-service": "true"} if parts.scheme == "http" else {}
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.name,
        "metadata": {"name": "gateway", "namespace": "kube-system", "labels": shown},
        "spec": {
            "type": "LoadBalancer",
            "ports": [
                {
                    "name": parts.scheme,
                    "port": parts.port,
                    "targetPort": parts.port,
                    "protocol": "TCP",
                }
            ],
        },
        "status": {"loadBalancer": {"ingress": [{"hostname": parts.hostname}]}},
    }


def _namespace(name: str) -> Document:
    return {
        "apiVersion": NAMESPACE.api_version,
        "kind": NAMESPACE.name,
        "metadata": {"name": name},
        "status": {"phase": "Active"},
    }


def _gateway_config_map(url: str) -> Document:
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.name,
        "metadata": {"name": "abserve-gateway", "namespace": "kube-public"},
        "data": {"url": url},
    }
