"""Objects that tests send and store."""

from typing import Any

from tests.abserve.seldon.documents import predictor

Document = dict[str, Any]


def seldon_deployment(name: str = "iris", namespace: str = "default", **metadata: Any) -> Document:
    """Return a SeldonDeployment of a baseline at 90 and a candidate at 10."""
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "protocol": "v2",
            "predictors": [
                predictor("baseline", "v1", traffic=90),
                predictor("candidate", "v2", traffic=10),
            ],
        },
    }


def secret(name: str = "key", namespace: str = "default", **data: str) -> Document:
    """Return a Secret with `data`, which has to be base64."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def config_map(name: str, namespace: str = "default", **metadata: Any) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": {"colour": "blue"},
    }


def namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def pod(name: str, namespace: str = "default") -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "status": {
            "phase": "Running",
            "reason": "Running",
            "message": "",
            "containerStatuses": [{"name": "iris", "ready": True, "restartCount": 2}],
        },
    }
