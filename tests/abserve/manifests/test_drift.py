"""An overlay is its base and a declared difference."""

from pathlib import Path

import pytest
import yaml

from tests.abserve.manifests.trees import (
    WEIGHTS,
    found,
    iris,
    kustomization,
    messages,
    overlay,
    two,
)
from tests.abserve.seldon.documents import predictor


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with a base of two predictors."""
    kustomization(tmp_path / "base/iris", iris())
    return tmp_path


def test_a_patch_that_tests_what_it_replaces_is_a_difference(root: Path) -> None:
    overlay(root, "local", WEIGHTS)
    assert messages(root, "drift") == []


def test_a_base_that_moved_is_told_with_the_reason_of_kubectl(root: Path) -> None:
    overlay(root, "local", WEIGHTS)
    kustomization(root / "base/iris", iris(*reversed(two())))
    (finding,) = found(root, "render")
    assert finding.file == str(root / "overlays/local/iris/kustomization.yaml")
    assert "testing value /spec/predictors/0/name failed" in finding.message


def test_a_patch_that_does_not_test_its_position_is_an_error(root: Path) -> None:
    overlay(root, "local", [each for each in WEIGHTS if each["path"] != "/spec/predictors/1/name"])
    (message,) = messages(root, "drift")
    assert "replace /spec/predictors/1/traffic counts on position 1" in message


def test_a_test_that_comes_too_late_is_none(root: Path) -> None:
    overlay(root, "local", list(reversed(WEIGHTS)))
    assert len(messages(root, "drift")) == 2


def test_a_position_that_is_copied_from_has_to_be_tested_as_well(root: Path) -> None:
    weight = {
        "op": "copy",
        "path": "/spec/predictors/1/traffic",
        "from": "/spec/predictors/0/traffic",
    }
    overlay(root, "local", [WEIGHTS[2], weight])
    (message,) = messages(root, "drift")
    assert "copy /spec/predictors/0/traffic counts on position 0" in message


@pytest.mark.parametrize("path", ["/spec/predictors", "/spec"])
def test_a_patch_that_leaves_nothing_of_the_predictors_is_an_error(path: str, root: Path) -> None:
    """Whatever then differs would be declared."""
    value = iris()["spec"] if path == "/spec" else iris()["spec"]["predictors"]
    overlay(root, "local", [{"op": "replace", "path": path, "value": value}])
    (message,) = messages(root, "drift")
    assert f"replace {path} leaves nothing of the base's predictors" in message


def test_a_patch_file_is_named_as_the_place_to_mend(root: Path) -> None:
    folder = overlay(root, "local", WEIGHTS)
    (folder / "weights.yaml").write_text(yaml.safe_dump(WEIGHTS[1:2]))
    patches = [{"path": "weights.yaml", "target": {"kind": "SeldonDeployment"}}]
    kustomization(folder, resources=["../../../base/iris"], patches=patches)
    (finding,) = found(root, "drift")
    assert finding.file == str(folder / "weights.yaml")


MERGE = {
    "apiVersion": "machinelearning.seldon.io/v1",
    "kind": "SeldonDeployment",
    "metadata": {"name": "iris"},
    "spec": {"predictors": [predictor("baseline", "v1", traffic=100)]},
}


def test_a_merge_patch_of_predictors_is_an_error_and_so_is_what_it_drops(root: Path) -> None:
    overlay(root, "local", MERGE)
    merge, drop = sorted(messages(root, "drift"), reverse=True)
    assert "merges into spec.predictors" in merge
    assert "drops candidate, which the base has" in drop


def test_a_merge_patch_of_something_else_is_a_declared_difference(root: Path) -> None:
    overlay(root, "local", {**MERGE, "spec": {"annotations": {"abserve.io/sticky": "true"}}})
    assert messages(root, "drift") == []


def test_a_predictor_that_is_removed_is_an_error_though_the_weights_are_right(root: Path) -> None:
    whole = {"op": "replace", "path": "/spec/predictors/0/traffic", "value": 100}
    remove = {"op": "remove", "path": "/spec/predictors/1"}
    overlay(root, "local", [WEIGHTS[0], whole, WEIGHTS[2], remove])
    (finding,) = found(root, "drift")
    assert finding.subject == "SeldonDeployment/iris"
    assert "drops candidate" in finding.message


def test_an_overlay_may_add_a_predictor(root: Path) -> None:
    shadow = predictor("shadow", "v3", shadow=True, traffic=10)
    overlay(root, "local", [{"op": "add", "path": "/spec/predictors/-", "value": shadow}])
    assert messages(root, "drift") == []


def test_a_seldon_deployment_of_the_overlays_own_is_an_error(root: Path) -> None:
    kustomization(root / "overlays/local/iris", iris())
    assert "is in no base that this overlay includes" in messages(root, "drift")[0]


def test_a_difference_that_no_patch_names_is_an_error(root: Path) -> None:
    replacement = {
        "source": {"kind": "SeldonDeployment", "fieldPath": "spec.predictors.0.name"},
        "targets": [
            {
                "select": {"kind": "SeldonDeployment"},
                "fieldPaths": ["spec.predictors.0.graph.modelUri"],
            }
        ],
    }
    overlay(root, "local", WEIGHTS, replacements=[replacement])
    assert (
        "differs from its base at /spec/predictors/0/graph/modelUri" in (messages(root, "drift")[0])
    )


def test_images_namespace_and_labels_are_fields_of_kustomize(root: Path) -> None:
    images = [{"name": "abserve/runtimes", "newTag": "0.2.0"}]
    labels = [{"pairs": {"team": "flowers"}}]
    overlay(root, "local", WEIGHTS, images=images, labels=labels, namespace="shop")
    assert messages(root, "drift") == []


def test_what_a_component_patches_is_declared(root: Path) -> None:
    target = {"kind": "SeldonDeployment"}
    kustomization(
        root / "base/more",
        apiVersion="kustomize.config.k8s.io/v1alpha1",
        kind="Component",
        patches=[{"patch": yaml.safe_dump(WEIGHTS), "target": target}],
    )
    kustomization(
        root / "overlays/local/iris",
        resources=["../../../base/iris"],
        components=["../../../base/more"],
    )
    assert messages(root, "drift") == []
