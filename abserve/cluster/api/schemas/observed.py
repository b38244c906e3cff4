"""The kinds that only the cluster writes."""

from typing import Literal

from pydantic import Field

from abserve.cluster.api.schemas.base import ApiObject, Fields
from abserve.seldon.containers import (
    Bool,
    EnvironmentSet,
    EnvironmentVariable,
    FreeForm,
    Given,
    Int32,
    Int64,
    String,
)


class ContainerPort(Fields):
    """A port that a replica listens on, of the machine's own."""

    name: String
    """What it is for: http, grpc or metrics."""

    container_port: Int32
    """Its number."""

    protocol: String
    """TCP."""


class VolumeMount(Fields):
    """A folder that the container sees."""

    name: String
    """The volume."""

    mount_path: String
    """Where the folder is on Kubernetes; on one machine it is the replica's own."""

    read_only: Bool = False
    """Whether the container only reads it."""


class PodContainer(Fields):
    """A process of the replica."""

    name: String
    """Its name; that of the graph node, where it serves it."""

    image: Given[String] = None
    """The image that it stands for."""

    args: tuple[String, ...] = ()
    """What it is told."""

    env: tuple[EnvironmentVariable, ...] = ()
    """Its environment variables: those of the manifest, and those that Seldon sets."""

    env_from: tuple[EnvironmentSet, ...] = ()
    """Secrets and ConfigMaps whose keys become environment variables."""

    ports: tuple[ContainerPort, ...] = ()
    """The ports it listens on, once it has some."""

    volume_mounts: tuple[VolumeMount, ...] = ()
    """The folders it sees."""


class PodSpec(Fields):
    """The processes of the replica, one after the other."""

    init_containers: tuple[PodContainer, ...] = ()
    """What copies the version, before the server starts."""

    containers: tuple[PodContainer, ...]
    """The server of the model."""

    volumes: tuple[FreeForm, ...] = ()
    """The folder that the version is copied to."""

    node_name: Given[String] = None
    """This machine."""

    restart_policy: Given[String] = None
    """Always: a process that ends is started anew."""

    termination_grace_period_seconds: Given[Int64] = None
    """How long open requests may take to end once it is told to stop, in seconds."""


class PodCondition(Fields):
    """One aspect of how the replica is."""

    type: String
    """Which aspect. Ready is the one that counts."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    reason: Given[String] = None
    """Why, in one word."""

    message: Given[String] = None
    """Why, in a sentence."""

    last_probe_time: String | None = None
    """Empty."""

    last_transition_time: Given[String] = None
    """When it began to hold, or ceased to."""


class WaitingState(Fields):
    """It does not run yet, or not now."""

    reason: Given[String] = None
    """Why, in one word, such as CrashLoopBackOff."""

    message: Given[String] = None
    """Why, in a sentence."""


class RunningState(Fields):
    """It runs."""

    started_at: Given[String] = None
    """Since when."""


class TerminatedState(Fields):
    """It has ended."""

    exit_code: Int32
    """The code it ended with."""

    signal: Given[Int32] = None
    """The signal that ended it."""

    reason: Given[String] = None
    """How it ended, in one word."""

    message: Given[String] = None
    """What it said last."""

    started_at: Given[String] = None
    """When it was started."""

    finished_at: Given[String] = None
    """When it ended."""


class ContainerState(Fields):
    """What a process does. One of these is there."""

    waiting: Given[WaitingState] = None
    """It does not run."""

    running: Given[RunningState] = None
    """It does."""

    terminated: Given[TerminatedState] = None
    """It did."""


class ContainerStatus(Fields):
    """How one of its processes is."""

    name: String
    """The container's name."""

    ready: Bool
    """Whether it answers, or, of what copies the version, whether that is done."""

    started: Given[Bool] = None
    """Whether it has answered since it was started."""

    restart_count: Int32
    """How often it was started anew."""

    state: Given[ContainerState] = None
    """What it does now."""

    last_state: Given[ContainerState] = None
    """How the process before this one ended."""

    image: String = ""
    """The image that it stands for."""

    image_id: Given[String] = Field(default=None, alias="imageID")
    """Empty: no image is pulled."""

    container_id: Given[String] = Field(default=None, alias="containerID")
    """The number of the process."""


class IpAddress(Fields):
    """An address."""

    ip: String
    """127.0.0.1."""


class PodStatus(Fields):
    """The state of the replica and of its processes."""

    phase: Given[String] = None
    """Pending until its server was started first, then Running."""

    reason: Given[String] = None
    """Why it is so, in one word."""

    message: Given[String] = None
    """What it waits for, or why it failed."""

    conditions: tuple[PodCondition, ...] = ()
    """How it is, aspect by aspect."""

    init_container_statuses: tuple[ContainerStatus, ...] = ()
    """How the copy of the version is."""

    container_statuses: tuple[ContainerStatus, ...] = ()
    """How its server is."""

    start_time: Given[String] = None
    """When it was made."""

    qos_class: Given[String] = None
    """BestEffort: one machine reserves nothing."""

    host_ip: Given[String] = Field(default=None, alias="hostIP")
    """127.0.0.1."""

    host_ips: tuple[IpAddress, ...] = Field(default=(), alias="hostIPs")
    """The same, as a list."""

    pod_ip: Given[String] = Field(default=None, alias="podIP")
    """127.0.0.1: a replica's processes are those of this machine."""

    pod_ips: tuple[IpAddress, ...] = Field(default=(), alias="podIPs")
    """The same, as a list."""


class Pod(ApiObject):
    """A replica of a predictor: processes of this machine. Deleted, it is made anew."""

    spec: Given[PodSpec] = None
    """What it runs."""

    status: Given[PodStatus] = None
    """How it is."""


class ServicePort(Fields):
    """A port that is open."""

    name: String
    """What is spoken there."""

    port: Int32
    """Its number."""

    target_port: Int32
    """The same: nothing stands between it and the gateway."""

    protocol: String
    """TCP."""


class ServiceSpec(Fields):
    """How it is reached."""

    type: String
    """LoadBalancer: it can be reached from outside the cluster."""

    ports: tuple[ServicePort, ...]
    """The ports."""


class Ingress(Fields):
    """An address."""

    hostname: String
    """The name of this machine to itself."""


class LoadBalancerStatus(Fields):
    """Where it is reached from outside the cluster."""

    ingress: tuple[Ingress, ...]
    """The addresses."""


class ServiceStatus(Fields):
    """Where it is reached."""

    load_balancer: LoadBalancerStatus
    """Its addresses."""


class Service(ApiObject):
    """A way into the cluster: the gateway. It can only be read."""

    spec: ServiceSpec
    """What is open."""

    status: ServiceStatus
    """Where it is."""
