from typing import Any

import pytest

from abserve.cluster.admission import admission
from abserve.cluster.api.kinds import CONFIG_MAP, NAMESPACE, SECRET, SELDON_DEPLOYMENT, Kind
from abserve.cluster.api.status import ApiError
from tests.abserve.cluster.documents import config_map, namespace, secret, seldon_deployment


def refusal(document: dict[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        admission(SELDON_DEPLOYMENT, document)
    return caught.value


def test_a_seldon_deployment_is_stored_as_it_was_sent() -> None:
    assert admission(SELDON_DEPLOYMENT, seldon_deployment()) == (seldon_deployment(), ())


def test_every_fault_is_a_cause_of_the_refusal() -> None:
    document = seldon_deployment()
    document["spec"]["predictors"][0]["traffic"] = 80
    document["spec"]["serverType"] = "carrier-pigeon"
    refused = refusal(document)
    assert (refused.code, refused.status["reason"]) == (422, "Invalid")
    causes = refused.status["details"]["causes"]
    assert [cause["field"] for cause in causes] == ["spec.serverType", "spec.predictors"]
    assert [cause["reason"] for cause in causes] == ["FieldValueNotSupported", "FieldValueInvalid"]
    assert "sums to 90" in causes[1]["message"]


def test_a_refusal_names_the_object_as_kubectl_shows_it() -> None:
    refused = refusal({**seldon_deployment(), "spec": {"predictors": []}})
    assert 'SeldonDeployment.machinelearning.seldon.io "iris" is invalid' in str(refused)
    assert refused.status["details"]["name"] == "iris"


def test_what_cannot_be_read_is_refused_at_its_field() -> None:
    document = seldon_deployment()
    document["spec"]["predictors"][1]["trafic"] = 10
    assert refusal(document).status["details"]["causes"][0]["field"] == "spec.predictors[1].trafic"


def test_what_one_machine_cannot_run_is_refused() -> None:
    document = seldon_deployment()
    document["spec"]["transport"] = "grpc"
    assert refusal(document).status["details"]["causes"][0]["field"] == "spec.transport"


def test_what_has_no_effect_is_a_warning() -> None:
    document = seldon_deployment()
    document["spec"]["annotations"] = {"seldon.io/rest-timeout": "5000"}
    _, warnings = admission(SELDON_DEPLOYMENT, document)
    assert len(warnings) == 1
    assert "seldon.io/rest-timeout" in warnings[0]


def test_text_of_a_secret_is_stored_as_base64() -> None:
    stored, _ = admission(SECRET, {**secret(), "stringData": {"password": "x"}})
    assert stored["data"] == {"password": "eA=="}
    assert "stringData" not in stored


@pytest.mark.parametrize("data", [{"a": 5}, {"a": None}, ["a"], "a"])
def test_a_config_map_maps_strings_to_strings(data: Any) -> None:
    with pytest.raises(ApiError, match=r"data.*: found .*, expected") as caught:
        admission(CONFIG_MAP, {**config_map("colours"), "data": data})
    assert caught.value.code == 422


def test_a_config_map_may_be_empty() -> None:
    document = config_map("colours")
    del document["data"]
    assert admission(CONFIG_MAP, document) == (document, ())


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (CONFIG_MAP, config_map("colours")),
        (SECRET, secret(a="YQ==")),
        (NAMESPACE, namespace("shop")),
    ],
)
def test_a_misspelt_field_is_refused_with_the_right_spelling(
    kind: Kind, document: dict[str, Any]
) -> None:
    document["metadata"] = {**document["metadata"], "lables": {}}
    with pytest.raises(ApiError, match=r"metadata.lables: .*; did you mean labels\?") as caught:
        admission(kind, document)
    assert caught.value.code == 422


@pytest.mark.parametrize("field", ["data", "stringData"])
@pytest.mark.parametrize("value", [{"pin": 271828}, {"pin": ["271828"]}, "271828", ["271828"]])
def test_the_refusal_of_a_secret_does_not_tell_it(field: str, value: Any) -> None:
    with pytest.raises(ApiError, match=field) as caught:
        admission(SECRET, {**secret(), field: value})
    assert "271828" not in str(caught.value.status)


def test_a_namespace_is_active_at_once() -> None:
    stored, _ = admission(NAMESPACE, namespace("shop"))
    assert stored["status"] == {"phase": "Active"}


def test_nobody_else_says_what_state_a_namespace_is_in() -> None:
    stored, _ = admission(NAMESPACE, {**namespace("shop"), "status": {"phase": "Terminating"}})
    assert stored["status"] == {"phase": "Active"}
