import pytest

from abserve.seldon import InvalidManifestError, admit
from tests.abserve.seldon.documents import (
    Document,
    document,
    parsed,
    predictor,
    with_container,
    with_node,
)

PREPACKAGED = {"name": "baseline", "graph": {"name": "iris", "modelUri": "gs://models/iris"}}
KAFKA = [
    {"name": name, "value": "x"}
    for name in ("KAFKA_BROKER", "KAFKA_INPUT_TOPIC", "KAFKA_OUTPUT_TOPIC")
]


def prepackaged(**node: object) -> Document:
    return document({**PREPACKAGED, "graph": {**PREPACKAGED["graph"], **node}})


def refusals(value: Document) -> list[tuple[str, str]]:
    with pytest.raises(InvalidManifestError) as caught:
        admit(parsed(value))
    return [(fault.field, fault.message) for fault in caught.value.faults]


def refusal(value: Document) -> tuple[str, str]:
    (only,) = refusals(value)
    return only


def test_a_split_of_two_versions_is_admitted() -> None:
    admit(parsed())


@pytest.mark.parametrize("protocol", ["", "seldon", "tensorflow", "kfserving", "v2"])
def test_every_protocol_of_seldon_is_admitted(protocol: str) -> None:
    admit(parsed(document(protocol=protocol)))


@pytest.mark.parametrize("field", ["protocol", "transport", "serverType"])
def test_an_unknown_setting_is_refused_with_the_known_ones(field: str) -> None:
    where, message = refusal(document(**{field: "v3"}))
    assert where == f"spec.{field}"
    assert message.startswith("found 'v3', expected one of ")


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_every_transport_of_seldon_is_admitted(transport: str) -> None:
    admit(parsed(document(transport=transport)))


def test_no_predictors_are_refused() -> None:
    value = document()
    value["spec"]["predictors"] = []
    assert refusal(value)[0] == "spec.predictors"


def test_a_second_predictor_of_the_same_name_is_refused() -> None:
    value = document(
        predictor("baseline", "v1", traffic=90), predictor("baseline", "v2", traffic=10)
    )
    where, message = refusal(value)
    assert where == "spec.predictors[1].name"
    assert "'baseline' a second time" in message


def test_two_predictors_may_not_share_a_service_name() -> None:
    named = {"seldon.io/svc-name": "iris"}
    value = document(
        predictor("a", "v1", traffic=90, annotations=named),
        predictor("b", "v2", traffic=10, annotations=named),
    )
    assert refusal(value)[0] == "spec.predictors[1].annotations[seldon.io/svc-name]"


def test_different_service_names_are_admitted() -> None:
    admit(
        parsed(
            document(
                predictor("a", "v1", traffic=90, annotations={"seldon.io/svc-name": "one"}),
                predictor("b", "v2", traffic=10, annotations={"seldon.io/svc-name": "two"}),
            )
        )
    )


def test_a_node_without_a_container_of_its_name_is_refused() -> None:
    where, message = refusal(with_container(name="classifier"))
    assert where == "spec.predictors[0].graph.name"
    assert "found 'iris', expected the name of a container of the predictor (classifier)" in message


def test_a_node_of_a_predictor_without_containers_is_refused() -> None:
    where, message = refusal(document(PREPACKAGED))
    assert where == "spec.predictors[0].graph.name"
    assert "it has none" in message


def test_a_child_without_a_container_is_refused_at_its_path() -> None:
    only = predictor("baseline", "v1", annotations={})
    only["graph"]["children"] = [{"name": "next"}]
    assert refusal(document(only))[0] == "spec.predictors[0].graph.children[0].name"


def test_an_unknown_type_needs_methods() -> None:
    assert refusal(with_node(type="UNKNOWN_TYPE"))[0] == "spec.predictors[0].graph.type"
    admit(parsed(with_node(type="UNKNOWN_TYPE", methods=["TRANSFORM_INPUT"])))


def test_an_unknown_implementation_is_as_good_as_none() -> None:
    admit(parsed(with_node(implementation="UNKNOWN_IMPLEMENTATION")))


@pytest.mark.parametrize("server", ["SKLEARN_SERVER", "TRITON_SERVER", "TEMPO_SERVER"])
def test_a_prepackaged_server_needs_no_container(server: str) -> None:
    admit(parsed(prepackaged(implementation=server)))


def test_a_prepackaged_server_needs_a_model() -> None:
    value = prepackaged(implementation="SKLEARN_SERVER")
    del value["spec"]["predictors"][0]["graph"]["modelUri"]
    where, message = refusal(value)
    assert where == "spec.predictors[0].graph.modelUri"
    assert "SKLEARN_SERVER serves" in message


def test_huggingface_needs_no_model() -> None:
    value = prepackaged(implementation="HUGGINGFACE_SERVER")
    del value["spec"]["predictors"][0]["graph"]["modelUri"]
    admit(parsed(value))


def test_an_empty_implementation_is_asked_for_neither_container_nor_server() -> None:
    admit(parsed(prepackaged(implementation="")))


def test_a_server_nobody_knows_needs_an_image() -> None:
    where, message = refusal(prepackaged(implementation="MY_SERVER"))
    assert where == "spec.predictors[0].graph.implementation"
    assert "a container named 'iris' with an image" in message
    admit(parsed(with_node(implementation="MY_SERVER")))


@pytest.mark.parametrize(
    "server", ["SKLEARN_SERVER", "XGBOOST_SERVER", "MLFLOW_SERVER", "HUGGINGFACE_SERVER"]
)
def test_servers_of_python_models_do_not_speak_tensorflow(server: str) -> None:
    value = prepackaged(implementation=server)
    value["spec"]["protocol"] = "tensorflow"
    assert refusal(value)[0] == "spec.predictors[0].graph.implementation"


def test_the_tensorflow_server_speaks_tensorflow() -> None:
    value = prepackaged(implementation="TENSORFLOW_SERVER")
    value["spec"]["protocol"] = "tensorflow"
    admit(parsed(value))


@pytest.mark.parametrize("built_in", ["SIMPLE_MODEL", "RANDOM_ABTEST"])
def test_what_is_built_into_seldon_needs_neither_model_nor_container(built_in: str) -> None:
    admit(parsed(document({"name": "p", "graph": {"name": "x", "implementation": built_in}})))


def test_a_logger_needs_a_mode() -> None:
    assert refusal(with_node(logger={"url": "http://x"}))[0] == (
        "spec.predictors[0].graph.logger.mode"
    )
    admit(parsed(with_node(logger={"mode": "all"})))


def test_weights_of_two_variants_must_sum_to_100() -> None:
    value = document(predictor("a", "v1", traffic=90), predictor("b", "v2", traffic=20))
    where, message = refusal(value)
    assert where == "spec.predictors"
    assert message.startswith("traffic sums to 110 (a=90, b=20), expected 100")


def test_two_variants_without_weights_are_refused() -> None:
    assert "sums to 0" in refusal(document(predictor("a", "v1"), predictor("b", "v2")))[1]


@pytest.mark.parametrize("traffic", [0, 100, 150])
def test_the_only_predictor_may_have_no_traffic_all_or_too_much(traffic: int) -> None:
    admit(parsed(document(predictor("a", "v1", traffic=traffic))))


@pytest.mark.parametrize("traffic", [1, 99])
def test_the_only_predictor_may_not_have_some_traffic(traffic: int) -> None:
    assert refusal(document(predictor("a", "v1", traffic=traffic)))[0] == (
        "spec.predictors[0].traffic"
    )


def test_weights_below_zero_that_sum_to_100_pass_as_they_do_at_seldons() -> None:
    admit(parsed(document(predictor("a", "v1", traffic=150), predictor("b", "v2", traffic=-50))))


def test_a_shadow_does_not_count_into_the_sum() -> None:
    admit(
        parsed(
            document(
                predictor("a", "v1", traffic=90),
                predictor("b", "v2", traffic=10),
                predictor("c", "v3", traffic=50, shadow=True),
            )
        )
    )


def test_a_second_shadow_is_refused() -> None:
    value = document(
        predictor("a", "v1"),
        predictor("b", "v2", shadow=True),
        predictor("c", "v3", shadow=True),
    )
    assert refusal(value)[0] == "spec.predictors[2].shadow"


@pytest.mark.parametrize("traffic", [-1, 101])
def test_a_shadow_cannot_copy_less_than_nothing_or_more_than_all(traffic: int) -> None:
    value = document(predictor("a", "v1"), predictor("b", "v2", shadow=True, traffic=traffic))
    assert refusal(value)[0] == "spec.predictors[1].traffic"


def test_a_shadow_needs_something_to_copy() -> None:
    value = document(predictor("a", "v1", shadow=True))
    assert refusal(value)[0] == "spec.predictors[0].shadow"


@pytest.mark.parametrize("value", ["true", "false"])
def test_several_nodes_need_the_executor(value: str) -> None:
    only = predictor("a", "v1", annotations={"seldon.io/no-engine": value})
    only["graph"]["children"] = [{"name": "iris"}]
    assert refusal(document(only))[0] == "spec.predictors[0].annotations[seldon.io/no-engine]"


def test_several_nodes_are_admitted_with_the_executor() -> None:
    only = predictor("a", "v1", annotations={})
    only["graph"]["children"] = [{"name": "iris"}]
    admit(parsed(document(only)))


def test_nodes_of_different_endpoint_types_are_refused() -> None:
    only = predictor("a", "v1", annotations={})
    only["graph"] |= {
        "endpoint": {"type": "REST"},
        "children": [{"name": "iris", "endpoint": {"type": "GRPC"}}],
    }
    assert refusal(document(only))[0] == "spec.predictors[0].graph.children[0].endpoint.type"


def test_an_endpoint_type_may_not_contradict_the_transport() -> None:
    value = with_node(endpoint={"type": "GRPC"})
    admit(parsed(value))
    value["spec"]["transport"] = "rest"
    assert refusal(value)[0] == "spec.predictors[0].graph.endpoint.type"
    value["spec"]["transport"] = "grpc"
    admit(parsed(value))


def test_kafka_needs_its_broker_and_topics() -> None:
    only = predictor("a", "v1", svcOrchSpec={"env": KAFKA[:1]})
    where, message = refusal(document(only, serverType="kafka"))
    assert where == "spec.predictors[0].svcOrchSpec.env"
    assert "found no KAFKA_INPUT_TOPIC, KAFKA_OUTPUT_TOPIC" in message
    assert refusal(document(predictor("a", "v1"), serverType="kafka"))[0] == where
    admit(parsed(document(predictor("a", "v1", svcOrchSpec={"env": KAFKA}), serverType="kafka")))


def test_all_refusals_are_collected() -> None:
    value = document(
        predictor("a", "v1", traffic=90), predictor("a", "v2", traffic=20), protocol="v3"
    )
    assert [where for where, _ in refusals(value)] == [
        "spec.protocol",
        "spec.predictors[1].name",
        "spec.predictors",
    ]
