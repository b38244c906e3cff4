import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import CONFIG_MAP, NAMESPACE, POD, SECRET, SELDON_DEPLOYMENT
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.store import Event
from abserve.cluster.state import State
from abserve.errors import ClusterError
from tests.abserve.cluster.documents import config_map, namespace, pod, secret, seldon_deployment

_REMEMBERED = 10_000


def _now() -> datetime:
    return datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


async def following(stream: AsyncIterator[Event], n_events: int) -> list[tuple[str, str]]:
    """Return change and name of the next events."""
    events = [await asyncio.wait_for(anext(stream), 5) for _ in range(n_events)]
    return [(event.change, event.document["metadata"]["name"]) for event in events]


async def test_a_new_object_gets_what_only_the_cluster_knows(store: Store) -> None:
    metadata = store.create(SELDON_DEPLOYMENT, seldon_deployment())["metadata"]
    assert metadata["resourceVersion"] == "1"
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"] == "2024-05-01T12:00:00Z"
    assert len(metadata["uid"]) == 36


async def test_an_object_without_a_spec_has_no_generation(store: Store) -> None:
    assert "generation" not in store.create(SECRET, secret())["metadata"]


async def test_objects_made_anew_differ_by_uid(store: Store) -> None:
    first = store.create(SECRET, secret())
    store.delete(SECRET, "default", "key")
    assert store.create(SECRET, secret())["metadata"]["uid"] != first["metadata"]["uid"]


async def test_creating_what_exists_is_a_conflict(store: Store) -> None:
    store.create(SECRET, secret())
    with pytest.raises(ApiError, match='secrets "key" already exists') as caught:
        store.create(SECRET, secret())
    assert (caught.value.code, caught.value.status["reason"]) == (409, "AlreadyExists")


async def test_versions_count_the_changes_of_all_objects(store: Store) -> None:
    store.create(SECRET, secret("a"))
    store.create(SELDON_DEPLOYMENT, seldon_deployment())
    assert store.update(SECRET, secret("a", x="eA=="))["metadata"]["resourceVersion"] == "3"
    assert store.version == 3


async def test_a_change_of_spec_counts_as_a_generation(store: Store) -> None:
    document = store.create(SELDON_DEPLOYMENT, seldon_deployment())
    document["spec"]["protocol"] = "kfserving"
    assert store.update(SELDON_DEPLOYMENT, document)["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    "change", [{"status": {"state": "Available"}}, {"metadata": {"labels": {"team": "blue"}}}]
)
async def test_a_change_of_anything_else_is_no_generation(store: Store, change: dict) -> None:
    document = store.create(SELDON_DEPLOYMENT, seldon_deployment())
    metadata = document["metadata"] | change.pop("metadata", {})
    changed = store.update(SELDON_DEPLOYMENT, {**document, "metadata": metadata, **change})
    assert changed["metadata"]["generation"] == 1
    assert changed["metadata"]["resourceVersion"] == "2"


async def test_an_update_that_changes_nothing_makes_no_version(store: Store) -> None:
    document = store.create(SELDON_DEPLOYMENT, seldon_deployment())
    assert store.update(SELDON_DEPLOYMENT, document) == document
    assert store.version == 1


async def test_an_update_cannot_rewrite_what_only_the_cluster_knows(store: Store) -> None:
    kept = store.create(SELDON_DEPLOYMENT, seldon_deployment())
    forged = seldon_deployment(uid="mine", creationTimestamp="1999-01-01T00:00:00Z", generation=9)
    assert store.update(SELDON_DEPLOYMENT, forged) == kept


async def test_an_update_from_an_old_version_is_a_conflict(store: Store) -> None:
    old = store.create(SECRET, secret())
    store.update(SECRET, secret(x="eA=="))
    with pytest.raises(ApiError, match="apply your changes to the latest version") as caught:
        store.update(SECRET, old)
    assert (caught.value.code, caught.value.status["reason"]) == (409, "Conflict")


@pytest.mark.parametrize("version", [None, ""])
async def test_an_update_that_names_no_version_wins(store: Store, version: str | None) -> None:
    store.create(SECRET, secret())
    update = secret(x="eA==")
    update["metadata"]["resourceVersion"] = version
    assert store.update(SECRET, update)["data"] == {"x": "eA=="}


async def test_a_version_that_is_no_string_is_a_conflict(store: Store) -> None:
    document = store.create(SECRET, secret())
    document["metadata"]["resourceVersion"] = ["1"]
    with pytest.raises(ApiError, match="has been modified"):
        store.update(SECRET, document)


async def test_updating_what_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(ApiError, match='secrets "key" not found') as caught:
        store.update(SECRET, secret())
    assert caught.value.code == 404


async def test_what_is_deleted_is_gone(store: Store) -> None:
    store.create(SECRET, secret())
    assert store.delete(SECRET, "default", "key")["metadata"]["name"] == "key"
    assert store.find(SECRET, "default", "key") is None


async def test_deleting_what_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(ApiError, match='secrets "key" not found'):
        store.delete(SECRET, "default", "key")


async def test_a_missing_object_is_named_with_its_group(store: Store) -> None:
    with pytest.raises(ApiError) as caught:
        store.get(SELDON_DEPLOYMENT, "default", "iris")
    assert str(caught.value) == 'seldondeployments.machinelearning.seldon.io "iris" not found'


async def test_a_dry_run_of_creating_stores_nothing(store: Store) -> None:
    shown = store.create(SECRET, secret(), dry_run=True)
    assert shown["metadata"]["creationTimestamp"] == "2024-05-01T12:00:00Z"
    assert (store.version, store.list(SECRET)) == (0, [])


async def test_a_dry_run_of_an_update_stores_nothing(store: Store) -> None:
    kept = store.create(SECRET, secret())
    assert store.update(SECRET, secret(x="eA=="), dry_run=True)["data"] == {"x": "eA=="}
    assert store.get(SECRET, "default", "key") == kept
    assert store.version == 1


async def test_a_dry_run_of_deleting_deletes_nothing(store: Store) -> None:
    kept = store.create(SECRET, secret())
    store.delete(SECRET, "default", "key", dry_run=True)
    assert store.get(SECRET, "default", "key") == kept


async def test_what_was_handed_out_cannot_change_what_is_stored(store: Store) -> None:
    given = secret(x="eA==")
    for handed in (
        given,
        store.create(SECRET, given),
        store.get(SECRET, "default", "key"),
        store.list(SECRET)[0],
    ):
        handed["data"]["x"] = "changed"
    assert store.get(SECRET, "default", "key")["data"] == {"x": "eA=="}


async def test_namespaces_keep_objects_of_one_name_apart(store: Store) -> None:
    store.create(SECRET, secret(namespace="shop"))
    store.create(SECRET, secret(namespace="default"))
    store.delete(SECRET, "shop", "key")
    assert store.get(SECRET, "default", "key")["metadata"]["namespace"] == "default"


async def test_a_list_is_of_one_namespace_or_of_all_and_in_order(store: Store) -> None:
    for name, space in (("b", "shop"), ("a", "shop"), ("c", "default")):
        store.create(SECRET, secret(name, space))
    assert [each["metadata"]["name"] for each in store.list(SECRET, "shop")] == ["a", "b"]
    assert [each["metadata"]["name"] for each in store.list(SECRET)] == ["c", "a", "b"]


async def test_kinds_keep_objects_of_one_name_apart(store: Store) -> None:
    store.create(SECRET, secret("same"))
    store.create(CONFIG_MAP, config_map("same"))
    assert [each["kind"] for each in store.list(CONFIG_MAP)] == ["ConfigMap"]


async def test_a_namespace_lies_in_no_namespace(store: Store) -> None:
    store.create(NAMESPACE, namespace("shop"))
    assert store.get(NAMESPACE, "anything", "shop")["metadata"]["name"] == "shop"


async def test_a_watch_tells_changes_in_order_as_they_happen(store: Store) -> None:
    stream = store.watch(SECRET, None, 0)
    waiting = asyncio.create_task(following(stream, 1))
    await asyncio.sleep(0)
    store.create(SECRET, secret())
    assert await waiting == [("ADDED", "key")]
    store.update(SECRET, secret(x="eA=="))
    store.delete(SECRET, "default", "key")
    assert await following(stream, 2) == [("MODIFIED", "key"), ("DELETED", "key")]


async def test_a_watch_begins_after_the_version_it_names(store: Store) -> None:
    store.create(SECRET, secret("old"))
    stream = store.watch(SECRET, None, store.version)
    store.create(SECRET, secret("new"))
    assert await following(stream, 1) == [("ADDED", "new")]


async def test_a_watch_taken_up_again_misses_nothing(store: Store) -> None:
    store.create(SECRET, secret("a"))
    first = await anext(store.watch(SECRET, None, 0))
    store.create(SECRET, secret("b"))
    store.create(SECRET, secret("c"))
    resumed = store.watch(SECRET, None, first.version)
    assert await following(resumed, 2) == [("ADDED", "b"), ("ADDED", "c")]


async def test_a_watch_is_of_one_kind_and_one_namespace(store: Store) -> None:
    stream = store.watch(SECRET, "shop", 0)
    store.create(CONFIG_MAP, config_map("elsewhere", "shop"))
    store.create(SECRET, secret("elsewhere", "default"))
    store.create(SECRET, secret("here", "shop"))
    assert await following(stream, 1) == [("ADDED", "here")]


async def test_a_deletion_is_told_with_its_own_version(store: Store) -> None:
    store.create(SECRET, secret())
    store.delete(SECRET, "default", "key")
    event = await anext(store.watch(SECRET, None, 1))
    assert (event.change, event.version) == ("DELETED", 2)
    assert event.document["metadata"]["resourceVersion"] == "2"


async def test_a_dry_run_is_told_to_no_watch(store: Store) -> None:
    stream = store.watch(SECRET, None, 0)
    store.create(SECRET, secret("never"), dry_run=True)
    store.create(SECRET, secret("once"))
    assert await following(stream, 1) == [("ADDED", "once")]


async def test_two_watches_see_the_same(store: Store) -> None:
    streams = [store.watch(SECRET, None, 0) for _ in range(2)]
    waiting = [asyncio.create_task(following(stream, 1)) for stream in streams]
    await asyncio.sleep(0)
    store.create(SECRET, secret())
    assert await asyncio.gather(*waiting) == [[("ADDED", "key")]] * 2


async def test_a_watch_from_a_forgotten_version_is_refused(store: Store) -> None:
    store.create(CONFIG_MAP, config_map("counter"))
    change_often(store)
    with pytest.raises(ApiError, match="list again") as caught:
        await anext(store.watch(CONFIG_MAP, None, 0))
    assert (caught.value.code, caught.value.status["reason"]) == (410, "Expired")


async def test_a_watch_that_lags_too_far_behind_ends_rather_than_leave_changes_out(
    store: Store,
) -> None:
    store.create(CONFIG_MAP, config_map("counter"))
    stream = store.watch(CONFIG_MAP, None, 0)
    await anext(stream)
    change_often(store)
    with pytest.raises(ApiError, match="list again"):
        await anext(stream)


def change_often(store: Store) -> None:
    """Make more changes than a store remembers."""
    for count in range(_REMEMBERED + 1):
        store.update(CONFIG_MAP, {**config_map("counter"), "data": {"count": str(count)}})


async def test_the_time_is_asked_at_each_creation() -> None:
    times = iter([datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)])
    store = Store(lambda: next(times))
    stamps = [
        store.create(SECRET, secret(name))["metadata"]["creationTimestamp"] for name in ("a", "b")
    ]
    assert stamps == ["2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]


async def test_a_store_begins_with_what_an_earlier_one_kept() -> None:
    state = State()
    earlier = Store(_now, state)
    created = earlier.create(SECRET, secret("mine"))
    earlier.create(POD, pod("iris-0"))
    later = Store(_now, state)
    assert later.get(SECRET, "default", "mine") == created
    # Pods are made anew from what runs.
    assert later.list(POD) == []


async def test_versions_are_never_used_again_by_a_later_store() -> None:
    state = State()
    earlier = Store(_now, state)
    earlier.create(POD, pod("iris-0"))
    earlier.delete(POD, "default", "iris-0")
    assert Store(_now, state).version == earlier.version == 2


async def test_whoever_watched_an_earlier_store_has_to_list_again() -> None:
    state = State()
    earlier = Store(_now, state)
    for name in ("one", "two"):
        earlier.create(SECRET, secret(name))
    changes = Store(_now, state).watch(SECRET, None, 1)
    with pytest.raises(ApiError, match="too old"):
        await anext(changes)


class ClosedState(State):
    """A state that takes no change, as on a disk that is full."""

    def close_for_changes(self) -> None:
        self._connection.execute("PRAGMA query_only = ON")


async def test_without_room_nothing_changes_but_what_shows_what_runs() -> None:
    state = ClosedState()
    store = Store(_now, state)
    store.create(SECRET, secret())
    shown = store.create(POD, pod("iris-0"))
    state.close_for_changes()
    for change in (
        lambda: store.create(CONFIG_MAP, config_map("mine")),
        lambda: store.update(SECRET, secret(key="bmV3")),
        lambda: store.delete(SECRET, "default", "key"),
    ):
        with pytest.raises(ClusterError, match="cannot be written"):
            change()
    assert store.list(CONFIG_MAP) == []
    assert store.get(SECRET, "default", "key")["data"] == {}
    store.update(POD, {**shown, "status": {"phase": "Failed"}})
    assert store.get(POD, "default", "iris-0")["status"] == {"phase": "Failed"}
    store.delete(POD, "default", "iris-0")
    assert store.list(POD) == []
