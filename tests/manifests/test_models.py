"""The four models, in every environment: alike but for what an environment may change."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from abserve.seldon import SeldonDeployment
from abserve.seldon.defaults import with_defaults
from abserve.seldon.naming import pod_labels
from abserve.seldon.own_pods import INITIALIZER
from runtimes.draining import USUAL_SECONDS
from runtimes.server import _FINISH_SECONDS
from tests.manifests.models import (
    CLUSTERS,
    ENVIRONMENTS,
    MODELS,
    beyond,
    copied,
    deployment,
    differences,
    documents,
    only,
    pods,
    restricted_faults,
)
from tests.manifests.rendering import MANIFESTS, rendered

_PREDICTOR = r"\.spec\.predictors\[(baseline|candidate)\]"
_POD = rf"{_PREDICTOR}\.componentSpecs\[0\]\.spec"
_VERSION_AND_WEIGHT = (
    rf"{_PREDICTOR}\.traffic",
    rf"{_PREDICTOR}\.graph\.modelUri",
    rf"{_POD}\.initContainers\[[a-z-]+\]\.args\[1\]",
)
_OF_AN_ENVIRONMENT = (
    *_VERSION_AND_WEIGHT,
    rf"{_PREDICTOR}\.replicas",
    rf"{_POD}\.containers\[[a-z-]+\]\.image",
)
_OF_A_CLUSTER = (
    *_OF_AN_ENVIRONMENT,
    r"\.metadata\.namespace",
    rf"{_POD}\.initContainers.*",
    rf"{_POD}\.volumes\[[a-z-]+-provision-location\].*",
)

every_model = pytest.mark.parametrize("model", MODELS)
every_cluster = pytest.mark.parametrize("environment", CLUSTERS)
every_environment = pytest.mark.parametrize("environment", ENVIRONMENTS)


def labels(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the labels that Seldon gives the pods of each predictor."""
    known = with_defaults(SeldonDeployment.parse(document))
    return {each.name: pod_labels(known, each) for each in known.spec.predictors}


@every_environment
def test_every_model_that_is_defined_has_an_overlay(environment: str) -> None:
    folder = MANIFESTS / "overlays" / environment
    assert set(MODELS) == {each.parent.name for each in folder.glob("*/weights.yaml")}


@every_model
def test_models_are_run_alike(model: str) -> None:
    text = yaml.safe_dump(deployment("staging", model))
    other = yaml.safe_load(re.sub(rf"(?<![a-z]){model}(?![a-z])", "iris", text))
    assert beyond(differences(deployment("staging", "iris"), other), _OF_AN_ENVIRONMENT) == set()


@every_model
def test_all_that_is_asked_for_by_the_models_name_bears_it(model: str) -> None:
    document = deployment("production", model)
    assert document["metadata"]["name"] == model
    for predictor in document["spec"]["predictors"]:
        (container,) = predictor["componentSpecs"][0]["spec"]["containers"]
        assert container["name"] == predictor["graph"]["name"] == model
        assert re.fullmatch(rf"s3://[a-z-]+/{model}/v[0-9]+", predictor["graph"]["modelUri"])


# Environments.


@every_model
def test_local_differs_from_the_base_in_versions_and_weights(model: str) -> None:
    base = only("SeldonDeployment", documents(f"base/{model}"))
    found = differences(base, deployment("local", model))
    assert beyond(found, _VERSION_AND_WEIGHT) == set()


@every_model
def test_a_cluster_differs_from_local_in_what_one_machine_lacks(model: str) -> None:
    found = differences(deployment("local", model), deployment("production", model))
    assert beyond(found, _OF_A_CLUSTER) == set()


@every_model
def test_production_differs_from_staging_in_versions_weights_replicas_and_image(model: str) -> None:
    found = differences(deployment("staging", model), deployment("production", model))
    assert beyond(found, _OF_AN_ENVIRONMENT) == set()


def test_a_difference_that_is_not_allowed_is_found() -> None:
    one = {"spec": {"predictors": [{"name": "baseline", "traffic": 90, "labels": {"a": "b"}}]}}
    other = {"spec": {"predictors": [{"name": "baseline", "traffic": 80}]}}
    assert beyond(differences(one, other), _VERSION_AND_WEIGHT) == {
        ".spec.predictors[baseline].labels.a"
    }


@every_model
@every_cluster
def test_every_document_is_in_the_models_namespace(environment: str, model: str) -> None:
    found = documents(f"overlays/{environment}/{model}")
    assert {each["metadata"]["namespace"] for each in found} == {"models"}


@every_environment
def test_an_overlay_fails_when_the_predictors_of_the_base_moved(
    environment: str, tmp_path: Path
) -> None:
    manifests = copied(tmp_path)
    file = manifests / "base/digits/seldondeployment.yaml"
    base = yaml.safe_load(file.read_text())
    base["spec"]["predictors"].reverse()
    file.write_text(yaml.safe_dump(base))
    with pytest.raises(AssertionError, match="test"):
        rendered(manifests / "overlays" / environment / "digits")


def test_a_promotion_is_a_diff_of_weights_and_version(tmp_path: Path) -> None:
    manifests = copied(tmp_path)
    file = manifests / "overlays/production/iris/weights.yaml"
    text = file.read_text().replace("iris/v1}", "iris/v2}").replace("value: 90}", "value: 100}")
    file.write_text(text.replace("value: 10}", "value: 0}"))
    promoted = only("SeldonDeployment", rendered(manifests / "overlays/production/iris"))
    assert differences(deployment("production", "iris"), promoted) == {
        ".spec.predictors[baseline].traffic",
        ".spec.predictors[candidate].traffic",
        ".spec.predictors[baseline].graph.modelUri",
        ".spec.predictors[baseline].componentSpecs[0].spec"
        ".initContainers[iris-model-initializer].args[1]",
    }


# Images.


@every_model
@every_cluster
def test_no_image_can_change_under_its_name(environment: str, model: str) -> None:
    for pod in pods(deployment(environment, model)):
        for container in (*pod["initContainers"], *pod["containers"]):
            assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"])
            assert ":latest" not in container["image"]


@every_cluster
def test_the_rollout_controllers_image_is_named_by_its_digest(environment: str) -> None:
    controller = only("Deployment", documents(f"overlays/{environment}/rollout"))
    (container,) = controller["spec"]["template"]["spec"]["containers"]
    assert re.fullmatch(r"ghcr\.io/abserve/rollout@sha256:[0-9a-f]{64}", container["image"])
    assert controller["metadata"]["namespace"] == "models"


# How a pod begins and ends.


@every_model
def test_probes_ask_the_server_about_its_models(model: str) -> None:
    for pod in pods(deployment("production", model)):
        (container,) = pod["containers"]
        asked = {
            probe: container[probe]["httpGet"]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        }
        assert asked == {
            "startupProbe": {"path": "/v2/health/ready", "port": "http"},
            "readinessProbe": {"path": "/v2/health/ready", "port": "http"},
            "livenessProbe": {"path": "/v2/health/live", "port": "http"},
        }


@every_model
def test_a_pod_has_time_to_drain(model: str) -> None:
    for pod in pods(deployment("production", model)):
        (container,) = pod["containers"]
        command = container["lifecycle"]["preStop"]["exec"]["command"]
        pause = int(command[-1].removeprefix("/bin/sleep "))
        needed = pause + USUAL_SECONDS + _FINISH_SECONDS
        assert needed == 18
        # What is left is for a node that is busy: processes are slow to be told and to end.
        assert pod["terminationGracePeriodSeconds"] >= needed + 10
        # Nobody changes the drain that was reckoned with.
        assert "ABSERVE_DRAIN_SECONDS" not in {each["name"] for each in container["env"]}


@every_model
def test_the_folders_that_the_server_writes_to_are_mounted(model: str) -> None:
    for pod in pods(deployment("production", model)):
        (container,) = pod["containers"]
        mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        # The image runs in /tmp, and MLServer writes its metrics to .metrics where it runs.
        assert mounted == {"/tmp": "tmp", "/tmp/.metrics": "metrics"}
        assert set(mounted.values()) <= {each["name"] for each in pod["volumes"]}


# Where pods run, and how many may go.


@every_model
@every_cluster
def test_a_disruption_budget_is_of_the_pods_of_one_predictor(environment: str, model: str) -> None:
    selected = {
        budget["metadata"]["name"]: [
            name
            for name, given in labels(deployment(environment, model)).items()
            if budget["spec"]["selector"]["matchLabels"].items() <= given.items()
        ]
        for budget in documents(f"overlays/{environment}/{model}")
        if budget["kind"] == "PodDisruptionBudget"
    }
    assert selected == {f"{model}-baseline": ["baseline"], f"{model}-candidate": ["candidate"]}


@every_cluster
def test_no_budget_selects_the_pods_of_another_model(environment: str) -> None:
    given = [each for model in MODELS for each in labels(deployment(environment, model)).values()]
    budgets = [
        each
        for model in MODELS
        for each in documents(f"overlays/{environment}/{model}")
        if each["kind"] == "PodDisruptionBudget"
    ]
    selectors = [each["spec"]["selector"]["matchLabels"].items() for each in budgets]
    for pod in given:
        assert sum(selector <= pod.items() for selector in selectors) == 1


@every_model
def test_the_pods_of_a_predictor_are_spread_by_themselves(model: str) -> None:
    document = deployment("production", model)
    given = labels(document)
    for predictor, pod in zip(document["spec"]["predictors"], pods(document), strict=True):
        assert [each["topologyKey"] for each in pod["topologySpreadConstraints"]] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        for constraint in pod["topologySpreadConstraints"]:
            selector = constraint["labelSelector"]["matchLabels"].items()
            assert [name for name, own in given.items() if selector <= own.items()] == [
                predictor["name"]
            ]


# Security.


@every_model
@every_environment
def test_every_container_keeps_to_the_restricted_profile(environment: str, model: str) -> None:
    for pod in pods(deployment(environment, model)):
        assert restricted_faults(pod) == []
        assert pod["automountServiceAccountToken"] is False
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_seldons_own_initializer_would_not_keep_to_it() -> None:
    (pod, _) = pods(deployment("production", "iris"))
    seldons = {"name": "iris-model-initializer", "image": "seldonio/rclone-storage-initializer"}
    assert restricted_faults(pod | {"initContainers": [seldons]}) == [
        "iris-model-initializer: allowPrivilegeEscalation",
        "iris-model-initializer: capabilities.drop",
    ]


@every_model
@every_cluster
def test_the_initializer_is_the_one_that_seldon_leaves_alone(environment: str, model: str) -> None:
    document = deployment(environment, model)
    for predictor, pod in zip(document["spec"]["predictors"], pods(document), strict=True):
        (container,) = pod["initContainers"]
        graph = predictor["graph"]
        assert container["name"] == f"{model}-{INITIALIZER}"
        assert container["args"][:3] == ["copy", graph["modelUri"], "/mnt/models"]
        assert container["envFrom"] == [{"secretRef": {"name": graph["envSecretRefName"]}}]
        location = f"{model}-provision-location"
        assert container["volumeMounts"] == [{"name": location, "mountPath": "/mnt/models"}]
        assert {"name": location, "emptyDir": {}} in pod["volumes"]
