"""The gateway as a Service, where ``kubectl get services`` and ``kubectl cluster-info`` look."""

from urllib.parse import urlsplit

from abserve.cluster.api.kinds import SERVICE
from abserve.cluster.api.store import Document
from abserve.errors import ClusterError


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
