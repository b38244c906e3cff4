"""Overlays are one base and a difference file; a promotion is a diff of weights and versions."""

import difflib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.manifests.models import CLUSTERS, ENVIRONMENTS, MODELS, beyond, copied, documents
from tests.manifests.overlays import WEIGHT_AND_VERSION, changed, undeclared, with_values
from tests.manifests.rendering import MANIFESTS, rendered

every_model = pytest.mark.parametrize("model", MODELS)
every_cluster = pytest.mark.parametrize("environment", CLUSTERS)
every_environment = pytest.mark.parametrize("environment", ENVIRONMENTS)

CHANGED_LINE = re.compile(
    r"[-+]- \{op: replace, path: /spec/predictors/[01]/(traffic|graph/modelUri), +value: .*\}"
)


@every_environment
def test_every_model_that_is_defined_has_an_overlay(environment: str) -> None:
    folder = MANIFESTS / "overlays" / environment
    assert set(MODELS) == {each.parent.name for each in folder.glob("*/weights.yaml")}


@every_model
def test_environments_differ_in_weights_versions_replicas_and_digest(model: str) -> None:
    assert undeclared(MANIFESTS, model) == []


def test_production_may_have_other_numbers_of_replicas(tmp_path: Path) -> None:
    manifests = copied(tmp_path)
    place = "/spec/predictors/{}/componentSpecs/0/kedaSpec/maxReplicaCount"
    for index in (0, 1):
        _append(
            manifests / "overlays/production/iris/weights.yaml",
            f"- {{op: replace, path: {place.format(index)}, value: 9}}\n",
        )
    assert undeclared(manifests, "iris") == []


def _write(file: Path, text: str) -> None:
    file.write_text(text)


def _append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            lambda overlays: _append(
                overlays / "production/iris/weights.yaml",
                "- {op: add, path: /spec/predictors/0/labels, value: {team: a}}\n",
            ),
            "SeldonDeployment iris: .spec.predictors[baseline].labels.team",
        ),
        (
            lambda overlays: _append(
                overlays / "production/iris/weights.yaml",
                "- {op: add, path: /spec/predictors/0/graph/type, value: MODEL}\n",
            ),
            "the operations of staging and production",
        ),
        (
            lambda overlays: _replace(
                overlays / "local/iris/weights.yaml", "0/traffic, value: 90", "0/name, value: mine"
            ),
            "the operations of local",
        ),
        (
            lambda overlays: _write(overlays / "staging/iris/extra.yaml", ""),
            "staging has the files ['extra.yaml', 'kustomization.yaml', 'weights.yaml']",
        ),
        (
            lambda overlays: _append(overlays / "production/iris/kustomization.yaml", "# Mine.\n"),
            "the kustomizations of staging and production",
        ),
        (
            lambda overlays: _append(
                overlays / "local/iris/kustomization.yaml", "commonAnnotations: {a: b}\n"
            ),
            "the kustomization of local, beside components and transformers",
        ),
        (
            lambda overlays: _append(
                overlays / "production/environment/kustomization.yaml",
                "patches:\n  - target: {kind: PodDisruptionBudget}\n    patch: |-\n"
                "      - {op: replace, path: /spec/maxUnavailable, value: 0}\n",
            ),
            "PodDisruptionBudget iris-baseline: .spec.maxUnavailable",
        ),
        (
            lambda overlays: _replace(
                overlays / "staging/environment/kustomization.yaml",
                "namespace: models",
                "namespace: others",
            ),
            "ConfigMap iris-experiment: .metadata.namespace",
        ),
    ],
)
def test_any_other_difference_is_found(
    change: Callable[[Path], None], found: str, tmp_path: Path
) -> None:
    manifests = copied(tmp_path)
    change(manifests / "overlays")
    assert found in undeclared(manifests, "iris")


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


@every_model
@every_cluster
def test_a_promotion_is_three_diffs_of_weights_and_versions(
    environment: str, model: str, tmp_path: Path
) -> None:
    """The three commits of docs/kubernetes.md, with everything else that each could change."""
    manifests = copied(tmp_path)
    folder = manifests / "overlays" / environment / model
    file = folder / "weights.yaml"
    file.write_text(with_values(file.read_text(), (50, 50), ("v1", "v2")))
    for traffic, versions in (
        ((0, 100), ("v1", "v2")),
        ((0, 100), ("v2", "v2")),
        ((100, 0), ("v2", "v2")),
    ):
        text, objects = file.read_text(), rendered(folder)
        file.write_text(with_values(text, traffic, versions))
        diff = difflib.unified_diff(text.splitlines(), file.read_text().splitlines(), n=0)
        lines = [each for each in diff if not each.startswith(("---", "+++", "@@"))]
        assert lines
        assert [each for each in lines if not CHANGED_LINE.fullmatch(each)] == []
        found = changed(objects, rendered(folder))
        assert found
        for kind, path in found:
            assert beyond({path}, WEIGHT_AND_VERSION.get(kind, ())) == set(), kind
