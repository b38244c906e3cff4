"""A SeldonDeployment as a frozen value.

::

    SeldonDeployment
    ├── metadata                        Kubernetes' own: free-form beyond what we read
    └── spec
        └── predictors[]                one version of the model each
            ├── graph                   a node: which model, from where
            └── componentSpecs[].spec   a PodSpec, free-form beyond what we read
                └── containers[]        the one named like the node serves it

Seldon's fields are closed: a misspelt one is refused, because Kubernetes would drop it without a
word. Nothing is coerced: ``traffic: "90"`` is refused here as it is there.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from abserve.errors import ManifestError
from abserve.schema import Value
from abserve.seldon.faults import InvalidManifestError
from abserve.seldon.reading import fault_of

API_VERSION = "machinelearning.seldon.io/v1"
KIND = "SeldonDeployment"

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
Int32 = Annotated[int, Field(strict=True, ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
IntOrString = Annotated[int | str, BeforeValidator(_check_int_or_string)]
Strings = Mapping[String, String]
FreeForm = Mapping[String, Any]
Given = Annotated[T | None, BeforeValidator(_refuse_null)]
"""A field that may be left out (None), but not written as null: Kubernetes refuses that."""


class SeldonValue(Value):
    """An object of Seldon's schema: unknown fields are refused."""

    model_config = ConfigDict(alias_generator=to_camel, protected_namespaces=())


class KubernetesValue(SeldonValue):
    """An object of Kubernetes' schema: fields we do not read pass, in `model_extra`."""

    model_config = ConfigDict(extra="allow")


class KeyReference(KubernetesValue):
    """One key of a Secret or a ConfigMap."""

    name: String = ""
    key: String
    optional: Bool = False


class EnvironmentSource(KubernetesValue):
    secret_key_ref: Given[KeyReference] = None
    config_map_key_ref: Given[KeyReference] = None


class EnvironmentVariable(KubernetesValue):
    name: String
    value: Given[String] = None
    value_from: Given[EnvironmentSource] = None


class ObjectReference(KubernetesValue):
    """A whole Secret or ConfigMap."""

    name: String = ""
    optional: Bool = False


class EnvironmentSet(KubernetesValue):
    """All keys of a Secret or a ConfigMap, each with `prefix` before its name."""

    prefix: String = ""
    secret_ref: Given[ObjectReference] = None
    config_map_ref: Given[ObjectReference] = None


class ContainerPort(KubernetesValue):
    name: Given[String] = None
    container_port: Int32


class Container(KubernetesValue):
    name: String
    image: Given[String] = None
    command: tuple[String, ...] = ()
    args: tuple[String, ...] = ()
    env: tuple[EnvironmentVariable, ...] = ()
    env_from: tuple[EnvironmentSet, ...] = ()
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(KubernetesValue):
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[FreeForm, ...] = ()
    termination_grace_period_seconds: Given[Int64] = None


class PodMetadata(KubernetesValue):
    name: Given[String] = None
    labels: Strings = Field(default_factory=dict)
    annotations: Strings = Field(default_factory=dict)


class HpaSpec(SeldonValue):
    min_replicas: Given[Int32] = None
    max_replicas: Int32
    metrics: tuple[FreeForm, ...] = ()
    metricsv2: tuple[FreeForm, ...] = ()


class KedaSpec(SeldonValue):
    polling_interval: Given[Int32] = None
    cooldown_period: Given[Int32] = None
    idle_replica_count: Given[Int32] = None
    min_replica_count: Given[Int32] = None
    max_replica_count: Given[Int32] = None
    advanced: Given[FreeForm] = None
    triggers: tuple[FreeForm, ...]
    fallback: Given[FreeForm] = None


class PdbSpec(SeldonValue):
    min_available: Given[IntOrString] = None
    max_unavailable: Given[IntOrString] = None


class SeldonPodSpec(SeldonValue):
    """One entry of `componentSpecs`: it becomes one Kubernetes Deployment."""

    metadata: PodMetadata = PodMetadata()
    spec: Given[PodSpec] = None
    replicas: Given[Int32] = None
    hpa_spec: Given[HpaSpec] = None
    keda_spec: Given[KedaSpec] = None
    pdb_spec: Given[PdbSpec] = None

    @property
    def containers(self) -> tuple[Container, ...]:
        return self.spec.containers if self.spec else ()


class Endpoint(SeldonValue):
    service_host: Annotated[Given[String], Field(alias="service_host")] = None
    service_port: Annotated[Given[Int32], Field(alias="service_port")] = None
    type: Given[String] = None
    http_port: Given[Int32] = None
    grpc_port: Given[Int32] = None


class Parameter(SeldonValue):
    name: String
    value: String
    type: String


class Logger(SeldonValue):
    url: Given[String] = None
    mode: Given[String] = None


class PredictiveUnit(SeldonValue):
    """A node of the graph; the container of the same name serves it."""

    name: String
    children: "tuple[PredictiveUnit, ...]" = ()
    type: Given[String] = None
    implementation: Given[String] = None
    methods: tuple[String, ...] = ()
    endpoint: Given[Endpoint] = None
    parameters: tuple[Parameter, ...] = ()
    model_uri: Given[String] = None
    service_account_name: Given[String] = None
    env_secret_ref_name: Given[String] = None
    storage_initializer_image: Given[String] = None
    logger: Given[Logger] = None


class Explainer(SeldonValue):
    type: Given[String] = None
    model_uri: Given[String] = None
    service_account_name: Given[String] = None
    container_spec: Given[FreeForm] = None
    config: Strings = Field(default_factory=dict)
    endpoint: Given[Endpoint] = None
    env_secret_ref_name: Given[String] = None
    storage_initializer_image: Given[String] = None
    replicas: Given[Int32] = None
    init_parameters: Given[String] = None


class Ssl(SeldonValue):
    cert_secret_name: Given[String] = None


class OrchestratorSpec(SeldonValue):
    """How Seldon's executor is run, where there is one."""

    resources: Given[FreeForm] = None
    env: tuple[EnvironmentVariable, ...] = ()
    replicas: Given[Int32] = None


class Predictor(SeldonValue):
    """One version of the model: what it serves, and its share of the requests."""

    name: String
    graph: PredictiveUnit
    component_specs: tuple[SeldonPodSpec, ...] = ()
    replicas: Given[Int32] = None
    annotations: Strings = Field(default_factory=dict)
    labels: Strings = Field(default_factory=dict)
    engine_resources: Given[FreeForm] = None
    svc_orch_spec: Given[OrchestratorSpec] = None
    traffic: Given[Int32] = None
    explainer: Given[Explainer] = None
    shadow: Bool = False
    ssl: Given[Ssl] = None
    progress_deadline_seconds: Given[Int32] = None

    @property
    def containers(self) -> tuple[Container, ...]:
        """All containers of the predictor's pods."""
        return tuple(each for pod in self.component_specs for each in pod.containers)

    @property
    def model_container(self) -> Container:
        """The container that serves the graph's node.

        Raises
        ------
        ManifestError
            If no container bears the node's name; `admit` refuses such a predictor.
        """
        for container in self.containers:
            if container.name == self.graph.name:
                return container
        raise ManifestError(
            f"predictor {self.name!r} has no container named like its graph node, "
            f"{self.graph.name!r}; rename one of them"
        )


class SeldonDeploymentSpec(SeldonValue):
    name: Given[String] = None
    predictors: tuple[Predictor, ...]
    oauth_key: Annotated[Given[String], Field(alias="oauth_key")] = None
    oauth_secret: Annotated[Given[String], Field(alias="oauth_secret")] = None
    annotations: Strings = Field(default_factory=dict)
    protocol: Given[String] = None
    transport: Given[String] = None
    replicas: Given[Int32] = None
    server_type: Given[String] = None


class ObjectMetadata(KubernetesValue):
    name: String
    namespace: Given[String] = None
    labels: Strings = Field(default_factory=dict)
    annotations: Strings = Field(default_factory=dict)
    uid: Given[String] = None
    generation: Given[Int64] = None
    resource_version: Given[String] = None


class SeldonDeployment(SeldonValue):
    """The resource, as `parse` reads it."""

    api_version: Literal["machinelearning.seldon.io/v1"]
    kind: Literal["SeldonDeployment"]
    metadata: ObjectMetadata
    spec: SeldonDeploymentSpec
    status: FreeForm = Field(default_factory=dict)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "SeldonDeployment":
        """Read the resource from its JSON form.

        Raises
        ------
        InvalidManifestError
            If a field is missing, unknown or of the wrong type. It carries all such faults.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise InvalidManifestError(fault_of(each, cls) for each in details) from None

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The namespace; ``default`` where a file names none."""
        return self.metadata.namespace or "default"

    @property
    def model(self) -> str:
        """The model's name: that of the first graph node, which a request names."""
        return self.spec.predictors[0].graph.name

    @property
    def variants(self) -> tuple[Predictor, ...]:
        """The predictors whose responses reach a client: all but shadows."""
        return tuple(each for each in self.spec.predictors if not each.shadow)

    @property
    def shadow(self) -> Predictor | None:
        return next((each for each in self.spec.predictors if each.shadow), None)

    def predictor(self, name: str) -> Predictor:
        """Return the predictor of this name.

        Raises
        ------
        ManifestError
            If there is none.
        """
        for predictor in self.spec.predictors:
            if predictor.name == name:
                return predictor
        known = ", ".join(each.name for each in self.spec.predictors)
        raise ManifestError(
            f"SeldonDeployment {self.name!r} has no predictor {name!r}; expected one of {known}"
        )

    def nodes(self) -> Iterator[tuple[str, Predictor, PredictiveUnit]]:
        """Yield every graph node with its field path and its predictor, parents first."""
        for index, predictor in enumerate(self.spec.predictors):
            for field, node in _nodes_below(f"spec.predictors[{index}].graph", predictor.graph):
                yield field, predictor, node


def _nodes_below(field: str, node: PredictiveUnit) -> Iterator[tuple[str, PredictiveUnit]]:
    yield field, node
    for index, child in enumerate(node.children):
        yield from _nodes_below(f"{field}.children[{index}]", child)
