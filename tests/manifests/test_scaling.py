"""Scaling: both predictors alike, by queries that are valid and numbers that the page states."""

import math
import os
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from tests.manifests.crd import crd_faults
from tests.manifests.rendering import MANIFESTS, rendered

MODELS = ("iris", "breast-cancer", "diabetes", "digits")
TOLERANCE = 0.1


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


def wished(n_replicas: int, total: float, threshold: float) -> int:
    """Return what an HPA makes of an AverageValue: nothing within a tenth, else rounded up."""
    if abs(total / (n_replicas * threshold) - 1) <= TOLERANCE:
        return n_replicas
    return min(5, max(1, math.ceil(total / threshold)))


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
        assert f'"{keda["metadata"]["name"]}"' in query
        assert "predictor" not in query
        assert trigger["metricType"] == "AverageValue"


def test_it_goes_up_after_30_seconds_and_down_after_five_minutes(keda: dict[str, Any]) -> None:
    advanced = specs(keda)[0]["kedaSpec"]["advanced"]
    behaviour = advanced["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleUp"]["stabilizationWindowSeconds"] == 30
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] == 300


@pytest.mark.parametrize("n_replicas", [1, 2, 3, 4])
def test_more_replicas_are_wished_for_above_70_percent(n_replicas: int) -> None:
    assert wished(n_replicas, n_replicas * 0.70, 0.64) == n_replicas
    assert wished(n_replicas, n_replicas * 0.71, 0.64) == n_replicas + 1


@pytest.mark.parametrize(("n_replicas", "share"), [(2, 0.32), (3, 0.426), (4, 0.48), (5, 0.512)])
def test_fewer_are_wished_for_as_soon_as_one_less_would_do(n_replicas: int, share: float) -> None:
    assert wished(n_replicas, n_replicas * (share + 0.005), 0.64) == n_replicas
    assert wished(n_replicas, n_replicas * (share - 0.005), 0.64) == n_replicas - 1


def test_the_threshold_is_the_one_that_is_written(tmp_path: Path) -> None:
    (cpu, _) = specs(scaled(tmp_path / "a", "keda", "iris", (90, 10)))[0]["kedaSpec"]["triggers"]
    (metric,) = specs(scaled(tmp_path / "b", "hpa", "iris", (100, 0)))[0]["hpaSpec"]["metricsv2"]
    assert cpu["metadata"]["threshold"] == "0.64"
    assert metric["resource"]["target"] == {"type": "AverageValue", "averageValue": "640m"}


def test_an_hpa_scales_a_baseline_that_serves_alone(tmp_path: Path) -> None:
    deployment = scaled(tmp_path, "hpa", "iris", (100, 0))
    assert crd_faults(deployment) == []
    baseline, candidate = specs(deployment)
    assert (baseline["hpaSpec"]["minReplicas"], baseline["hpaSpec"]["maxReplicas"]) == (1, 5)
    assert "hpaSpec" not in candidate


def test_an_hpa_cannot_be_rendered_in_an_experiment(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="test"):
        scaled(tmp_path, "hpa", "iris", (90, 10))


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize("model", MODELS)
def test_two_that_share_the_requests_have_as_many_replicas(environment: str, model: str) -> None:
    found = rendered(MANIFESTS / "overlays" / environment / model)
    (deployment,) = [each for each in found if each["kind"] == "SeldonDeployment"]
    baseline, candidate = deployment["spec"]["predictors"]
    if candidate["traffic"]:
        assert baseline.get("replicas") == candidate.get("replicas")
        for key in ("kedaSpec", "hpaSpec"):
            own = [each["componentSpecs"][0].get(key) for each in (baseline, candidate)]
            assert own[0] == own[1]


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_an_overlay_may_have_it(environment: str, tmp_path: Path) -> None:
    overlay = relative(tmp_path, MANIFESTS / "overlays" / environment / "iris")
    component = relative(tmp_path, MANIFESTS / "base/scaling/keda")
    text = f"resources: [{overlay}]\ncomponents: [{component}]\n"
    (tmp_path / "kustomization.yaml").write_text(text)
    (deployment,) = [each for each in rendered(tmp_path) if each["kind"] == "SeldonDeployment"]
    assert crd_faults(deployment) == []
    assert all(each["kedaSpec"]["maxReplicaCount"] == 5 for each in specs(deployment))
