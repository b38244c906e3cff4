"""The fields of a SeldonDeployment's status, and what they mean.

`build_status` writes them as the operator does; ``kubectl explain sdep.status`` says what stands
here.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from abserve.seldon.containers import Given, Int32, Int64, SeldonValue, String


class DeploymentStatus(SeldonValue):
    """The pods of one predictor."""

    replicas: Given[Int32] = None
    """How many are wanted."""

    available_replicas: Given[Int32] = None
    """How many are ready."""

    description: Given[String] = None
    """Why not more are."""


class ServiceStatus(SeldonValue):
    """Where one predictor answers."""

    svc_name: Given[String] = None
    """The name of its Service on Kubernetes."""

    http_endpoint: Given[String] = None
    """Host and port for HTTP."""

    grpc_endpoint: Given[String] = None
    """Host and port for gRPC."""


class Address(SeldonValue):
    """Where the deployment is asked."""

    url: Given[String] = None
    """The gateway's URL for inference requests."""


class Condition(SeldonValue):
    """One aspect of how the deployment is."""

    type: String
    """Which aspect: DeploymentsReady, ServicesReady, istioVirtualServicesReady, or Ready, which is
    all of them."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    reason: Given[String] = None
    """Why, in a few words."""

    message: Given[String] = None
    """Why, in a sentence."""

    last_transition_time: Given[String] = None
    """When it began to hold, or ceased to."""


class SeldonDeploymentStatus(SeldonValue):
    """What is served now."""

    state: Given[String] = None
    """Available: everything wanted is served. Creating: not yet, and what was served before still
    is. Failed: a predictor cannot start."""

    description: Given[String] = None
    """What holds it up."""

    observed_generation: Given[Int64] = None
    """The generation that this status is about."""

    replicas: Given[Int32] = None
    """How many pods of the first predictor are ready."""

    address: Given[Address] = None
    """Where requests go."""

    conditions: tuple[Condition, ...] = ()
    """How it is, aspect by aspect."""

    deployment_status: Mapping[String, DeploymentStatus] = Field(default_factory=dict)
    """The pods of each predictor, by the name of their Kubernetes Deployment."""

    service_status: Mapping[String, ServiceStatus] = Field(default_factory=dict)
    """Where each predictor answers, by the name of its Service."""
