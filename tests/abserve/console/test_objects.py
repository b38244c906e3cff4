from abserve.console.objects import conditions, events_about, read_pod, read_spec
from tests.abserve.console.shop import event, pod
from tests.abserve.seldon.documents import document, predictor


def test_variants_have_their_roles_and_weights() -> None:
    spec = read_spec(document())
    assert [(each.name, each.role, each.weight) for each in spec.predictors] == [
        ("baseline", "baseline", 90),
        ("candidate", "candidate", 10),
    ]
    assert (spec.baseline, spec.candidate, spec.model) == ("baseline", "candidate", "iris")


def test_a_lone_variant_is_the_baseline_with_everything() -> None:
    spec = read_spec(document(predictor("main", "v1")))
    assert [(each.role, each.weight) for each in spec.predictors] == [("baseline", 100)]
    assert spec.candidate is None


def test_a_shadow_is_no_variant() -> None:
    spec = read_spec(document(predictor("main", "v1"), predictor("dark", "v2", shadow=True)))
    assert [each.role for each in spec.predictors] == ["baseline", "shadow"]
    assert [each.name for each in spec.variants] == ["main"]


def test_of_three_variants_without_names_for_it_none_has_a_role() -> None:
    names = (("a", 50), ("b", 30), ("c", 20))
    spec = read_spec(document(*(predictor(name, "v1", traffic=part) for name, part in names)))
    assert [each.role for each in spec.predictors] == ["", "", ""]


def test_a_resource_that_cannot_be_read_says_why() -> None:
    broken = document()
    broken["spec"]["predictors"][0]["graph"] = 7
    assert "graph" in read_spec(broken).fault


def test_a_pod_is_ready_when_all_its_containers_are() -> None:
    assert read_pod(pod("b-1", "baseline")).ready
    assert not read_pod(pod("b-1", "baseline", ready=False)).ready


def test_a_pod_that_is_being_stopped_is_not_ready() -> None:
    leaving = pod("b-1", "baseline")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    found = read_pod(leaving)
    assert (found.status, found.ready) == ("Terminating", False)


def test_a_pod_says_what_its_container_waits_for() -> None:
    waiting = pod("b-1", "baseline", ready=False, phase="Pending")
    waiting["status"]["containerStatuses"][0]["state"] = {
        "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    }
    found = read_pod(waiting)
    assert (found.status, found.message) == ("CrashLoopBackOff", "back-off 10s")


def test_a_pod_that_has_not_begun_has_a_phase_and_no_containers() -> None:
    begun = {"metadata": {"name": "b-1"}, "status": {"phase": "Pending"}}
    found = read_pod(begun)
    assert (found.status, found.ready, found.metrics_port) == ("Pending", False, None)


def test_conditions_are_those_of_the_status() -> None:
    written = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    shown = conditions({"status": {"conditions": [written]}})
    assert (shown[0]["type"], shown[0]["since"]) == ("Ready", "2026-01-02T03:04:05Z")
    assert conditions({}) == []


def test_events_are_about_these_objects_newest_first() -> None:
    events = [
        event("iris", "first", "2026-01-01T00:00:00Z"),
        event("wine", "other"),
        event("iris", "second", "2026-01-02T00:00:00Z"),
    ]
    assert [each["message"] for each in events_about(["iris"], events)] == ["second", "first"]
