"""Every overlay renders, and what it renders is what Seldon and the local cluster take."""

from copy import deepcopy
from typing import Any

import pytest
import yaml

from abserve.seldon import SeldonDeployment, admit, supported
from tests.abserve.cluster.documents import seldon_deployment
from tests.abserve.seldon.documents import document
from tests.e2e.local_cluster import iris
from tests.manifests.crd import crd_faults
from tests.manifests.rendering import MANIFESTS, rendered

KUSTOMIZATIONS = sorted(
    each.parent.relative_to(MANIFESTS).as_posix()
    for each in MANIFESTS.rglob("kustomization.yaml")
    # A component renders as a part of others only.
    if yaml.safe_load(each.read_text())["kind"] == "Kustomization"
)
OVERLAYS = [each for each in KUSTOMIZATIONS if each.startswith("overlays/")]
LOCAL = [each for each in OVERLAYS if each.startswith("overlays/local/")]


def deployments(folder: str) -> list[dict[str, Any]]:
    return [each for each in rendered(MANIFESTS / folder) if each["kind"] == "SeldonDeployment"]


def test_there_are_overlays() -> None:
    assert "overlays/local/iris" in OVERLAYS


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_what_we_ship_fits_the_real_crd(folder: str) -> None:
    assert [fault for each in deployments(folder) for fault in crd_faults(each)] == []


@pytest.mark.parametrize("document", [document(), seldon_deployment(), iris()])
def test_what_tests_apply_fits_the_real_crd(document: dict[str, Any]) -> None:
    assert crd_faults(document) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_admitted(overlay: str) -> None:
    for each in deployments(overlay):
        admit(SeldonDeployment.parse(each))


@pytest.mark.parametrize("overlay", LOCAL)
def test_a_local_overlay_runs_on_one_machine(overlay: str) -> None:
    for each in deployments(overlay):
        supported(SeldonDeployment.parse(each))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_graph_node_has_the_container_of_its_name(overlay: str) -> None:
    for each in deployments(overlay):
        for predictor in SeldonDeployment.parse(each).spec.predictors:
            assert predictor.model_container.name == predictor.graph.name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_request_fits_all_predictors(overlay: str) -> None:
    for each in deployments(overlay):
        nodes = {each.graph.name for each in SeldonDeployment.parse(each).spec.predictors}
        assert len(nodes) == 1


def test_iris_is_split_90_to_10_between_two_versions() -> None:
    (iris,) = deployments("overlays/local/iris")
    assert [
        (each["name"], each["graph"]["modelUri"], each["traffic"])
        for each in iris["spec"]["predictors"]
    ] == [("baseline", "s3://models/iris/v1", 90), ("candidate", "s3://models/iris/v2", 10)]


def test_the_crd_refuses_what_it_should() -> None:
    (iris,) = deployments("overlays/local/iris")
    wrong = deepcopy(iris)
    wrong["spec"]["predictors"][0]["traffic"] = "90"
    wrong["spec"]["predictors"][1]["graph"]["modelURI"] = "s3://models/iris/v2"
    assert len(crd_faults(wrong)) == 2


def test_numbers_and_strings_are_both_taken_where_kubernetes_takes_both() -> None:
    (iris,) = deployments("overlays/local/iris")
    pod = iris["spec"]["predictors"][0]["componentSpecs"][0]
    pod["pdbSpec"] = {"maxUnavailable": "10%", "minAvailable": 1}
    pod["metadata"] = {"creationTimestamp": None}
    pod["spec"]["containers"][0]["resources"]["limits"] = {"cpu": 1, "memory": "1Gi"}
    assert crd_faults(iris) == []
    pod["spec"]["containers"][0]["resources"]["limits"] = {"memory": "1 Gigabyte"}
    assert len(crd_faults(iris)) == 1
