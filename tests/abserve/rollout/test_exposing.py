"""The controller's metrics say what the log says."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from abserve.errors import ExperimentError, KubernetesError
from abserve.rollout.exposing import Exposed, serve
from tests.abserve.rollout.scene import BEGAN, MINUTE, Scene
from tests.abserve.seldon.documents import document, predictor

Labels = frozenset[tuple[str, str]]


def samples(exposed: Exposed) -> dict[tuple[str, Labels], float]:
    """What Prometheus would scrape, by name and labels but for the SeldonDeployment's."""
    registry = CollectorRegistry()
    registry.register(exposed)
    text = generate_latest(registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("deployment") == "iris"
            found[sample.name.removeprefix("abserve_rollout_"), frozenset(labels.items())] = (
                sample.value
            )
    return found


def labelled(found: dict[tuple[str, Labels], float], name: str) -> Iterator[dict[str, str]]:
    return (dict(labels) for each, labels in found if each == name)


def of(**labels: str) -> Labels:
    return frozenset(labels.items())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Two versions that are equally good: for half an hour nothing is decided."""
    return Scene(tmp_path, weight_steps=(20, 50), step_seconds=10 * MINUTE)


def watch_until_another_leads(scene: Scene, minutes: int) -> None:
    def lose() -> None:
        scene.leading.held = False

    scene.clock.plan(minutes * MINUTE, lose)
    with pytest.raises(KubernetesError, match="another leads now"):
        scene.controller().keep_watching(scene.world())


def test_nothing_is_shown_before_the_first_look() -> None:
    assert samples(Exposed("iris")) == {}


def test_a_look_that_finds_no_rollout_is_shown_as_one() -> None:
    exposed = Exposed("iris")
    exposed.look(None, 1234.0)
    assert samples(exposed) == {
        ("last_look_timestamp_seconds", of()): 1234.0,
        ("running", of()): 0.0,
    }


def test_a_rollout_under_way_is_shown(scene: Scene) -> None:
    found: dict[tuple[str, Labels], float] = {}
    scene.clock.plan(3.5 * MINUTE, lambda: found.update(samples(scene.exposed)))
    scene.run()
    assert found["running", of()] == 1.0
    assert list(labelled(found, "info")) == [
        {
            "model": "iris",
            "metric": "accuracy",
            "baseline_version": "v1",
            "candidate_version": "v2",
        }
    ]
    assert found["weight_percent", of(variant="candidate")] == 20.0
    assert found["weight_percent", of(variant="baseline")] == 80.0
    assert found["found_weight_percent", of(variant="candidate")] == 20.0
    assert found["weights_in_force_timestamp_seconds", of()] == scene.log().state.began_at
    assert found["interval_seconds", of()] == MINUTE
    assert found["blocks", of()] == 3.0
    assert found["units", of(variant="candidate")] == 3 * 120
    assert found["units", of(variant="baseline")] == 3 * 480
    assert found["last_block_timestamp_seconds", of()] == BEGAN + 3 * MINUTE
    assert 0 <= BEGAN + 3.5 * MINUTE - found["last_look_timestamp_seconds", of()] <= 2.0
    assert found["decision", of(decision="CONTINUE")] == 1.0
    assert found["decision", of(decision="INVALID")] == 0.0
    assert list(labelled(found, "outcome")) == []


def test_what_is_shown_is_what_the_latest_decision_found(scene: Scene) -> None:
    found: dict[tuple[str, Labels], float] = {}
    scene.clock.plan(3.5 * MINUTE, lambda: found.update(samples(scene.exposed)))
    scene.run()
    decided = [each for each in scene.decisions() if each.at <= BEGAN + 3.5 * MINUTE][-1]
    analysis = decided.conclusion["analysis"]
    assert found["effect", of(metric="accuracy")] == analysis["effect"]
    assert found["effect_lower", of(metric="accuracy")] == analysis["interval"][0]
    assert found["effect_upper", of(metric="accuracy")] == analysis["interval"][1]
    assert ("effect", of(metric="error_rate")) in found
    for question, findings in (("claim", analysis["claims"]), ("harm", analysis["harms"])):
        for each in findings:
            labels = of(question=question, metric=each["metric"], statement=each["statement"])
            assert found["evidence", labels] == each["log_evidence"]
            assert found["evidence_bar", labels] == each["log_bar"]
    assert len(list(labelled(found, "evidence"))) == 4
    ratio = analysis["sample_ratio"]
    assert found["sample_ratio_evidence", of()] == ratio["log_evidence"]
    assert found["sample_ratio_evidence_bar", of()] == ratio["log_bar"]
    assert found["missing", of()] == 0.0
    assert found["decided_timestamp_seconds", of(decision="CONTINUE")] == decided.at


def test_units_that_arrive_in_other_shares_show_as_invalid(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.servers.shares = (0.5, 0.5)
    end = scene.run()
    scene.exposed.look(scene.log().state, end.at)
    found = samples(scene.exposed)
    assert found["sample_ratio_evidence", of()] >= found["sample_ratio_evidence_bar", of()]
    assert found["decision", of(decision="INVALID")] == 1.0
    assert found["outcome", of(outcome="invalid")] == 1.0
    assert found["running", of()] == 0.0


def test_a_controller_that_waits_for_the_next_candidate_shows_the_last_rollout(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, 0.60, 0.90)
    watch_until_another_leads(scene, 30)
    found = samples(scene.exposed)
    assert found["outcome", of(outcome="promoted")] == 1.0
    assert found["running", of()] == 0.0
    assert found["last_look_timestamp_seconds", of()] >= BEGAN + 29 * MINUTE


def test_weights_that_somebody_set_after_the_end_are_shown(tmp_path: Path) -> None:
    """An alert on a rollout that ended as invalid ends with them."""
    scene = Scene(tmp_path)
    scene.servers.shares = (0.5, 0.5)
    seen: list[float] = []

    def see() -> None:
        seen.append(samples(scene.exposed)["found_weight_percent", of(variant="baseline")])

    def roll_back() -> None:
        edited = scene.cluster.get("iris")
        baseline, candidate = edited["spec"]["predictors"]
        baseline["traffic"], candidate["traffic"] = 100, 0
        scene.cluster.write(edited, "somebody")

    scene.clock.plan(20 * MINUTE, see)
    scene.clock.plan(20 * MINUTE, roll_back)
    scene.clock.plan(21 * MINUTE, see)
    watch_until_another_leads(scene, 22)
    assert seen == [100 - scene.log().state.weight_candidate, 100.0]
    assert scene.log().state.weight_candidate > 0


def test_no_weights_are_shown_of_a_deployment_that_is_gone() -> None:
    exposed = Exposed("iris")
    exposed.found(document(predictor("baseline", "v1", traffic=100)))
    exposed.found(None)
    exposed.look(None, 1234.0)
    assert list(labelled(samples(exposed), "found_weight_percent")) == []


def test_a_cluster_that_does_not_answer_is_not_looked_at(scene: Scene) -> None:
    def go_down() -> None:
        scene.cluster.down = True

    scene.clock.plan(2 * MINUTE, go_down)
    watch_until_another_leads(scene, 30)
    found = samples(scene.exposed)
    assert found["last_look_timestamp_seconds", of()] <= BEGAN + 2 * MINUTE


def test_who_does_not_lead_shows_nothing() -> None:
    exposed = Exposed("iris")
    exposed.look(None, 1234.0)
    exposed.stand_by()
    assert samples(exposed) == {}


def test_a_rollout_that_cannot_begin_has_no_effect(scene: Scene) -> None:
    scene.servers.down = True
    watch_until_another_leads(scene, 5)
    assert list(labelled(samples(scene.exposed), "effect")) == []


def test_prometheus_is_answered() -> None:
    exposed = Exposed("iris")
    port = serve(exposed, 0)
    exposed.look(None, 1234.0)
    answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
    assert 'abserve_rollout_last_look_timestamp_seconds{deployment="iris"} 1234.0' in answer.text


def test_a_port_that_is_taken_is_refused_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ExperimentError, match=rf"port {port}: .*choose another with --metri"):
            serve(Exposed("iris"), port)
