import pytest

from abserve.errors import ManifestError
from abserve.seldon import mirror_percent, weights_of, with_defaults
from tests.abserve.seldon.documents import (
    Document,
    document,
    parsed,
    predictor,
    prepackaged,
    with_node,
)

IMAGE = "seldonio/mlserver:1.7.1-sklearn"


def test_a_predictor_is_labelled_with_its_name_unless_it_says_otherwise() -> None:
    deployment = with_defaults(
        parsed(
            document(
                predictor("a", "v1", traffic=50),
                predictor("b", "v2", traffic=50, labels={"version": "second"}),
            )
        )
    )
    assert [each.labels["version"] for each in deployment.spec.predictors] == ["a", "second"]


def test_a_node_of_no_type_is_a_model() -> None:
    assert with_defaults(parsed()).spec.predictors[0].graph.type == "MODEL"
    routed = with_defaults(parsed(with_node(type="ROUTER")))
    assert routed.spec.predictors[0].graph.type == "ROUTER"


@pytest.mark.parametrize(
    ("fields", "type_", "implementation"),
    [
        ({}, "MODEL", "UNKNOWN_IMPLEMENTATION"),
        ({"methods": ["TRANSFORM_INPUT"]}, None, "UNKNOWN_IMPLEMENTATION"),
        ({"implementation": "UNKNOWN_IMPLEMENTATION"}, None, "UNKNOWN_IMPLEMENTATION"),
        ({"implementation": "RANDOM_ABTEST"}, None, "RANDOM_ABTEST"),
        ({"implementation": "XGBOOST_SERVER", "type": "ROUTER"}, "MODEL", "XGBOOST_SERVER"),
    ],
)
def test_a_node_is_told_apart_as_the_operator_does(
    fields: Document, type_: str | None, implementation: str
) -> None:
    children = [{"name": "child", **fields}]
    node = with_defaults(parsed(with_node(children=children))).spec.predictors[0].graph.children[0]
    assert (node.type, node.implementation) == (type_, implementation)


def test_a_prepackaged_server_gets_a_container_of_its_image() -> None:
    only = with_defaults(parsed(prepackaged())).spec.predictors[0]
    assert [(each.name, each.image) for each in only.containers] == [("iris", IMAGE)]
    assert only.model_container.image == IMAGE


def test_a_prepackaged_server_keeps_what_its_container_says() -> None:
    env = [{"name": "A", "value": "1"}]
    pods = [{"replicas": 2, "spec": {"containers": [{"name": "iris", "env": env}]}}]
    only = with_defaults(parsed(prepackaged(componentSpecs=pods))).spec.predictors[0]
    assert (only.replicas, only.model_container.image) == (2, IMAGE)
    assert only.model_container.env[0].name == "A"


def test_an_image_that_is_given_stays() -> None:
    pods = [{"spec": {"containers": [{"name": "iris", "image": "seldonio/mlserver:1.6.0"}]}}]
    only = with_defaults(parsed(prepackaged(componentSpecs=pods))).spec.predictors[0]
    assert only.model_container.image == "seldonio/mlserver:1.6.0"


@pytest.mark.parametrize("pods", [[{"replicas": 2}], [{"spec": {"containers": []}}]])
def test_a_container_is_added_to_the_first_pods(pods: list[Document]) -> None:
    only = with_defaults(parsed(prepackaged(componentSpecs=pods))).spec.predictors[0]
    assert [each.name for each in only.component_specs[0].containers] == ["iris"]


@pytest.mark.parametrize(
    ("of_pods", "of_predictor", "of_deployment", "effective"),
    [
        (None, None, None, 1),
        (None, None, 2, 2),
        (None, 3, 2, 3),
        (4, 3, 2, 4),
        (None, 0, 2, 0),
        (0, 3, 2, 0),
    ],
)
def test_the_most_specific_number_of_replicas_counts(
    of_pods: int | None, of_predictor: int | None, of_deployment: int | None, effective: int
) -> None:
    only = predictor("a", "v1")
    value = document(only)
    for holder, given in (
        (only["componentSpecs"][0], of_pods),
        (only, of_predictor),
        (value["spec"], of_deployment),
    ):
        if given is not None:
            holder["replicas"] = given
    assert with_defaults(parsed(value)).spec.predictors[0].replicas == effective


def test_the_deployment_given_stays_as_it_was() -> None:
    deployment = parsed()
    with_defaults(deployment)
    assert deployment.spec.predictors[0].replicas is None


def test_defaults_are_filled_in_once() -> None:
    once = with_defaults(parsed())
    assert with_defaults(once) == once


@pytest.mark.parametrize("traffic", [{}, {"traffic": 0}, {"traffic": 100}])
def test_a_lone_variant_gets_every_request(traffic: dict[str, int]) -> None:
    value = document(predictor("a", "v1", **traffic), predictor("b", "v2", shadow=True))
    assert weights_of(parsed(value)).by_variant == {"a": 100}


def test_weights_are_those_of_the_variants() -> None:
    assert weights_of(parsed()).by_variant == {"baseline": 90, "candidate": 10}


def test_a_variant_of_no_stated_traffic_has_none() -> None:
    value = document(predictor("a", "v1", traffic=100), predictor("b", "v2"))
    assert weights_of(parsed(value)).by_variant == {"a": 100, "b": 0}


@pytest.mark.parametrize(
    ("traffic", "percent"), [({}, 100), ({"traffic": 0}, 100), ({"traffic": 5}, 5)]
)
def test_a_shadow_copies_everything_unless_it_says_how_much(
    traffic: dict[str, int], percent: int
) -> None:
    value = document(predictor("a", "v1"), predictor("b", "v2", shadow=True, **traffic))
    deployment = parsed(value)
    assert mirror_percent(deployment.predictor("b")) == percent
    assert with_defaults(deployment).predictor("b").traffic == percent


def test_a_variant_mirrors_nothing() -> None:
    with pytest.raises(ManifestError, match="'baseline' is no shadow"):
        mirror_percent(parsed().predictor("baseline"))
