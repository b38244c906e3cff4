"""Scaling: both predictors alike, by queries that are valid and numbers that the page states."""

import os
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from tests.manifests.crd import crd_faults
from tests.manifests.rendering import MANIFESTS, rendered

MODELS = ("iris", "breast-cancer", "diabetes", "digits")


def scaled(folder: Path, component: str, model: str, weights: tuple[int, int]) -> dict[str, Any]:
    """Render a model with these weights, as docs/scaling.md shows."""
    alone = folder / "weighted"
    alone.mkdir(parents=True)
    base = MANIFESTS / "base"
    (alone / "kustomization.yaml").write_text(
        f"""
resources: [{relative(alone, base / model)}]
patches:
  - target: {{kind: SeldonDeployment}}
    patch: |-
      - {{op: replace, path: /spec/predictors/0/traffic, value: {weights[0]}}}
      - {{op: replace, path: /spec/predictors/1/traffic, value: {weights[1]}}}
"""
    )
    (folder / "kustomization.yaml").write_text(
        f"resources: [weighted]\ncomponents: [{relative(folder, base / 'scaling' / component)}]\n"
    )
    found = [each for each in rendered(folder) if each["kind"] == "SeldonDeployment"]
    return found[0]


def relative(folder: Path, to: Path) -> str:
    return os.path.relpath(to, folder.resolve())


def specs(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    return [each["componentSpecs"][0] for each in deployment["spec"]["predictors"]]


@pytest.fixture(params=MODELS)
def keda(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return scaled(tmp_path, "keda", request.param, (90, 10))


def test_seldon_takes_it(keda: dict[str, Any]) -> None:
    assert crd_faults(keda) == []


def test_both_predictors_are_scaled_by_the_same_numbers(keda: dict[str, Any]) -> None:
    baseline, candidate = specs(keda)
    assert baseline["kedaSpec"] == candidate["kedaSpec"]
    assert (baseline["kedaSpec"]["minReplicaCount"], baseline["kedaSpec"]["maxReplicaCount"]) == (
        1,
        5,
    )


def test_a_trigger_asks_for_the_whole_seldondeployment(keda: dict[str, Any]) -> None:
    for trigger in specs(keda)[0]["kedaSpec"]["triggers"]:
        query = trigger["metadata"]["query"]
        promql_parser.parse(query)
        n_series = query.count("namespace=")
        assert query.count(f'="{keda["metadata"]["name"]}"') == n_series > 0
        assert "predictor" not in query
        assert trigger["metricType"] == "AverageValue"


def test_it_goes_up_after_30_seconds_and_down_after_five_minutes(keda: dict[str, Any]) -> None:
    advanced = specs(keda)[0]["kedaSpec"]["advanced"]
    behaviour = advanced["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleUp"]["stabilizationWindowSeconds"] == 30
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_a_trigger_answers_with_replicas(keda: dict[str, Any]) -> None:
    cpu, in_flight = specs(keda)[0]["kedaSpec"]["triggers"]
    assert [each["metadata"]["threshold"] for each in (cpu, in_flight)] == ["1", "1"]
    assert in_flight["metadata"]["query"].startswith("ceil(")


@pytest.mark.parametrize("model", MODELS)
def test_an_hpa_scales_a_baseline_that_serves_alone(tmp_path: Path, model: str) -> None:
    deployment = scaled(tmp_path, "hpa", model, (100, 0))
    assert crd_faults(deployment) == []
    baseline, candidate = specs(deployment)
    assert (baseline["hpaSpec"]["minReplicas"], baseline["hpaSpec"]["maxReplicas"]) == (1, 5)
    assert "hpaSpec" not in candidate
    (metric,) = baseline["hpaSpec"]["metricsv2"]
    assert metric["containerResource"] == {
        "name": "cpu",
        "container": baseline["spec"]["containers"][0]["name"],
        "target": {"type": "AverageValue", "averageValue": "640m"},
    }


def test_an_hpa_cannot_be_rendered_in_an_experiment(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="test"):
        scaled(tmp_path, "hpa", "iris", (90, 10))


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize("model", MODELS)
def test_an_environment_scales_both_predictors_alike(environment: str, model: str) -> None:
    found = rendered(MANIFESTS / "overlays" / environment / model)
    (deployment,) = [each for each in found if each["kind"] == "SeldonDeployment"]
    assert crd_faults(deployment) == []
    baseline, candidate = specs(deployment)
    assert baseline["kedaSpec"] == candidate["kedaSpec"]
    assert 1 <= baseline["kedaSpec"]["minReplicaCount"] <= baseline["kedaSpec"]["maxReplicaCount"]
    for trigger in baseline["kedaSpec"]["triggers"]:
        assert f'="{model}"' in trigger["metadata"]["query"]


def test_the_operator_makes_scaled_objects() -> None:
    found = rendered(MANIFESTS / "infrastructure/controllers")
    (seldon,) = [
        each
        for each in found
        if (each["kind"], each["metadata"]["name"]) == ("HelmRelease", "seldon-core")
    ]
    assert seldon["spec"]["values"]["keda"] == {"enabled": True}
    assert {"name": "keda"} in seldon["spec"]["dependsOn"]
