from datetime import UTC, datetime, timedelta

import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import EVENT, SELDON_DEPLOYMENT, Kind
from abserve.cluster.events import pod_events, record_event
from abserve.errors import ClusterError
from tests.abserve.cluster.documents import Document, seldon_deployment

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def stored(store: Store) -> Document:
    return store.create(SELDON_DEPLOYMENT, seldon_deployment())


async def test_an_event_names_the_object_it_is_about(store: Store) -> None:
    about = stored(store)
    record_event(store, about, "Warning", "Failed", "no files", NOW)
    event = store.list(EVENT, "default")[0]
    assert event["involvedObject"]["uid"] == about["metadata"]["uid"]
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "Failed", "no files")
    assert event["count"] == 1


async def test_the_same_again_counts_up(store: Store) -> None:
    about = stored(store)
    for minutes in (0, 5):
        now = NOW + timedelta(minutes=minutes)
        record_event(store, about, "Normal", "Available", "serving", now)
    event = store.list(EVENT, "default")[0]
    assert event["count"] == 2
    assert event["firstTimestamp"] == "2024-05-01T12:00:00Z"
    assert event["lastTimestamp"] == "2024-05-01T12:05:00Z"


async def test_something_else_is_an_event_of_its_own(store: Store) -> None:
    about = stored(store)
    for message in ("baseline 90 %", "baseline 50 %"):
        record_event(store, about, "Normal", "Available", message, NOW)
    assert [event["count"] for event in store.list(EVENT)] == [1, 1]


async def test_the_oldest_events_make_room_for_new_ones(store: Store) -> None:
    about = stored(store)
    for count in range(201):
        now = NOW + timedelta(minutes=count)
        record_event(store, about, "Normal", "Available", f"change {count}", now)
    messages = {event["message"] for event in store.list(EVENT)}
    assert len(messages) == 200
    assert "change 0" not in messages


async def test_the_same_of_a_later_object_of_the_name_is_another_event(store: Store) -> None:
    about = stored(store)
    record_event(store, about, "Normal", "Available", "serving", NOW)
    store.delete(SELDON_DEPLOYMENT, "default", "iris")
    record_event(store, stored(store), "Normal", "Available", "serving", NOW)
    assert [event["count"] for event in store.list(EVENT)] == [1, 1]


async def test_events_are_listed_in_the_order_they_first_happened(store: Store) -> None:
    about = stored(store)
    for reason in ("Created", "Started", "BackOff"):
        record_event(store, about, "Normal", reason, "", NOW)
    assert [event["reason"] for event in store.list(EVENT)] == ["Created", "Started", "BackOff"]


async def test_a_very_long_message_is_cut(store: Store) -> None:
    record_event(store, stored(store), "Warning", "BackOff", "x" * 2000, NOW)
    message = store.list(EVENT)[0]["message"]
    assert len(message) == 1024
    assert message.endswith("x...")


def pod(**statuses: Document) -> Document:
    """Return a Pod whose server has run once, and is in the given states now."""
    usual = {"name": "iris", "restartCount": 0, "state": {"running": {}}, "lastState": {}}
    return {
        "metadata": {"name": "iris-0"},
        "status": {"initContainerStatuses": [], "containerStatuses": [{**usual, **statuses}]},
    }


def crash_loop(reason: str) -> Document:
    return {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 2s"}},
        "lastState": {"terminated": {"reason": reason, "message": "it said no"}},
    }


def test_a_crash_is_a_back_off_with_what_was_said() -> None:
    expected = (
        "Warning",
        "BackOff",
        "Back-off restarting failed container iris in pod iris-0: it said no",
    )
    assert list(pod_events(pod(), pod(**crash_loop("Error")))) == [expected]


def test_a_server_that_is_never_ready_is_unhealthy_and_killed() -> None:
    told = pod_events(pod(), pod(**crash_loop("Unhealthy")))
    assert [reason for _, reason, _ in told] == ["Unhealthy", "Killing", "BackOff"]


def test_a_container_that_lacks_something_has_failed() -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": "no Secret"}}
    told = list(pod_events(pod(), pod(state=waiting)))
    assert told == [("Warning", "Failed", "Error: no Secret")]


def test_a_restart_within_the_second_is_still_a_start() -> None:
    running = {"running": {"startedAt": "2024-05-01T12:00:00Z"}}
    told = pod_events(pod(state=running), pod(state=running, restartCount=1))
    assert [reason for _, reason, _ in told] == ["Created", "Started"]


class FullStore(Store):
    """A store on a disk that is full."""

    def create(self, kind: Kind, document: Document, *, dry_run: bool = False) -> Document:
        raise ClusterError("state.db cannot be written")


async def test_an_event_without_room_is_lost_and_told_to_the_log(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    full = FullStore(lambda: NOW)
    record_event(full, stored(store), "Warning", "Failed", "no files", NOW)
    assert full.list(EVENT) == []
    assert "the event Failed of iris is lost: state.db cannot be written" in caplog.text
