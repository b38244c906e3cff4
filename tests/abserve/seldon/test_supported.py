import pytest

from abserve.seldon import InvalidManifestError, supported
from tests.abserve.seldon.documents import (
    Document,
    document,
    parsed,
    predictor,
    prepackaged,
    with_container,
    with_node,
    with_pod,
)

POD = "spec.predictors[0].componentSpecs[0].spec"


def refusal(value: Document) -> tuple[str, str]:
    with pytest.raises(InvalidManifestError) as caught:
        supported(parsed(value))
    (fault,) = caught.value.faults
    return fault.field, fault.message


def test_a_plain_split_is_supported_without_a_warning() -> None:
    assert supported(parsed()) == ()


def test_kfserving_is_another_name_of_v2() -> None:
    assert supported(parsed(document(protocol="kfserving"))) == ()


@pytest.mark.parametrize("protocol", ["seldon", "tensorflow", ""])
def test_only_the_v2_protocol_is_served(protocol: str) -> None:
    assert refusal(document(protocol=protocol))[0] == "spec.protocol"


def test_grpc_is_not_routed() -> None:
    assert refusal(document(transport="grpc"))[0] == "spec.transport"
    assert refusal(with_node(endpoint={"type": "GRPC"}))[0] == (
        "spec.predictors[0].graph.endpoint.type"
    )


def test_there_is_no_kafka() -> None:
    assert refusal(document(serverType="kafka"))[0] == "spec.serverType"
    assert supported(parsed(document(serverType="rpc"))) == ()


@pytest.mark.parametrize("annotations", [{}, {"seldon.io/no-engine": "false"}])
def test_there_is_no_executor(annotations: dict[str, str]) -> None:
    where, message = refusal(document(predictor("a", "v1", annotations=annotations)))
    assert where == "spec.predictors[0].annotations[seldon.io/no-engine]"
    assert "no Seldon executor on one machine" in message


def test_the_annotation_may_be_written_as_the_operator_reads_it() -> None:
    only = predictor("a", "v1", annotations={"seldon.io/no-engine": "True"})
    assert supported(parsed(document(only))) == ()


def test_a_graph_of_several_nodes_is_refused() -> None:
    assert refusal(with_node(children=[{"name": "next"}]))[0] == (
        "spec.predictors[0].graph.children"
    )


def test_a_node_that_is_no_model_is_refused() -> None:
    assert refusal(with_node(type="ROUTER"))[0] == "spec.predictors[0].graph.type"
    assert supported(parsed(with_node(type="MODEL"))) == ()


def test_scikit_learns_server_runs_and_the_code_it_may_run_is_warned_of() -> None:
    (warning,) = supported(parsed(prepackaged()))
    assert warning.startswith("SKLEARN_SERVER loads s3://models/iris/v1 with joblib, which runs")


@pytest.mark.parametrize(
    "image", ["seldonio/mlserver:1.7.1-sklearn", "mirror.example/seldonio/mlserver:1.3.5"]
)
def test_scikit_learns_server_may_name_the_image_it_is_in(image: str) -> None:
    own = {"spec": {"containers": [{"name": "iris", "image": image}]}}
    assert len(supported(parsed(prepackaged(componentSpecs=[own])))) == 1


def test_scikit_learns_server_is_not_in_our_image() -> None:
    where, message = refusal(with_node(implementation="SKLEARN_SERVER"))
    assert where == f"{POD}.containers[0].image"
    assert "'abserve/runtimes:0.1.0' for SKLEARN_SERVER, expected seldonio/mlserver" in message


def test_scikit_learns_server_needs_no_executor_but_the_annotation() -> None:
    where, _ = refusal(prepackaged(annotations={}))
    assert where == "spec.predictors[0].annotations[seldon.io/no-engine]"


@pytest.mark.parametrize("server", ["XGBOOST_SERVER", "TRITON_SERVER", "MY_SERVER"])
def test_another_prepackaged_server_is_refused_with_what_to_use_instead(server: str) -> None:
    where, message = refusal(prepackaged(server))
    assert where == "spec.predictors[0].graph.implementation"
    assert message.startswith(f"found {server!r}, expected SKLEARN_SERVER")
    assert "abserve/runtimes" in message


def test_what_is_part_of_the_executor_is_refused() -> None:
    where, message = refusal(prepackaged("RANDOM_ABTEST"))
    assert where == "spec.predictors[0].graph.implementation"
    assert "part of Seldon's executor" in message


def test_an_empty_implementation_is_none_and_needs_a_container() -> None:
    assert supported(parsed(with_node(implementation=""))) == ()
    where, message = refusal(prepackaged(""))
    assert where == "spec.predictors[0].graph.implementation"
    assert "no container named 'iris'" in message


def test_a_model_must_be_named() -> None:
    only = predictor("a", "v1")
    del only["graph"]["modelUri"]
    assert refusal(document(only))[0] == "spec.predictors[0].graph.modelUri"


def test_a_model_on_a_volume_claim_is_refused() -> None:
    assert refusal(with_node(modelUri="pvc://claim/iris"))[0] == (
        "spec.predictors[0].graph.modelUri"
    )


@pytest.mark.parametrize(
    "uri", ["/srv/models/iris/v1", ":sftp,ssh='touch x':/v1", "s3,env_auth=true:models/iris/v1"]
)
def test_a_model_lies_on_a_named_remote(uri: str) -> None:
    where, message = refusal(with_node(modelUri=uri))
    assert where == "spec.predictors[0].graph.modelUri"
    assert "expected <remote>://<bucket>/<path>" in message


def test_another_storage_initializer_is_refused() -> None:
    assert refusal(with_node(storageInitializerImage="mine:1"))[0] == (
        "spec.predictors[0].graph.storageInitializerImage"
    )


def test_an_explainer_is_refused_and_an_empty_one_is_none() -> None:
    only = predictor("a", "v1", explainer={"type": "KernelShap"})
    assert refusal(document(only))[0] == "spec.predictors[0].explainer"
    assert supported(parsed(document(predictor("a", "v1", explainer={})))) == ()


@pytest.mark.parametrize(
    "image",
    [
        "abserve/runtimes",
        "abserve/runtimes:0.1.0",
        "ghcr.io/acme/abserve/runtimes:0.1.0",
        "localhost:5000/abserve/runtimes",
        "localhost:5000/abserve/runtimes:0.1.0@sha256:" + "a" * 64,
        "abserve/runtimes@sha256:" + "a" * 64,
    ],
)
def test_our_image_runs_from_any_registry_at_any_version(image: str) -> None:
    assert supported(parsed(with_container(image=image))) == ()


@pytest.mark.parametrize(
    "image",
    ["seldonio/mlserver:1.7.1", "abserve/runtimes/extra", "runtimes", "my-abserve/runtimes"],
)
def test_another_image_is_refused_with_the_one_that_runs(image: str) -> None:
    where, message = refusal(with_container(image=image))
    assert where == f"{POD}.containers[0].image"
    assert message.startswith(f"found {image!r}, expected abserve/runtimes")


@pytest.mark.parametrize(
    ("field", "value"), [("command", ["sh"]), ("args", ["-c"]), ("workingDir", "/opt")]
)
def test_a_server_started_in_another_way_is_refused(field: str, value: object) -> None:
    assert refusal(with_container(**{field: value}))[0] == f"{POD}.containers[0].{field}"


def test_a_second_container_is_refused() -> None:
    ours = {"name": "iris", "image": "abserve/runtimes:0.1.0"}
    value = with_pod(containers=[ours, {"name": "proxy", "image": "envoy"}])
    where, message = refusal(value)
    assert where == f"{POD}.containers[1]"
    assert "'proxy'" in message


def test_an_init_container_is_refused() -> None:
    value = with_pod(initContainers=[{"name": "first", "image": "busybox"}])
    assert refusal(value)[0] == f"{POD}.initContainers"


@pytest.mark.parametrize("volume", [{"emptyDir": {}}, {}])
def test_an_empty_volume_is_a_folder_the_process_has_anyway(volume: dict) -> None:
    value = with_pod(volumes=[{"name": "tmp", **volume}])
    assert supported(parsed(value)) == ()


def test_a_volume_with_contents_is_refused() -> None:
    value = with_pod(volumes=[{"name": "settings", "configMap": {"name": "settings"}}])
    where, message = refusal(value)
    assert where == f"{POD}.volumes[0]"
    assert "configMap" in message


def test_a_variable_only_a_pod_has_is_refused() -> None:
    source = {"fieldRef": {"fieldPath": "status.podIP"}}
    value = with_container(env=[{"name": "IP", "valueFrom": source}])
    where, message = refusal(value)
    assert where == f"{POD}.containers[0].env[0].valueFrom"
    assert "found fieldRef" in message


@pytest.mark.parametrize("name", ["Iris", "iris.v1", "1iris", "iris-"])
def test_a_name_no_service_can_have_is_refused(name: str) -> None:
    value = document()
    value["metadata"]["name"] = name
    assert refusal(value)[0] == "metadata.name"


def test_a_predictor_name_no_service_can_have_is_refused() -> None:
    assert refusal(document(predictor("base_line", "v1")))[0] == "spec.predictors[0].name"


def test_weights_the_gateway_cannot_have_are_refused() -> None:
    value = document(predictor("a", "v1", traffic=150))
    assert refusal(value)[0] == "spec.predictors[0].traffic"


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (document(replicas=-1), "spec.replicas"),
        (document(predictor("a", "v1", replicas=-1)), "spec.predictors[0].replicas"),
    ],
)
def test_fewer_replicas_than_none_are_refused(value: Document, where: str) -> None:
    assert refusal(value)[0] == where


def test_fewer_pods_than_none_are_refused() -> None:
    only = predictor("a", "v1")
    only["componentSpecs"][0]["replicas"] = -1
    assert refusal(document(only))[0] == "spec.predictors[0].componentSpecs[0].replicas"


def test_what_has_no_effect_is_named_once_for_all_predictors() -> None:
    value = document()
    for each in value["spec"]["predictors"]:
        each["componentSpecs"][0]["spec"] |= {"affinity": {"podAffinity": {}}}
        each["componentSpecs"][0]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": 1}}
    assert supported(parsed(value)) == (
        "no effect on one machine: spec.predictors[].componentSpecs[].spec.affinity, "
        "spec.predictors[].componentSpecs[].spec.containers[].resources",
    )


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (document(oauth_key="k"), "spec.oauth_key"),
        (
            document(annotations={"seldon.io/rest-timeout": "2"}),
            "spec.annotations[seldon.io/rest-timeout]",
        ),
        (
            document(predictor("a", "v1", svcOrchSpec={"replicas": 2})),
            "spec.predictors[].svcOrchSpec",
        ),
        (with_node(logger={"mode": "all"}), "spec.predictors[].graph.logger"),
        (with_node(serviceAccountName="s"), "spec.predictors[].graph.serviceAccountName"),
        (
            with_container(env=[{"name": "MLSERVER_HTTP_PORT", "value": "9000"}]),
            "spec.predictors[].componentSpecs[].spec.containers[].env[] (MLSERVER_HTTP_PORT)",
        ),
        (
            with_container(readinessProbe={"httpGet": {"path": "/ready"}}),
            "spec.predictors[].componentSpecs[].spec.containers[].readinessProbe",
        ),
        (
            with_pod(tolerations=[{"operator": "Exists"}]),
            "spec.predictors[].componentSpecs[].spec.tolerations",
        ),
    ],
)
def test_nothing_is_ignored_in_silence(value: Document, named: str) -> None:
    assert supported(parsed(value)) == (f"no effect on one machine: {named}",)


def test_an_annotation_of_the_predictor_without_effect_is_named() -> None:
    annotations = {"seldon.io/no-engine": "true", "seldon.io/headless-svc": "true", "team": "a"}
    assert supported(parsed(document(predictor("a", "v1", annotations=annotations)))) == (
        "no effect on one machine: spec.predictors[].annotations[seldon.io/headless-svc]",
    )


def test_an_annotation_of_the_resource_without_effect_is_named() -> None:
    value = document()
    value["metadata"]["annotations"] = {"seldon.io/rest-timeout": "1", "team": "a"}
    assert supported(parsed(value)) == (
        "no effect on one machine: metadata.annotations[seldon.io/rest-timeout]",
    )


def test_a_health_probe_asks_what_is_asked_anyway() -> None:
    probe = {"httpGet": {"path": "/v2/health/ready", "port": "http"}}
    assert supported(parsed(with_container(readinessProbe=probe))) == ()


def test_the_model_mount_may_be_named_as_on_kubernetes() -> None:
    value = with_container(env=[{"name": "MLSERVER_MODELS_DIR", "value": "/mnt/models"}])
    assert supported(parsed(value)) == ()


@pytest.mark.parametrize("uri", ["/mnt/models", "/mnt/models/model.joblib"])
def test_a_place_in_the_mount_is_the_place_in_the_copy(uri: str) -> None:
    value = with_container(env=[{"name": "MLSERVER_MODEL_URI", "value": uri}])
    assert supported(parsed(value)) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLSERVER_MODEL_URI", "/opt/models"),
        ("MLSERVER_MODEL_URI", "/mnt/models/../other"),
        ("MLSERVER_MODELS_DIR", "/mnt/models/iris"),
        ("MLSERVER_HOST", "0.0.0.0"),
        ("mlserver_http_port", "9000"),
    ],
)
def test_what_the_local_cluster_decides_itself_is_warned_of(name: str, value: str) -> None:
    (warning,) = supported(parsed(with_container(env=[{"name": name, "value": value}])))
    assert warning.endswith(f"env[] ({name})")


def test_autoscaling_is_warned_of() -> None:
    only = predictor("a", "v1")
    only["componentSpecs"][0] |= {"hpaSpec": {"maxReplicas": 3}, "pdbSpec": {"minAvailable": 1}}
    assert supported(parsed(document(only))) == (
        "nothing scales on one machine, replicas stay as given: "
        "spec.predictors[].componentSpecs[].hpaSpec, spec.predictors[].componentSpecs[].pdbSpec",
    )


def test_variants_that_serve_other_names_are_warned_of() -> None:
    other = predictor("b", "v2", traffic=10)
    other["graph"]["name"] = "iris2"
    other["componentSpecs"][0]["spec"]["containers"][0]["name"] = "iris2"
    (warning,) = supported(parsed(document(predictor("a", "v1", traffic=90), other)))
    assert warning.startswith("graph nodes are named iris, iris2")
