"""Pods and events as the Kubernetes API sends them: whole documents, for those who show them.

They are not made into the client library's objects, which takes longer than to ask for them.
"""

import json
from collections.abc import Callable
from typing import Any

from abserve.promotion.kubernetes import Document, Kubernetes


def pod_documents(cluster: Kubernetes) -> list[Document]:
    """Return the pods of all SeldonDeployments of the namespace.

    Raises
    ------
    KubernetesError
        If the cluster refuses or does not answer.
    """
    return _items(cluster, cluster.core.list_namespaced_pod, label_selector="seldon-deployment-id")


def event_documents(cluster: Kubernetes) -> list[Document]:
    """Return the events of the namespace.

    Raises
    ------
    KubernetesError
        If the cluster refuses or does not answer.
    """
    return _items(cluster, cluster.core.list_namespaced_event)


def _items(cluster: Kubernetes, ask: Callable[..., Any], **options: str) -> list[Document]:
    with cluster.asking():
        answer = ask(
            cluster.namespace,
            **options,
            _preload_content=False,
            _request_timeout=cluster.timeout_seconds,
        )
        body: bytes = answer.data
    items: list[Document] = json.loads(body)["items"]
    return items
