import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from abserve.errors import ManifestError
from abserve.seldon import (
    Fault,
    InvalidManifestError,
    PredictiveUnit,
    Predictor,
    SeldonDeployment,
    SeldonPodSpec,
    supported,
)
from abserve.seldon.containers import SeldonValue
from abserve.seldon.resource import SeldonDeploymentSpec
from tests.abserve.seldon.documents import (
    document,
    parsed,
    predictor,
    with_container,
    with_node,
    with_pod,
    without,
)


def faults_of(value: dict) -> tuple[Fault, ...]:
    with pytest.raises(InvalidManifestError) as caught:
        SeldonDeployment.parse(value)
    return caught.value.faults


def test_fields_are_read_under_their_kubernetes_names() -> None:
    deployment = parsed()
    candidate = deployment.predictor("candidate")
    assert deployment.name == "iris"
    assert deployment.namespace == "shop"
    assert candidate.traffic == 10
    assert candidate.graph.model_uri == "s3://models/iris/v2"
    assert candidate.model_container.image == "abserve/runtimes:0.1.0"


def test_a_file_without_a_namespace_means_the_default_one() -> None:
    assert parsed(without(document(), "metadata", "namespace")).namespace == "default"


def test_what_is_left_out_is_none() -> None:
    assert parsed(document(predictor("baseline", "v1"))).spec.predictors[0].traffic is None


def test_a_deployment_cannot_be_edited() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parsed().spec.protocol = "seldon"


@pytest.mark.parametrize("traffic", ["ninety", "90", 9.5, 90.0, True, [90], None])
def test_traffic_that_is_no_whole_number_is_refused_not_coerced(traffic: object) -> None:
    (fault,) = faults_of(document(predictor("baseline", "v1", traffic=traffic)))
    assert fault.field == "spec.predictors[0].traffic"
    assert fault.kind == "FieldValueTypeInvalid"


def test_a_wrong_type_is_told_as_found_expected_and_what_to_do() -> None:
    (fault,) = faults_of(document(predictor("baseline", "v1", traffic="ninety")))
    assert str(fault) == (
        "spec.predictors[0].traffic: found 'ninety', expected a whole number; "
        "write it without quotes, decimals or units"
    )


def test_null_is_refused_as_kubernetes_does() -> None:
    (fault,) = faults_of(document(replicas=None))
    assert str(fault) == (
        "spec.replicas: found null, expected a value; leave the field out instead"
    )


def test_a_number_beyond_32_bits_is_refused() -> None:
    (fault,) = faults_of(document(replicas=2**31))
    assert fault.message == "found 2147483648, expected at most 2147483647; change it"
    assert fault.kind == "FieldValueInvalid"


def test_a_misspelt_seldon_field_is_refused_with_the_right_spelling() -> None:
    (fault,) = faults_of(with_node(modelURI="s3://models/iris/v1"))
    assert fault.field == "spec.predictors[0].graph.modelURI"
    assert fault.kind == "FieldValueForbidden"
    assert fault.message.endswith("did you mean modelUri?")


def test_a_python_name_is_no_field() -> None:
    (fault,) = faults_of(with_node(model_uri="s3://models/iris/v1"))
    assert fault.field == "spec.predictors[0].graph.model_uri"


def test_unknown_kubernetes_fields_pass() -> None:
    deployment = parsed(with_container(resizePolicy=[{"resourceName": "cpu"}]))
    extra = deployment.spec.predictors[0].model_container.model_extra
    assert extra == {"resizePolicy": [{"resourceName": "cpu"}]}


def test_metadata_that_kubernetes_writes_passes() -> None:
    value = document()
    value["metadata"] |= {
        "creationTimestamp": datetime(2026, 1, 2, tzinfo=UTC),
        "managedFields": [{"manager": "kubectl"}],
        "uid": "u-1",
    }
    assert parsed(value).metadata.uid == "u-1"


def test_what_seldon_requires_is_required() -> None:
    value = document({"traffic": 90})
    del value["metadata"]["name"]
    assert [(fault.field, fault.kind) for fault in faults_of(value)] == [
        ("metadata.name", "FieldValueRequired"),
        ("spec.predictors[0].name", "FieldValueRequired"),
        ("spec.predictors[0].graph", "FieldValueRequired"),
    ]


def test_an_env_reference_without_a_key_is_refused_at_its_path() -> None:
    (fault,) = faults_of(
        with_container(env=[{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s"}}}])
    )
    assert fault.field == (
        "spec.predictors[0].componentSpecs[0].spec.containers[0].env[0].valueFrom.secretKeyRef.key"
    )


def test_a_list_where_an_object_belongs_is_refused() -> None:
    (fault,) = faults_of(document(predictor("baseline", "v1", labels=["a"])))
    assert fault.message == "found a list, expected an object; write fields below it"


def test_a_map_is_written_with_its_key_in_brackets() -> None:
    value = document()
    value["metadata"]["labels"] = {"team": 7}
    (fault,) = faults_of(value)
    assert fault.field == "metadata.labels[team]"


def test_a_disruption_budget_is_a_number_or_a_string() -> None:
    budget = {"maxUnavailable": "10%", "minAvailable": 1}
    spec = predictor("baseline", "v1")["componentSpecs"][0]
    deployment = parsed(
        document(predictor("baseline", "v1", componentSpecs=[{**spec, "pdbSpec": budget}]))
    )
    assert deployment.spec.predictors[0].component_specs[0].pdb_spec is not None
    budget["minAvailable"] = True
    (fault,) = faults_of(
        document(predictor("baseline", "v1", componentSpecs=[{**spec, "pdbSpec": budget}]))
    )
    assert fault.field == "spec.predictors[0].componentSpecs[0].pdbSpec.minAvailable"


def test_nodes_below_the_first_are_checked_too() -> None:
    (fault,) = faults_of(with_node(children=[{"name": "a", "chilren": []}]))
    assert fault.field == "spec.predictors[0].graph.children[0].chilren"


@pytest.mark.parametrize(
    ("field", "value"), [("apiVersion", "machinelearning.seldon.io/v1alpha2"), ("kind", "Pod")]
)
def test_another_kind_or_version_is_not_supported(field: str, value: str) -> None:
    (fault,) = faults_of({**document(), field: value})
    assert fault.field == field
    assert fault.kind == "FieldValueNotSupported"


def test_all_faults_are_told_one_per_line() -> None:
    value = document(
        predictor("baseline", "v1", traffic="a"), predictor("candidate", "v2", traffic="b")
    )
    with pytest.raises(InvalidManifestError) as caught:
        SeldonDeployment.parse(value)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "spec.predictors[0].traffic",
        "spec.predictors[1].traffic",
    ]


def test_faults_survive_a_pickle() -> None:
    error = InvalidManifestError([Fault("spec.x", "found 1", "FieldValueInvalid")])
    copy = pickle.loads(pickle.dumps(error))
    assert copy.faults == error.faults
    assert str(copy) == "spec.x: found 1"


def test_variants_are_the_predictors_that_are_no_shadows() -> None:
    deployment = parsed(document(predictor("a", "v1"), predictor("b", "v2", shadow=True)))
    assert [each.name for each in deployment.variants] == ["a"]
    assert deployment.shadow is deployment.predictor("b")


def test_a_model_is_named_by_its_graph_node() -> None:
    assert SeldonDeployment.parse(document()).model == "iris"


def test_there_may_be_no_shadow() -> None:
    assert parsed().shadow is None


def test_an_unknown_predictor_is_told_with_the_known_ones() -> None:
    with pytest.raises(ManifestError, match=r"no predictor 'canary'.* one of baseline, candidate"):
        parsed().predictor("canary")


def test_a_node_without_its_container_has_no_model_container() -> None:
    only = parsed(with_pod(containers=[{"name": "other"}])).spec.predictors[0]
    with pytest.raises(ManifestError, match="no container named like its graph node, 'iris'"):
        _ = only.model_container


# What `kubectl explain` says of the fields.

WITHOUT_EFFECT: dict[type[SeldonValue], dict[str, Any]] = {
    SeldonDeploymentSpec: {"oauth_key": "k", "oauth_secret": "s"},
    Predictor: {
        "engineResources": {"limits": {"cpu": 1}},
        "svcOrchSpec": {"replicas": 1},
        "ssl": {"certSecretName": "tls"},
        "progressDeadlineSeconds": 60,
    },
    PredictiveUnit: {
        "methods": ["TRANSFORM_INPUT"],
        "endpoint": {"httpPort": 9000},
        "serviceAccountName": "reader",
        "logger": {"mode": "all"},
    },
    SeldonPodSpec: {
        "hpaSpec": {"maxReplicas": 2},
        "kedaSpec": {"triggers": [{"type": "cron"}]},
        "pdbSpec": {"minAvailable": 1},
    },
}


@pytest.mark.parametrize("model", WITHOUT_EFFECT)
def test_fields_are_described_as_without_effect_if_they_are(model: type[SeldonValue]) -> None:
    described = {
        field.alias
        for field in model.model_fields.values()
        if "No effect on one machine" in " ".join((field.description or "").split())
    }
    assert described == set(WITHOUT_EFFECT[model])


@pytest.mark.parametrize(
    ("model", "field"),
    [(model, field) for model, fields in WITHOUT_EFFECT.items() for field in fields],
)
def test_a_field_without_effect_is_told_in_a_warning(model: type[SeldonValue], field: str) -> None:
    value = document(predictor("baseline", "v1"))
    only = value["spec"]["predictors"][0]
    places = {
        SeldonDeploymentSpec: value["spec"],
        Predictor: only,
        PredictiveUnit: only["graph"],
        SeldonPodSpec: only["componentSpecs"][0],
    }
    places[model][field] = WITHOUT_EFFECT[model][field]
    (warning,) = supported(parsed(value))
    assert warning.endswith(f".{field}")
