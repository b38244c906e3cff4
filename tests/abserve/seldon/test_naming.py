import pytest

from abserve.seldon import (
    container_service_name,
    deployment_name,
    gateway_path,
    pod_labels,
    service_name,
    virtual_service_name,
    with_defaults,
)
from tests.abserve.seldon.documents import Document, document, parsed, predictor


def named(name: str) -> Document:
    value = document()
    value["metadata"]["name"] = name
    return value


def test_the_gateway_path_ends_where_the_v2_path_begins() -> None:
    assert gateway_path("shop", "iris") == "/seldon/shop/iris/"


def test_names_are_those_the_operator_gives() -> None:
    deployment = parsed()
    baseline = deployment.predictor("baseline")
    assert virtual_service_name(deployment) == "iris"
    assert service_name(deployment, baseline) == "iris-baseline"
    assert container_service_name(deployment, baseline, baseline.model_container) == (
        "iris-baseline-iris"
    )
    assert deployment_name(deployment, baseline) == "iris-baseline-0-iris"


def test_pods_with_a_name_give_it_to_their_deployment() -> None:
    only = predictor("baseline", "v1")
    only["componentSpecs"][0]["metadata"] = {"name": "server"}
    deployment = parsed(document(only))
    assert deployment_name(deployment, deployment.spec.predictors[0]) == "iris-baseline-0-server"


def test_a_deployment_is_named_after_all_its_containers() -> None:
    only = predictor("baseline", "v1")
    only["componentSpecs"].insert(0, {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}})
    deployment = parsed(document(only))
    baseline = deployment.spec.predictors[0]
    assert deployment_name(deployment, baseline, 0) == "iris-baseline-0-a-b"
    assert deployment_name(deployment, baseline, 1) == "iris-baseline-1-iris"


def test_an_annotation_names_the_service() -> None:
    only = predictor("baseline", "v1", annotations={"seldon.io/svc-name": "mine"})
    deployment = parsed(document(only))
    assert service_name(deployment, deployment.spec.predictors[0]) == "mine"


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("a" * 54, "a" * 54 + "-baseline"),
        # md5 of 55 a's and "-baseline", as `md5sum` prints it.
        ("a" * 55, "seldon-3425762f05caa31a173128a4bd314a75"),
    ],
)
def test_a_name_beyond_63_characters_becomes_its_md5(name: str, service: str) -> None:
    deployment = parsed(named(name))
    assert service_name(deployment, deployment.predictor("baseline")) == service


def test_pods_carry_the_labels_that_services_and_dashboards_select() -> None:
    deployment = with_defaults(parsed())
    assert pod_labels(deployment, deployment.predictor("candidate")) == {
        "seldon-deployment-id": "iris",
        "seldon-app": "iris-candidate",
        "seldon-app-svc-iris": "iris-candidate-iris",
        "app": "iris-candidate-0-iris",
        "app.kubernetes.io/managed-by": "seldon-core",
        "fluentd": "true",
        "version": "candidate",
        "seldon.io/model": "true",
    }


def test_pods_carry_the_labels_of_predictor_and_pods() -> None:
    only = predictor("baseline", "v1", labels={"team": "a", "tier": "a"})
    only["componentSpecs"][0]["metadata"] = {"labels": {"tier": "b"}}
    deployment = parsed(document(only))
    labels = pod_labels(deployment, deployment.spec.predictors[0])
    assert labels["team"] == "a"
    assert labels["tier"] == "b"


def test_a_shadow_is_labelled_as_one() -> None:
    deployment = parsed(document(predictor("a", "v1"), predictor("b", "v2", shadow=True)))
    assert pod_labels(deployment, deployment.predictor("b"))["seldon.io/shadow"] == "true"
