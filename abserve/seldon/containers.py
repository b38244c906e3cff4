"""What a SeldonDeployment takes from Kubernetes: its pods, and how they scale, as values.

Kubernetes' objects are open: fields we do not read pass. Seldon's are closed: a misspelt one is
refused, because Kubernetes would drop it without a word. Nothing is coerced: ``traffic: "90"`` is
refused here as it is there. What stands below a field is what ``kubectl explain`` says of it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from abserve.schema import Value

T = TypeVar("T")


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise PydanticCustomError("null", "null")
    return value


def _check_int_or_string(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("int_or_string_type", "neither a whole number nor a string")
    return value


String = Annotated[str, Strict()]
Bool = Annotated[bool, Strict()]
Int32 = Annotated[
    int, Field(strict=True, ge=-(2**31), le=2**31 - 1, json_schema_extra={"format": "int32"})
]
Int64 = Annotated[
    int, Field(strict=True, ge=-(2**63), le=2**63 - 1, json_schema_extra={"format": "int64"})
]
IntOrString = Annotated[
    int | str,
    BeforeValidator(_check_int_or_string),
    WithJsonSchema({"x-kubernetes-int-or-string": True}),
]
Strings = Mapping[String, String]
FreeForm = Mapping[str, Any]
Given = Annotated[T | None, BeforeValidator(_refuse_null)]
"""A field that may be left out (None), but not written as null: Kubernetes refuses that."""


class SeldonValue(Value):
    """An object of Seldon's schema: unknown fields are refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, protected_namespaces=(), use_attribute_docstrings=True
    )


class KubernetesValue(SeldonValue):
    """An object of Kubernetes' schema: fields we do not read pass, in `model_extra`."""

    model_config = ConfigDict(extra="allow")


class KeyReference(KubernetesValue):
    """One key of a Secret or a ConfigMap."""

    name: String = ""
    """The Secret or ConfigMap, in the namespace of the SeldonDeployment."""

    key: String
    """The key whose value is taken."""

    optional: Bool = False
    """Whether the variable is left out when the object or its key is missing; otherwise the
    replica does not start."""


class EnvironmentSource(KubernetesValue):
    """Where the value of a variable comes from. One machine reads the two named here."""

    secret_key_ref: Given[KeyReference] = None
    """A key of a Secret."""

    config_map_key_ref: Given[KeyReference] = None
    """A key of a ConfigMap."""


class EnvironmentVariable(KubernetesValue):
    """An environment variable. One machine sets the server's ports, folders and names itself."""

    name: String
    """Its name."""

    value: Given[String] = None
    """Its value. $(NAME) stands for a variable before it, $$ for a dollar sign."""

    value_from: Given[EnvironmentSource] = None
    """Where to take the value from, in place of `value`."""


class ObjectReference(KubernetesValue):
    """A whole Secret or ConfigMap."""

    name: String = ""
    """The Secret or ConfigMap, in the namespace of the SeldonDeployment."""

    optional: Bool = False
    """Whether nothing is set when the object is missing; otherwise the replica does not start."""


class EnvironmentSet(KubernetesValue):
    """All keys of a Secret or a ConfigMap, as one variable each."""

    prefix: String = ""
    """What stands before the name of each key."""

    secret_ref: Given[ObjectReference] = None
    """The Secret whose keys are set."""

    config_map_ref: Given[ObjectReference] = None
    """The ConfigMap whose keys are set."""


class ContainerPort(KubernetesValue):
    """A port of the container. One machine gives each replica ports of its own."""

    name: Given[String] = None
    """Its name. Seldon adds http, grpc and metrics."""

    container_port: Int32
    """Its number."""


class Container(KubernetesValue):
    """A container. All of Kubernetes' fields may stand here; these are the ones read locally."""

    name: String
    """Its name; the container that serves a graph node is named like the node."""

    image: Given[String] = None
    """What it runs. One machine starts its own server where the image is abserve/runtimes, from
    any registry and in any version."""

    command: tuple[String, ...] = ()
    """What to run in place of the image's entry point. Refused on one machine."""

    args: tuple[String, ...] = ()
    """What to hand the command. Refused on one machine."""

    env: tuple[EnvironmentVariable, ...] = ()
    """Environment variables. They win over `envFrom`, and a later one over an earlier."""

    env_from: tuple[EnvironmentSet, ...] = ()
    """Secrets and ConfigMaps whose keys become environment variables."""

    ports: tuple[ContainerPort, ...] = ()
    """Ports besides those that Seldon adds."""


class PodSpec(KubernetesValue):
    """A pod. All of Kubernetes' fields may stand here; these are the ones read locally."""

    containers: tuple[Container, ...]
    """Its containers, one per graph node."""

    init_containers: tuple[Container, ...] = ()
    """Containers that run to their end before the others start. Refused on one machine."""

    volumes: tuple[FreeForm, ...] = ()
    """What may be mounted into its containers. One machine takes emptyDir only, and mounts
    nothing: a replica is a process that has the machine's disk."""

    termination_grace_period_seconds: Given[Int64] = None
    """How long open requests may take to end once the pod is told to stop, in seconds. 20 by
    default."""


class PodMetadata(KubernetesValue):
    """Metadata of the pods."""

    name: Given[String] = None
    """The name of the Kubernetes Deployment, in place of one that Seldon makes up."""

    labels: Strings = Field(default_factory=dict)
    """Labels of each pod, besides Seldon's own."""

    annotations: Strings = Field(default_factory=dict)
    """Annotations of each pod."""


class HpaSpec(SeldonValue):
    """How Kubernetes scales pods by their load."""

    min_replicas: Given[Int32] = None
    """Fewest replicas. 1 by default."""

    max_replicas: Int32
    """Most replicas."""

    metrics: tuple[FreeForm, ...] = ()
    """What to scale by, as autoscaling/v2beta1 writes it."""

    metricsv2: tuple[FreeForm, ...] = ()
    """What to scale by, as autoscaling/v2 writes it."""


class KedaSpec(SeldonValue):
    """How KEDA scales pods by events."""

    polling_interval: Given[Int32] = None
    """How often the triggers are asked, in seconds."""

    cooldown_period: Given[Int32] = None
    """How long after the last trigger the replicas go, in seconds."""

    idle_replica_count: Given[Int32] = None
    """Replicas while no trigger is active."""

    min_replica_count: Given[Int32] = None
    """Fewest replicas while a trigger is active."""

    max_replica_count: Given[Int32] = None
    """Most replicas."""

    advanced: Given[FreeForm] = None
    """Settings of the autoscaler that KEDA makes."""

    triggers: tuple[FreeForm, ...]
    """What to scale by."""

    fallback: Given[FreeForm] = None
    """How many replicas to run while the triggers do not answer."""


class PdbSpec(SeldonValue):
    """How many pods Kubernetes may take away at a time."""

    min_available: Given[IntOrString] = None
    """Pods that must stay: a number, or a percentage such as "50%"."""

    max_unavailable: Given[IntOrString] = None
    """Pods that may go: a number, or a percentage such as "50%"."""


class ObjectMetadata(KubernetesValue):
    """Kubernetes' metadata: free-form beyond what we read."""

    name: String
    namespace: Given[String] = None
    labels: Strings = Field(default_factory=dict)
    annotations: Strings = Field(default_factory=dict)
    uid: Given[String] = None
    generation: Given[Int64] = None
    resource_version: Given[String] = None
