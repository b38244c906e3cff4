"""Whole rollouts, with time, cluster and servers played by the test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from abserve.errors import ExperimentError, KubernetesError, ManifestError, TelemetryError
from abserve.rollout.controller import Rollout, as_leader
from abserve.rollout.records import Interference
from abserve.rollout.replay import replay
from tests.abserve.rollout.scene import (
    BEGAN,
    MINUTE,
    KilledError,
    Leading,
    Scene,
    add_predictor,
    set_weights,
)
from tests.abserve.seldon.documents import Document


def promoted(folder: Path) -> Scene:
    return Scene(folder, 0.80, 0.90)


def test_a_better_candidate_is_ramped_and_promoted(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    end = scene.run()
    assert end.outcome == "promoted"
    assert scene.weights() == [10, 50]
    assert scene.cluster.split() == [("baseline", "v2", 100)]
    assert set(scene.actions()[:-1]) == {"CONTINUE"}
    assert scene.actions()[-1] == "PROMOTE"


def test_a_worse_candidate_is_rolled_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 0.90, 0.80)
    end = scene.run()
    assert end.outcome == "rolled back"
    assert scene.actions()[-1] == "ROLLBACK"
    assert scene.cluster.split() == [("baseline", "v1", 100), ("candidate", "v2", 0)]


def test_a_candidate_that_fails_is_rolled_back_though_it_is_right_more_often(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, 0.80, 0.90, failing=0.25)
    assert scene.run().outcome == "rolled back"
    assert "error rate" in scene.decisions()[-1].conclusion["reasons"][0]


def test_a_guardrail_beyond_its_margin_holds_the_weight_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path, failing=0.08, maximum_seconds=10 * MINUTE)
    scene.run()
    held_back = [each.conclusion["held_back"] for each in scene.decisions()]
    assert scene.weights() == [10]
    assert any("error rate is less than 0.05 above" in each for why in held_back for each in why)


def test_at_the_end_of_time_the_baseline_gets_all_requests(tmp_path: Path) -> None:
    scene = Scene(tmp_path, maximum_seconds=6 * MINUTE)
    assert scene.run().outcome == "rolled back"
    assert "the time of 360 seconds is over" in scene.decisions()[-1].conclusion["reasons"][0]


def test_at_the_end_of_time_the_weights_stay_if_the_experiment_says_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path, maximum_seconds=6 * MINUTE, at_the_end="keep")
    assert scene.run().outcome == "kept"
    assert scene.cluster.split() == [("baseline", "v1", 50), ("candidate", "v2", 50)]


def test_a_harm_is_rolled_back_even_if_the_weights_are_to_be_kept_at_the_end(
    tmp_path: Path,
) -> None:
    assert Scene(tmp_path, 0.90, 0.80, at_the_end="keep").run().outcome == "rolled back"


def test_requests_that_do_not_arrive_in_the_weights_end_it(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.servers.shares = (0.7, 0.3)
    assert scene.run().outcome == "invalid"
    assert "units did not arrive" in scene.decisions()[-1].conclusion["reasons"][0]
    assert scene.cluster.patches == 1


def scale(changed: Document) -> None:
    changed["spec"]["predictors"][0]["replicas"] = 3


def another_version(changed: Document) -> None:
    changed["spec"]["predictors"][1]["graph"]["modelUri"] = "s3://models/iris/v3"


def anew(changed: Document) -> None:
    changed["metadata"]["uid"] = "u-2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            set_weights(20, 80),
            "field manager 'kubectl-edit' (2027-01-15T08:00:00Z) changed the weights from "
            "baseline=90 candidate=10 to baseline=20 candidate=80",
        ),
        (
            another_version,
            "field manager 'kubectl-edit' (2027-01-15T08:00:00Z) changed the version of candidate "
            "from s3://models/iris/v2 to s3://models/iris/v3",
        ),
        (
            add_predictor,
            "field manager 'kubectl-edit' (2027-01-15T08:00:00Z) changed the predictors from "
            "baseline, candidate to baseline, candidate, other",
        ),
        (anew, "SeldonDeployment 'iris' was deleted and made anew"),
    ],
)
def test_what_somebody_else_changes_ends_it_and_is_said(
    tmp_path: Path, change: Callable[[Document], None], said: str
) -> None:
    scene = promoted(tmp_path)
    scene.clock.plan(100, lambda: scene.cluster.edit(change))
    end = scene.run()
    assert end.outcome == "invalid"
    assert [each.what for each in scene.records() if isinstance(each, Interference)] == [said]
    assert scene.cluster.patches == 1
    assert "abserve rollout iris --new" in end.text


def test_a_deployment_that_is_deleted_ends_it(tmp_path: Path) -> None:
    scene = promoted(tmp_path)

    def delete() -> None:
        scene.cluster.document = None

    scene.clock.plan(100, delete)
    assert scene.run().outcome == "invalid"


def test_a_change_of_the_version_in_the_middle_of_a_promotion_is_not_promoted(
    tmp_path: Path,
) -> None:
    scene = promoted(tmp_path)

    def interfere() -> None:
        if scene.cluster.split() == [("baseline", "v1", 0), ("candidate", "v2", 100)]:
            scene.cluster.edit(another_version)

    scene.cluster.after_patch = interfere
    assert scene.run().outcome == "invalid"
    assert scene.cluster.split() == [("baseline", "v1", 0), ("candidate", "v3", 100)]


def test_replicas_may_be_changed_and_only_that_block_is_not_counted(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 0.80, 0.90, weight_steps=(50,))
    scene.clock.plan(100, lambda: scene.cluster.edit(scale))
    assert scene.run().outcome == "promoted"
    edges = [(block.began_at - BEGAN, block.ended_at - BEGAN) for block in scene.log().state.blocks]
    assert edges[:2] == [(0, 60), (120, 180)]


def test_nothing_is_promoted_while_the_counts_cannot_be_read(tmp_path: Path) -> None:
    scene = promoted(tmp_path)

    def go_down() -> None:
        scene.servers.down = True

    scene.clock.plan(70, go_down)
    assert scene.run().outcome == "rolled back"
    assert "PROMOTE" not in scene.actions()
    missing = [each.missing for each in scene.decisions() if each.missing]
    assert missing[0] == ("Prometheus does not answer",)
    assert len(missing) == 2  # when it began, and at the end of time


def test_blocks_are_counted_later_when_the_counts_can_be_read_again(tmp_path: Path) -> None:
    scene = promoted(tmp_path)

    def set_down(down: bool) -> Callable[[], None]:
        def change() -> None:
            scene.servers.down = down

        return change

    scene.clock.plan(70, set_down(True))
    scene.clock.plan(400, set_down(False))
    assert scene.run().outcome == "promoted"
    blocks = scene.log().state.blocks
    assert [block.units is None for block in blocks] == [False] * len(blocks)
    assert blocks[5].began_at == blocks[4].ended_at


def test_a_block_of_which_nothing_was_kept_counts_for_nothing(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.servers.lost.add(BEGAN + 60)
    assert scene.run().outcome == "promoted"
    assert [block.number for block in scene.log().state.blocks if block.units is None] == [1, 2]


def test_a_candidate_that_crashes_for_too_long_is_rolled_back_and_removed(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.clock.plan(70, lambda: scene.cluster.crash("candidate"))
    end = scene.run()
    assert end.outcome == "rolled back"
    assert scene.cluster.split() == [("baseline", "v1", 100)]
    (reason,) = scene.decisions()[-1].conclusion["reasons"]
    assert "the candidate has not been available for 6" in reason
    assert end.at - BEGAN < 70 + 60 + 10


def test_a_candidate_that_crashes_for_a_moment_goes_on(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.clock.plan(70, lambda: scene.cluster.crash("candidate"))
    scene.clock.plan(100, scene.cluster.crash)
    assert scene.run().outcome == "promoted"


def test_a_candidate_that_serves_with_one_replica_less_goes_on(tmp_path: Path) -> None:
    """One that is scaled up may wait for a node for minutes; the others answer meanwhile."""
    scene = promoted(tmp_path)
    scene.cluster.n_replicas = 3
    scene.clock.plan(70, lambda: scene.cluster.crash("candidate"))
    scene.clock.plan(400, scene.cluster.crash)
    assert scene.run().outcome == "promoted"


def test_a_baseline_that_crashes_is_not_the_candidates_fault(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.clock.plan(70, lambda: scene.cluster.crash("baseline", "candidate"))
    scene.clock.plan(400, scene.cluster.crash)
    assert scene.run().outcome == "promoted"


def test_a_cluster_that_does_not_answer_is_asked_again_and_said_once(tmp_path: Path) -> None:
    scene = promoted(tmp_path)

    def set_down(down: bool) -> Callable[[], None]:
        def change() -> None:
            scene.cluster.down = down

        return change

    scene.clock.plan(70, set_down(True))
    scene.clock.plan(200, set_down(False))
    assert scene.run().outcome == "promoted"
    assert scene.said.count("trying again: the cluster does not answer") == 1


@pytest.mark.parametrize("seconds", [3600, -150])
def test_blocks_in_which_the_clock_was_set_are_not_counted(tmp_path: Path, seconds: int) -> None:
    scene = Scene(tmp_path, maximum_seconds=12 * MINUTE)
    scene.clock.plan(100, lambda: scene.clock.set_forward(seconds))
    scene.run()
    (noted,) = [each for each in scene.records() if each.kind == "clock"]
    assert noted.seconds == pytest.approx(seconds, abs=1)
    blocks = scene.log().state.blocks
    assert blocks[1].began_at >= max(blocks[0].ended_at, noted.at)
    assert "accuracy" not in blocks[0].by_metric
    assert scene.log().state.elapsed_seconds(scene.clock.now()) < 14 * MINUTE


def test_who_ceases_to_lead_does_nothing_more(tmp_path: Path) -> None:
    scene = promoted(tmp_path)

    def lose() -> None:
        scene.leading.held = False

    scene.clock.plan(70, lose)
    with pytest.raises(KubernetesError, match="another leads now"):
        scene.run()
    n_records, n_patches = len(scene.records()), scene.cluster.patches
    scene.leading.held = True
    assert scene.run().outcome == "promoted"
    assert (n_records, n_patches) < (len(scene.records()), scene.cluster.patches)


def finished(folder: Path, better: float) -> Scene:
    scene = Scene(folder, 0.80, better)
    scene.run()
    return scene


@pytest.mark.parametrize("better", [0.90, 0.65])
def test_killed_after_any_record_it_goes_on_to_the_same_decisions(
    tmp_path: Path, better: float
) -> None:
    whole = finished(tmp_path / "whole", better)
    expected = [each.model_dump() for each in whole.records()]
    for n in range(1, len(expected) + 1):
        scene = Scene(tmp_path / str(n), 0.80, better)
        scene.kill_after = n
        with pytest.raises(KilledError):
            scene.run()
        assert len(scene.records()) == n
        scene.run()
        assert [each.model_dump() for each in scene.records()] == expected
        assert scene.cluster.split() == whole.cluster.split()


@pytest.mark.parametrize(("better", "n_changes"), [(0.90, 5), (0.65, 3)])
def test_killed_after_any_change_it_completes_it(
    tmp_path: Path, better: float, n_changes: int
) -> None:
    whole = finished(tmp_path / "whole", better)
    assert whole.cluster.patches == n_changes
    for n in range(1, n_changes + 1):
        scene = Scene(tmp_path / str(n), 0.80, better)

        def kill(scene: Scene = scene, n: int = n) -> None:
            if scene.cluster.patches == n:
                raise KilledError

        scene.cluster.after_patch = kill
        with pytest.raises(KilledError):
            scene.run()
        scene.cluster.after_patch = lambda: None
        scene.run()
        assert scene.actions() == whole.actions()
        assert scene.cluster.split() == whole.cluster.split()


def test_killed_in_the_middle_of_a_line_it_cuts_that_off(tmp_path: Path) -> None:
    whole = finished(tmp_path / "whole", 0.90)
    scene = Scene(tmp_path / "torn", 0.80, 0.90)
    scene.kill_after = 9
    with pytest.raises(KilledError):
        scene.run()
    path = scene.log().path
    with path.open("ab") as file:
        file.write(b'{"before": "12')
    assert scene.run().outcome == "promoted"
    assert [each.model_dump() for each in scene.records()] == [
        each.model_dump() for each in whole.records()
    ]
    assert any("the last line lacked its end" in said for said in scene.said)


def test_what_it_decided_is_what_a_replay_decides(tmp_path: Path) -> None:
    for name, scene in {
        "promoted": promoted(tmp_path / "a"),
        "rolled back": Scene(tmp_path / "b", 0.90, 0.80),
        "invalid": Scene(tmp_path / "c", 0.80, 0.90),
    }.items():
        if name == "invalid":
            scene.clock.plan(100, lambda scene=scene: scene.cluster.edit(another_version))
        assert scene.run().outcome == name
        found = replay(scene.log().path)
        assert (found.difference, found.n_decisions) == ("", len(scene.decisions()))


def test_it_does_not_go_on_with_another_experiment(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.kill_after = 5
    with pytest.raises(KilledError):
        scene.run()
    scene.experiment = Scene(tmp_path / "other", alpha=0.2).experiment
    with pytest.raises(ExperimentError, match="begin anew with --new"):
        scene.run(given=True)


def test_it_begins_anew_if_it_is_told_to_and_the_old_log_says_so(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.kill_after = 5
    with pytest.raises(KilledError):
        scene.run()
    old = scene.log().path
    scene.clock.wait(1)
    assert scene.run(anew=True).outcome == "promoted"
    assert scene.log().path != old
    assert replay(old).difference == ""
    assert old.read_text().splitlines()[-1].count("abandoned") == 1


def test_what_has_ended_is_not_begun_again_by_itself(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 0.90, 0.80)
    assert scene.run() == scene.run()
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


def test_what_was_promoted_and_is_compared_once_more_is_not_called_promoted(
    tmp_path: Path,
) -> None:
    scene = promoted(tmp_path)
    before = scene.cluster.get("iris")
    scene.run()
    scene.cluster.write({**scene.cluster.get("iris"), "spec": before["spec"]}, "kubectl")
    with pytest.raises(ExperimentError, match="to baseline=100 candidate=0; "):
        scene.run()
    scene.clock.wait(1)
    assert scene.run(anew=True).outcome == "promoted"


def test_what_has_ended_is_followed_by_a_rollout_of_another_version(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 0.90, 0.80)
    scene.run()
    scene.cluster.edit(another_version)
    scene.servers.rates["v3"] = (0.99, 0.0)
    assert scene.run().outcome == "promoted"
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_who_keeps_watching_begins_with_each_new_version(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 0.90, 0.80)
    scene.servers.rates["v3"] = (0.99, 0.0)
    scene.clock.plan(60 * MINUTE, lambda: scene.cluster.edit(another_version))

    def end() -> None:
        raise KilledError

    scene.clock.plan(120 * MINUTE, end)
    with pytest.raises(KilledError):
        scene.controller().keep_watching(scene.world())
    assert scene.cluster.split() == [("baseline", "v3", 100)]
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert "waiting for another version to compare" in scene.said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["spec"]["predictors"].pop(), "has the variants baseline; the experiment"),
        (add_predictor, "has the variants baseline, candidate, other"),
        (
            lambda d: d["spec"]["predictors"][1]["graph"].update(modelUri="s3://models/iris/v1"),
            "both serve version 'v1'",
        ),
        (
            lambda d: d["metadata"].update(annotations={"abserve.io/sticky": "true"}),
            "assigns requests by the header x-unit-id, and the unit of the experiment is a request",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_changed(
    tmp_path: Path, change: Callable[[Document], None], said: str
) -> None:
    scene = promoted(tmp_path)
    scene.cluster.edit(change)
    if "variants baseline;" in said:
        scene.cluster.edit(lambda d: d["spec"]["predictors"][0].update(traffic=100))
    with pytest.raises(ExperimentError, match=said):
        scene.run()
    assert (scene.cluster.patches, list(tmp_path.iterdir())) == (0, [])


def by_user(folder: Path, weights: tuple[int, int] = (50, 50)) -> Scene:
    """A scene whose units a header names, and whose replicas start together with its weights."""
    scene = Scene(folder, 0.80, 0.90, unit={"header": "x-unit-id"}, weight_steps=(50,))
    scene.cluster.edit(set_weights(*weights))
    scene.cluster.edit(lambda d: d["metadata"].update(annotations={"abserve.io/sticky": "true"}))
    scene.cluster.edit(lambda d: d["metadata"].update(creationTimestamp="2027-01-15T07:50:00Z"))
    scene.servers.header = "x-unit-id"
    scene.servers.started_at = {"v1": BEGAN - 50.0, "v2": BEGAN - 40.0}
    return scene


def test_units_of_a_header_are_compared_if_all_replicas_began_together(tmp_path: Path) -> None:
    scene = by_user(tmp_path)
    assert scene.run().outcome == "promoted"
    assert scene.weights() == [50]


def test_units_of_a_header_are_not_compared_if_a_replica_knows_them_already(tmp_path: Path) -> None:
    scene = by_user(tmp_path)
    scene.servers.started_at["v1"] = BEGAN - 9000.0
    with pytest.raises(ExperimentError, match="replicas were started up to 8960 s apart"):
        scene.run()
    assert (scene.cluster.patches, list(tmp_path.iterdir())) == (0, [])


def test_units_of_a_header_are_not_compared_if_the_weights_came_later(tmp_path: Path) -> None:
    scene = by_user(tmp_path)
    scene.servers.started_at = {"v1": BEGAN - 9000.0, "v2": BEGAN - 9000.0}
    with pytest.raises(ExperimentError, match="were changed 9000 s after a replica was started"):
        scene.run()


def test_units_of_a_header_are_not_compared_if_a_rollout_would_change_the_weights(
    tmp_path: Path,
) -> None:
    scene = by_user(tmp_path, weights=(100, 0))
    with pytest.raises(ExperimentError, match=r"has the weights baseline=100 candidate=0, and un"):
        scene.run()
    assert (scene.cluster.patches, list(tmp_path.iterdir())) == (0, [])


def test_versions_that_are_scaled_apart_are_refused(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    own_load = {"maxReplicas": 5}
    scene.cluster.edit(
        lambda d: d["spec"]["predictors"][0]["componentSpecs"][0].update(hpaSpec=own_load)
    )
    with pytest.raises(
        ManifestError, match=r"baseline of .* is scaled by the load of its own pods"
    ):
        scene.run()
    assert scene.cluster.patches == 0


def test_a_deployment_that_is_not_available_is_refused(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.cluster.crash("candidate")
    with pytest.raises(ExperimentError, match="expected it to be Available"):
        scene.run()


def test_a_rollout_has_no_state_but_its_log(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.run()
    log = scene.log()
    rollout = Rollout(scene.world(), None, log.state)  # type: ignore[arg-type]
    assert rollout.run() == log.state.end


def test_who_ceases_to_lead_stands_by_and_goes_on_when_it_leads_again(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    controller = scene.controller()

    @contextmanager
    def leadership() -> Iterator[Leading]:
        scene.leading = Leading()
        yield scene.leading

    def lose() -> None:
        scene.leading.held = False

    scene.clock.plan(70, lose)
    end = as_leader(
        leadership, scene.clock, scene.said.append, lambda _: controller.run(scene.world())
    )
    assert end.outcome == "promoted"
    assert "standing by: another leads now" in scene.said


def test_a_cluster_that_does_not_answer_in_the_beginning_is_an_error(tmp_path: Path) -> None:
    scene = promoted(tmp_path)

    @contextmanager
    def leadership() -> Iterator[Leading]:
        raise KubernetesError("the cluster does not answer")
        yield Leading()

    with pytest.raises(KubernetesError, match="does not answer"):
        as_leader(leadership, scene.clock, scene.said.append, lambda _: None)


def test_counts_of_what_was_applied_a_moment_ago_are_waited_for(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.servers.down = True

    def come_up() -> None:
        scene.servers.down = False

    scene.clock.plan(-25, come_up)
    assert scene.run().outcome == "promoted"
    assert scene.said[0] == "waiting for counts: Prometheus does not answer"


def test_counts_that_never_come_are_not_waited_for_for_ever(tmp_path: Path) -> None:
    scene = promoted(tmp_path)
    scene.servers.down = True
    with pytest.raises(TelemetryError, match="Prometheus does not answer"):
        scene.run()
    assert (scene.cluster.patches, list(tmp_path.iterdir())) == (0, [])
