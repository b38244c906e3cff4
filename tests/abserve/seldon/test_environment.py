import json
from pathlib import Path

import pytest

from abserve.errors import ManifestError
from abserve.seldon import (
    Container,
    Ports,
    container_environment,
    resolve_environment,
    with_defaults,
)
from tests.abserve.seldon.documents import Document, parsed, prepackaged, with_container, with_node

PORTS = Ports(http=9000, grpc=9500, metrics=6000)
SECRETS = {"feedback-key": {"key": "s3cret", "id": "k-1"}}
CONFIG_MAPS = {"limits": {"ROWS": "100"}}


def container(**fields: object) -> Container:
    return parsed(with_container(**fields)).spec.predictors[0].model_container


def resolved(**fields: object) -> dict[str, str]:
    return resolve_environment(container(**fields), SECRETS, CONFIG_MAPS)


def test_a_replica_gets_what_the_operator_sets() -> None:
    deployment = with_defaults(parsed())
    folder = Path("/pods/iris-0/model")
    assert container_environment(deployment, deployment.spec.predictors[1], PORTS, folder) == {
        "MLSERVER_HTTP_PORT": "9000",
        "MLSERVER_GRPC_PORT": "9500",
        "MLSERVER_METRICS_PORT": "6000",
        "MLSERVER_METRICS_ENDPOINT": "/prometheus",
        "MLSERVER_MODELS_DIR": "/pods/iris-0/model",
        "MLSERVER_MODEL_NAME": "iris",
        "MLSERVER_MODEL_URI": "/pods/iris-0/model",
        "PREDICTIVE_UNIT_ID": "iris",
        "PREDICTIVE_UNIT_IMAGE": "abserve/runtimes:0.1.0",
        "PREDICTIVE_UNIT_SERVICE_PORT": "9000",
        "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "9000",
        "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": "9500",
        "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": "6000",
        "PREDICTIVE_UNIT_METRICS_ENDPOINT": "/prometheus",
        "PREDICTOR_ID": "candidate",
        "PREDICTOR_LABELS": '{"version":"candidate"}',
        "SELDON_DEPLOYMENT_ID": "iris",
        "SELDON_EXECUTOR_ENABLED": "true",
    }


def test_a_node_without_a_model_sets_no_model_uri() -> None:
    value = with_node()
    del value["spec"]["predictors"][0]["graph"]["modelUri"]
    deployment = parsed(value)
    variables = container_environment(deployment, deployment.spec.predictors[0], PORTS, "/m")
    assert "MLSERVER_MODEL_URI" not in variables


def test_parameters_of_the_node_arrive_as_json() -> None:
    parameters = [{"name": "top_k", "value": "3", "type": "INT"}]
    deployment = parsed(with_node(parameters=parameters))
    variables = container_environment(deployment, deployment.spec.predictors[0], PORTS, "/m")
    assert variables["PREDICTIVE_UNIT_PARAMETERS"] == '[{"name":"top_k","type":"INT","value":"3"}]'


def test_parameters_that_the_user_sets_stay() -> None:
    value = with_container(env=[{"name": "PREDICTIVE_UNIT_PARAMETERS", "value": "[]"}])
    value["spec"]["predictors"][0]["graph"]["parameters"] = [
        {"name": "top_k", "value": "3", "type": "INT"}
    ]
    assert environment(value)["PREDICTIVE_UNIT_PARAMETERS"] == "[]"


def environment(value: Document) -> dict[str, str]:
    """Return the environment of the lone predictor's server."""
    deployment = with_defaults(parsed(value))
    only = deployment.spec.predictors[0]
    users = resolve_environment(only.model_container, SECRETS, CONFIG_MAPS)
    return users | container_environment(deployment, only, PORTS, "/m")


def test_a_prepackaged_server_is_told_what_to_load_and_how() -> None:
    variables = environment(prepackaged())
    assert variables["MLSERVER_MODEL_IMPLEMENTATION"] == "mlserver_sklearn.SKLearnModel"
    assert variables["MLSERVER_MODEL_NAME"] == "iris"
    assert variables["MLSERVER_MODEL_VERSION"] == "v1"
    assert variables["MLSERVER_MODEL_URI"] == "/m"
    assert json.loads(variables["TEMPO_RUNTIME_OPTIONS"])["k8s_options"]["namespace"] == "shop"


def test_a_container_of_ours_is_told_neither_runtime_nor_version() -> None:
    assert (
        not {"MLSERVER_MODEL_IMPLEMENTATION", "MLSERVER_MODEL_VERSION"}
        & environment(with_node()).keys()
    )


def test_what_the_user_tells_a_prepackaged_server_comes_first() -> None:
    env = [
        {"name": "MLSERVER_MODEL_VERSION", "value": "v7"},
        {"name": "MLSERVER_MODEL_URI", "value": "/mnt/models/model.pkl"},
        {"name": "MLSERVER_MODEL_NAME", "value": "mine"},
    ]
    pods = [{"spec": {"containers": [{"name": "iris", "env": env}]}}]
    variables = environment(prepackaged(componentSpecs=pods))
    assert variables["MLSERVER_MODEL_VERSION"] == "v7"
    assert variables["MLSERVER_MODEL_URI"] == "/m/model.pkl"
    assert variables["MLSERVER_MODEL_NAME"] == "iris"


def test_the_operators_defaults_win_over_whole_config_maps() -> None:
    maps = {"limits": {"MLSERVER_MODEL_VERSION": "v7"}}
    sources = [{"configMapRef": {"name": "limits"}}]
    pods = [{"spec": {"containers": [{"name": "iris", "envFrom": sources}]}}]
    deployment = with_defaults(parsed(prepackaged(componentSpecs=pods)))
    only = deployment.spec.predictors[0]
    users = resolve_environment(only.model_container, {}, maps)
    variables = users | container_environment(deployment, only, PORTS, "/m")
    assert variables["MLSERVER_MODEL_VERSION"] == "v1"


def test_nobody_opens_a_server_to_the_network() -> None:
    env = [{"name": "MLSERVER_HOST", "value": "0.0.0.0"}, {"name": "mlserver_host", "value": "::"}]
    assert resolved(env=env) == {}


def test_a_literal_value_is_taken_as_it_is() -> None:
    assert resolved(env=[{"name": "A", "value": "1"}, {"name": "B"}]) == {"A": "1", "B": ""}


def test_a_value_comes_from_a_secret() -> None:
    source = {"secretKeyRef": {"name": "feedback-key", "key": "key"}}
    assert resolved(env=[{"name": "KEY", "valueFrom": source}]) == {"KEY": "s3cret"}


def test_a_value_comes_from_a_config_map() -> None:
    source = {"configMapKeyRef": {"name": "limits", "key": "ROWS"}}
    assert resolved(env=[{"name": "N_ROWS", "valueFrom": source}]) == {"N_ROWS": "100"}


def test_a_whole_secret_may_be_taken_with_a_prefix() -> None:
    source = [{"prefix": "FEEDBACK_", "secretRef": {"name": "feedback-key"}}]
    assert resolved(envFrom=source) == {"FEEDBACK_key": "s3cret", "FEEDBACK_id": "k-1"}


def test_a_whole_config_map_may_be_taken() -> None:
    assert resolved(envFrom=[{"configMapRef": {"name": "limits"}}]) == {"ROWS": "100"}


def test_a_single_variable_wins_over_a_whole_config_map() -> None:
    variables = resolved(
        envFrom=[{"configMapRef": {"name": "limits"}}], env=[{"name": "ROWS", "value": "7"}]
    )
    assert variables == {"ROWS": "7"}


def test_the_last_of_two_variables_of_one_name_wins() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    assert resolved(env=env) == {"A": "2"}


def test_what_the_operator_sets_is_dropped_from_what_the_user_sets() -> None:
    env = [{"name": "MLSERVER_MODEL_NAME", "value": "mine"}, {"name": "A", "value": "1"}]
    assert resolved(env=env) == {"A": "1"}


def test_variables_may_refer_to_those_before_them() -> None:
    env = [
        {"name": "HOST", "value": "h"},
        {"name": "URL", "value": "http://$(HOST)/$(LATER)/$$(HOST)"},
        {"name": "LATER", "value": "x"},
    ]
    assert resolved(env=env)["URL"] == "http://h/$(LATER)/$(HOST)"


def test_a_missing_secret_is_told_with_how_to_create_it() -> None:
    source = {"secretKeyRef": {"name": "other", "key": "key"}}
    with pytest.raises(ManifestError, match=r"'KEY' needs Secret 'other'.*kubectl create secret"):
        resolved(env=[{"name": "KEY", "valueFrom": source}])


def test_a_missing_key_is_told_with_the_keys_there_are() -> None:
    source = {"secretKeyRef": {"name": "feedback-key", "key": "kee"}}
    with pytest.raises(ManifestError, match=r"key 'kee' of Secret 'feedback-key'.* has id, key"):
        resolved(env=[{"name": "KEY", "valueFrom": source}])


def test_a_missing_whole_config_map_is_told_with_its_container() -> None:
    with pytest.raises(ManifestError, match="container 'iris' needs ConfigMap 'other'"):
        resolved(envFrom=[{"configMapRef": {"name": "other"}}])


@pytest.mark.parametrize(
    "reference", [{"name": "other", "key": "key"}, {"name": "feedback-key", "key": "kee"}]
)
def test_what_is_optional_may_be_missing(reference: dict[str, str]) -> None:
    source = {"secretKeyRef": {**reference, "optional": True}}
    assert resolved(env=[{"name": "KEY", "valueFrom": source}]) == {}


def test_a_whole_optional_secret_may_be_missing() -> None:
    assert resolved(envFrom=[{"secretRef": {"name": "other", "optional": True}}]) == {}


def test_a_source_only_a_pod_has_is_refused() -> None:
    source = {"fieldRef": {"fieldPath": "status.podIP"}}
    with pytest.raises(ManifestError, match="'IP' comes from fieldRef"):
        resolved(env=[{"name": "IP", "valueFrom": source}])
