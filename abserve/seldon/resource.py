"""A SeldonDeployment as a frozen value.

::

    SeldonDeployment
    ├── metadata                        Kubernetes' own: free-form beyond what we read
    └── spec
        └── predictors[]                one version of the model each
            ├── graph                   a node: which model, from where
            └── componentSpecs[].spec   a PodSpec, free-form beyond what we read
                └── containers[]        the one named like the node serves it

What stands below a field is what ``kubectl explain sdep`` says of it: what it means, its unit, and
whether one machine passes it over.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from abserve.errors import ManifestError
from abserve.seldon.containers import (
    Bool,
    Container,
    EnvironmentVariable,
    FreeForm,
    Given,
    HpaSpec,
    Int32,
    KedaSpec,
    ObjectMetadata,
    PdbSpec,
    PodMetadata,
    PodSpec,
    SeldonValue,
    String,
    Strings,
)
from abserve.seldon.faults import InvalidManifestError
from abserve.seldon.reading import fault_of

API_VERSION = "machinelearning.seldon.io/v1"
KIND = "SeldonDeployment"


class SeldonPodSpec(SeldonValue):
    """One entry of `componentSpecs`: it becomes one Kubernetes Deployment."""

    metadata: PodMetadata = PodMetadata()
    """What Kubernetes keeps of the pods."""

    spec: Given[PodSpec] = None
    """What the pods run."""

    replicas: Given[Int32] = None
    """How many pods, 0 or more. Wins over the replicas of the predictor and of the deployment."""

    hpa_spec: Given[HpaSpec] = None
    """How Kubernetes scales the pods by their load. No effect on one machine."""

    keda_spec: Given[KedaSpec] = None
    """How KEDA scales the pods by events. No effect on one machine."""

    pdb_spec: Given[PdbSpec] = None
    """How many pods Kubernetes may take away at a time. No effect on one machine."""

    @property
    def containers(self) -> tuple[Container, ...]:
        return self.spec.containers if self.spec else ()


class Endpoint(SeldonValue):
    """Where a node answers; Seldon fills it in."""

    service_host: Annotated[Given[String], Field(alias="service_host")] = None
    """Its host."""

    service_port: Annotated[Given[Int32], Field(alias="service_port")] = None
    """Its port."""

    type: Given[String] = None
    """How it is asked: REST or GRPC."""

    http_port: Given[Int32] = None
    """Its port for HTTP."""

    grpc_port: Given[Int32] = None
    """Its port for gRPC."""


class Parameter(SeldonValue):
    """A parameter that the node's container gets in PREDICTIVE_UNIT_PARAMETERS."""

    name: String
    """Its name."""

    value: String
    """Its value, as text."""

    type: String
    """What the text stands for: INT, FLOAT, DOUBLE, STRING or BOOL."""


class Logger(SeldonValue):
    """Where Seldon's executor sends copies of what a node is asked and answers."""

    url: Given[String] = None
    """Who gets the copies."""

    mode: Given[String] = None
    """What is copied: all, request or response."""


class PredictiveUnit(SeldonValue):
    """A node of the graph; the container of the same name serves it."""

    name: String
    """Its name, which requests name as the model. The container of the same name serves it."""

    children: "tuple[PredictiveUnit, ...]" = ()
    """The nodes that get its answers. Refused on one machine: only Seldon's executor joins
    nodes."""

    type: Given[String] = None
    """What it is: MODEL, the default and all that one machine runs, ROUTER, COMBINER, TRANSFORMER
    or OUTPUT_TRANSFORMER."""

    implementation: Given[String] = None
    """A prepackaged server in place of a container of its own, such as SKLEARN_SERVER."""

    methods: tuple[String, ...] = ()
    """What Seldon's executor may ask of it, in place of what its type implies. No effect on one
    machine."""

    endpoint: Given[Endpoint] = None
    """Where it answers; Seldon fills it in. No effect on one machine."""

    parameters: tuple[Parameter, ...] = ()
    """What its container gets in PREDICTIVE_UNIT_PARAMETERS."""

    model_uri: Given[String] = None
    """The folder of the version to serve, such as s3://models/iris/v1. It is copied before the
    server starts."""

    service_account_name: Given[String] = None
    """The account that fetches the version. No effect on one machine."""

    env_secret_ref_name: Given[String] = None
    """The Secret with rclone's settings for the remote in `modelUri`, in the same namespace. The
    local cluster keeps one named model-repository in each."""

    storage_initializer_image: Given[String] = None
    """What copies the version in place of rclone. Refused on one machine."""

    logger: Given[Logger] = None
    """Where Seldon's executor sends copies of requests and responses. No effect on one machine."""


class Explainer(SeldonValue):
    """A server that explains a predictor's answers."""

    type: Given[String] = None
    """The method, such as AnchorTabular. Any is refused on one machine."""

    model_uri: Given[String] = None
    """The folder of the explainer to serve."""

    service_account_name: Given[String] = None
    """The account that fetches it."""

    container_spec: Given[FreeForm] = None
    """The container that serves it."""

    config: Strings = Field(default_factory=dict)
    """Settings of the method."""

    endpoint: Given[Endpoint] = None
    """Where it answers."""

    env_secret_ref_name: Given[String] = None
    """The Secret with rclone's settings for the remote in `modelUri`."""

    storage_initializer_image: Given[String] = None
    """What copies it in place of rclone."""

    replicas: Given[Int32] = None
    """How many pods."""

    init_parameters: Given[String] = None
    """Arguments of the method, as JSON text."""


class Ssl(SeldonValue):
    """The certificate of a predictor's servers."""

    cert_secret_name: Given[String] = None
    """The Secret with the certificate and its key."""


class OrchestratorSpec(SeldonValue):
    """How Seldon's executor is run, where there is one."""

    resources: Given[FreeForm] = None
    """What it may use."""

    env: tuple[EnvironmentVariable, ...] = ()
    """Its environment variables."""

    replicas: Given[Int32] = None
    """How many pods, where it runs in pods of its own."""


class Predictor(SeldonValue):
    """One version of the model: what it serves, and its share of the requests."""

    name: String
    """Its name, different from those of the other predictors: lower-case letters, digits and
    '-'."""

    graph: PredictiveUnit
    """What it serves."""

    component_specs: tuple[SeldonPodSpec, ...] = ()
    """The pods of its containers. One machine runs the container of the graph's node."""

    replicas: Given[Int32] = None
    """How many pods, 0 or more. Wins over the replicas of the deployment; 1 by default."""

    annotations: Strings = Field(default_factory=dict)
    """Settings of Seldon's, by name. seldon.io/no-engine: "true" leaves out its executor, and one
    machine requires it."""

    labels: Strings = Field(default_factory=dict)
    """Labels of its pods. `version` is the predictor's name by default."""

    engine_resources: Given[FreeForm] = None
    """What Seldon's old engine may use. No effect on one machine."""

    svc_orch_spec: Given[OrchestratorSpec] = None
    """How Seldon's executor is run. No effect on one machine, which has none."""

    traffic: Given[Int32] = None
    """Its weight: the share of the requests, in whole percent from 0 to 100. The weights of all
    predictors that are no shadows sum to 100. Of a shadow, the share of which it gets copies; 100
    by default."""

    explainer: Given[Explainer] = None
    """A server that explains its answers. Refused on one machine if it has a type."""

    shadow: Bool = False
    """Whether it gets copies of requests, and its answers are dropped."""

    ssl: Given[Ssl] = None
    """The certificate of its servers. No effect on one machine."""

    progress_deadline_seconds: Given[Int32] = None
    """How long Kubernetes waits for its pods before it calls them failed, in seconds. No effect on
    one machine, which says so at once."""

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
    """Versions of a model, and how they are asked."""

    name: Given[String] = None
    """Has no meaning any more; metadata.name names the deployment."""

    predictors: tuple[Predictor, ...]
    """The versions of the model that are served side by side, each with its weight."""

    oauth_key: Annotated[Given[String], Field(alias="oauth_key")] = None
    """Of Seldon's old gateway. No effect on one machine."""

    oauth_secret: Annotated[Given[String], Field(alias="oauth_secret")] = None
    """Of Seldon's old gateway. No effect on one machine."""

    annotations: Strings = Field(default_factory=dict)
    """Settings of Seldon's, by name."""

    protocol: Given[String] = None
    """How a model is asked: v2, also called kfserving, which is the only one on one machine,
    tensorflow, or seldon, the default."""

    transport: Given[String] = None
    """How requests arrive: rest, the default, or grpc, which one machine refuses: it serves both
    in any case."""

    replicas: Given[Int32] = None
    """How many pods each predictor has that does not say so itself, 0 or more; 1 by default."""

    server_type: Given[String] = None
    """Where requests come from: rpc, the default, or kafka, which one machine refuses."""


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
