from datetime import UTC, datetime, timedelta

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import EVENT, SELDON_DEPLOYMENT
from abserve.cluster.events import record_event
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
