"""Promotion: changes of a running SeldonDeployment through the Kubernetes API.

`kubernetes` speaks to the API, `status` reads who serves what and how well, `change` moves weights
and promotes. Nothing here knows whether the cluster is local.
"""

from abserve.promotion.change import promote, set_weights
from abserve.promotion.kubernetes import Kubernetes
from abserve.promotion.status import (
    DeploymentStatus,
    DeploymentSummary,
    PredictorStatus,
    gateway_of,
    list_deployments,
    read_status,
)

__all__ = [
    "DeploymentStatus",
    "DeploymentSummary",
    "Kubernetes",
    "PredictorStatus",
    "gateway_of",
    "list_deployments",
    "promote",
    "read_status",
    "set_weights",
]
