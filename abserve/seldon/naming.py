"""The names Seldon's operator gives to what it makes of a SeldonDeployment.

::

    SeldonDeployment iris, predictor baseline, container iris
    ├── VirtualService  iris
    ├── Service         iris-baseline           what the gateway sends to
    ├── Service         iris-baseline-iris      the container's own
    └── Deployment      iris-baseline-0-iris

A name of more than 63 characters becomes ``seldon-`` and its MD5.
"""

import hashlib

from abserve.seldon.containers import Container
from abserve.seldon.resource import Predictor, SeldonDeployment

NO_ENGINE = "seldon.io/no-engine"
SERVICE_NAME = "seldon.io/svc-name"

LONGEST_NAME = 63


def shortened(name: str) -> str:
    """Return `name`, or its stand-in if it is too long for a Kubernetes name.

    Examples
    --------
    >>> shortened("iris-baseline")
    'iris-baseline'
    >>> shortened("a" * 64)
    'seldon-014842d480b571495a4a0363793f7367'
    """
    if len(name) <= LONGEST_NAME:
        return name
    return f"seldon-{hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()}"


def gateway_path(namespace: str, name: str) -> str:
    """Return the prefix under which the gateway serves a SeldonDeployment."""
    return f"/seldon/{namespace}/{name}/"


def infer_path(namespace: str, name: str, model: str) -> str:
    """Return the path under which the gateway takes a SeldonDeployment's inference requests."""
    return f"{gateway_path(namespace, name)}v2/models/{model}/infer"


def virtual_service_name(deployment: SeldonDeployment) -> str:
    return shortened(deployment.name)


def service_name(deployment: SeldonDeployment, predictor: Predictor) -> str:
    """Return the name of a predictor's Service; an annotation of the predictor may set it."""
    given = predictor.annotations.get(SERVICE_NAME)
    return shortened(f"{deployment.name}-{predictor.name}") if given is None else given


def container_service_name(
    deployment: SeldonDeployment, predictor: Predictor, container: Container
) -> str:
    return shortened(f"{deployment.name}-{predictor.name}-{container.name}")


def deployment_name(deployment: SeldonDeployment, predictor: Predictor, index: int = 0) -> str:
    """Return the name of the Deployment of ``componentSpecs[index]``."""
    pod = predictor.component_specs[index]
    last = pod.metadata.name or "-".join(each.name for each in pod.containers)
    return shortened(f"{deployment.name}-{predictor.name}-{index}-{last}")


def pod_labels(
    deployment: SeldonDeployment, predictor: Predictor, index: int = 0
) -> dict[str, str]:
    """Return the labels of the pods of ``componentSpecs[index]``.

    `deployment` and `predictor` come from `with_defaults`, which adds the label ``version``.
    """
    pod = predictor.component_specs[index]
    labels = {
        "seldon-deployment-id": shortened(deployment.name),
        "app": deployment_name(deployment, predictor, index),
        "fluentd": "true",
        **predictor.labels,
        **pod.metadata.labels,
        "app.kubernetes.io/managed-by": "seldon-core",
    }
    for container in pod.containers:
        if container.name == predictor.graph.name:
            own_service = container_service_name(deployment, predictor, container)
            labels[f"seldon-app-svc-{container.name}"] = own_service
            labels["seldon-app"] = service_name(deployment, predictor)
            labels["seldon.io/model"] = "true"
    if predictor.shadow:
        labels["seldon.io/shadow"] = "true"
    return labels
