"""The four models, and how their pods run: images, probes, drain, nodes, security."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from abserve.errors import ManifestError
from abserve.keys import read_public_keys
from abserve.names import check_served_model_name
from abserve.seldon import SeldonDeployment
from abserve.seldon.defaults import with_defaults
from abserve.seldon.naming import LONGEST_NAME, deployment_name, pod_labels, service_name
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
from tests.manifests.overlays import OF_A_MODEL
from tests.manifests.rendering import MANIFESTS, rendered

POD_NAMES = ("containers", "initContainers", "volumes")

every_model = pytest.mark.parametrize("model", MODELS)
every_cluster = pytest.mark.parametrize("environment", CLUSTERS)
every_environment = pytest.mark.parametrize("environment", ENVIRONMENTS)


def labels(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the labels that Seldon gives the pods of each predictor."""
    known = with_defaults(SeldonDeployment.parse(document))
    return {each.name: pod_labels(known, each) for each in known.spec.predictors}


@every_model
def test_models_are_run_alike(model: str) -> None:
    text = yaml.safe_dump(deployment("staging", model))
    other = yaml.safe_load(re.sub(rf"(?<![a-z]){model}(?![a-z])", "iris", text))
    found = differences(deployment("staging", "iris"), other)
    assert beyond(found, OF_A_MODEL["SeldonDeployment"]) == set()


@every_model
def test_all_that_is_asked_for_by_the_models_name_bears_it(model: str) -> None:
    document = deployment("production", model)
    assert document["metadata"]["name"] == model
    for predictor in document["spec"]["predictors"]:
        (container,) = predictor["componentSpecs"][0]["spec"]["containers"]
        assert container["name"] == predictor["graph"]["name"] == model
        assert re.fullmatch(rf"s3://[a-z-]+/{model}/v[0-9]+", predictor["graph"]["modelUri"])


@every_model
@every_environment
def test_two_predictors_share_one_protocol_node_and_secret(environment: str, model: str) -> None:
    spec = deployment(environment, model)["spec"]
    assert spec["protocol"] == "v2"
    assert [each["name"] for each in spec["predictors"]] == ["baseline", "candidate"]
    for predictor in spec["predictors"]:
        assert predictor["annotations"] == {"seldon.io/no-engine": "true"}
        assert predictor["graph"].keys() == {"name", "type", "modelUri", "envSecretRefName"}
        assert predictor["graph"]["envSecretRefName"] == "model-repository"


@every_model
@every_environment
def test_every_container_says_what_it_needs(environment: str, model: str) -> None:
    for pod in pods(deployment(environment, model)):
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            needs = container["resources"]
            assert needs["requests"].keys() == {"cpu", "memory"}
            # A limit of CPU would throttle while the node is idle.
            assert needs["limits"].keys() == {"memory"}


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
        mounts = container["volumeMounts"]
        mounted = {each["mountPath"]: each["name"] for each in mounts if not each.get("readOnly")}
        # The image runs in /tmp, and MLServer writes its metrics to .metrics where it runs.
        assert mounted == {"/tmp": "tmp", "/tmp/.metrics": "metrics"}
        assert {each["name"] for each in mounts} <= {each["name"] for each in pod["volumes"]}


# What may be loaded.


@every_model
@every_cluster
def test_a_replica_loads_only_what_was_signed_with_a_key_in_git(
    environment: str, model: str
) -> None:
    keys = next(
        each
        for each in documents(f"overlays/{environment}/access")
        if (each["kind"], each["metadata"]["name"]) == ("ConfigMap", "signing-keys")
    )
    folder = MANIFESTS / "overlays" / environment / "access"
    assert keys["data"] == {"public.pem": (folder / "public.pem").read_text()}
    assert len(read_public_keys(folder / "public.pem")) == 1
    for pod in pods(deployment(environment, model)):
        (container,) = pod["containers"]
        (variable,) = [e for e in container["env"] if e["name"] == "ABSERVE_PUBLIC_KEY"]
        (mount,) = [e for e in container["volumeMounts"] if e["name"] == "signing-keys"]
        (volume,) = [e for e in pod["volumes"] if e["name"] == "signing-keys"]
        assert variable["value"] == f"{mount['mountPath']}/public.pem"
        assert volume["configMap"] == {"name": keys["metadata"]["name"]}
        assert keys["metadata"]["namespace"] == "models"


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


@every_model
@every_cluster
def test_the_operator_scales_both_predictors(environment: str, model: str) -> None:
    """Without its switch it makes no ScaledObject of a kedaSpec, and sets no replicas either."""
    for predictor in deployment(environment, model)["spec"]["predictors"]:
        (pods_,) = predictor["componentSpecs"]
        least, most = (pods_["kedaSpec"][f"{each}ReplicaCount"] for each in ("min", "max"))
        # In production one may be evicted.
        assert {"staging": 1, "production": 2}[environment] <= least <= most
        # The operator takes the first of kedaSpec, hpaSpec and replicas.
        assert "hpaSpec" not in pods_
        assert "replicas" not in predictor
    releases = {
        each["metadata"]["name"]: each["spec"]
        for each in documents("infrastructure/controllers")
        if each["kind"] == "HelmRelease"
    }
    assert releases["seldon-core"]["values"]["keda"]["enabled"] is True
    # An operator that watches ScaledObjects needs their definition.
    assert {"name": "keda"} in releases["seldon-core"]["dependsOn"]


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
        assert {"name": location, "emptyDir": {"sizeLimit": "2Gi"}} in pod["volumes"]


def test_the_longest_name_of_a_model_fits_everything_that_bears_it(tmp_path: Path) -> None:
    model = "a" * 44
    assert check_served_model_name(model, ManifestError) == model
    with pytest.raises(ManifestError, match="at most 44"):
        check_served_model_name(model + "a", ManifestError)
    manifests = copied(tmp_path)
    for folder in (manifests / "base/diabetes", manifests / "overlays/production/diabetes"):
        for file in folder.iterdir():
            file.write_text(file.read_text().replace("diabetes", model))
        folder.rename(folder.with_name(model))
    found = rendered(manifests / "overlays/production" / model)
    document = only("SeldonDeployment", found)
    known = with_defaults(SeldonDeployment.parse(document))
    names = [each["metadata"]["name"] for each in found]
    for predictor, pod in zip(known.spec.predictors, pods(document), strict=True):
        names += [deployment_name(known, predictor), service_name(known, predictor)]
        names += [each["name"] for key in POD_NAMES for each in pod[key]]
        for key, value in pod_labels(known, predictor).items():
            names += [key.rpartition("/")[2], value]
    assert max(len(each) for each in names) == LONGEST_NAME
