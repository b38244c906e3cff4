"""Promotion: changes of a running SeldonDeployment through the Kubernetes API.

`connection` finds the cluster, `kubernetes` speaks to its API, `status` reads who serves what and
how well, `change` moves weights, promotes and rolls back. What acts by itself and for long writes
through `applying`, as long as `leases` says that it is the one to act. Nothing here knows whether
the cluster is local.
"""

from abserve.promotion.change import SeldonDeployments, promote, roll_back, set_weights
from abserve.promotion.kubernetes import Kubernetes
from abserve.promotion.status import (
    DeploymentStatus,
    DeploymentSummary,
    PredictorStatus,
    gateway_of,
    list_deployments,
    read_status,
)
from abserve.promotion.used import Use, uses

__all__ = [
    "DeploymentStatus",
    "DeploymentSummary",
    "Kubernetes",
    "PredictorStatus",
    "SeldonDeployments",
    "Use",
    "gateway_of",
    "list_deployments",
    "promote",
    "read_status",
    "roll_back",
    "set_weights",
    "uses",
]
