import asyncio
import threading
from collections.abc import Iterator

import pytest

from abserve.console.deployment import Deployment
from abserve.console.observer import Observer
from tests.abserve.console.shop import Shop, event, pod
from tests.abserve.seldon.documents import document, predictor
from tests.abserve.telemetry.replica import Replica


class Clock:
    """A time that passes when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def observer(shop: Shop, clock: Clock) -> Observer:
    return Observer(shop, clock)


@pytest.fixture
def unblock() -> Iterator[threading.Event]:
    """What a replica that hangs waits for."""
    unblocked = threading.Event()
    yield unblocked
    unblocked.set()


def iris(observer: Observer) -> Deployment:
    return observer.deployments["iris"]


async def look_later(observer: Observer, clock: Clock, seconds: float = 10) -> None:
    clock.seconds += seconds
    await observer.look(ends_block=True)


async def test_the_share_of_requests_is_observed_since_the_weights_changed(
    shop: Shop, observer: Observer, clock: Clock
) -> None:
    await observer.look(ends_block=True)
    shop.replicas["b-1"].answer("v1", ok=600)
    await look_later(observer, clock)
    changed = document(
        predictor("baseline", "v1", traffic=50), predictor("candidate", "v2", traffic=50)
    )
    changed["metadata"]["generation"] = 4
    shop.documents = [changed]
    await look_later(observer, clock)
    shop.replicas["b-1"].answer("v1", ok=30)
    shop.replicas["c-1"].answer("v2", ok=70)
    await look_later(observer, clock)
    shown = {each["name"]: each for each in iris(observer).detail()["predictors"]}
    assert (shown["baseline"]["share"], shown["candidate"]["share"]) == (0.3, 0.7)
    assert iris(observer).detail()["weights_since"] == 1020


async def test_each_predictor_shows_its_last_minute(
    shop: Shop, observer: Observer, clock: Clock
) -> None:
    await observer.look(ends_block=True)
    shop.replicas["c-1"].answer("v2", ok=90, rejected=8, failed=2)
    shop.replicas["c-1"].judge("v2", correct=9, incorrect=1)
    await look_later(observer, clock)
    shown = iris(observer).detail()["predictors"][1]
    assert (shown["rate"], shown["rejected"], shown["failed"]) == (10, 0.08, 0.02)
    assert (shown["version"], shown["accuracy"], shown["n_feedback"]) == ("v2", 0.9, 10)
    assert (shown["n_ready"], shown["n_wanted"], shown["unread"]) == (1, 1, [])


async def test_feedback_becomes_evidence(shop: Shop, observer: Observer, clock: Clock) -> None:
    await observer.look(ends_block=True)
    shop.replicas["b-1"].judge("v1", correct=8, incorrect=2)
    shop.replicas["b-1"].judge("v2", correct=9, incorrect=1)
    await look_later(observer, clock)
    found = iris(observer).experiment()
    assert (found["versions"], found["n_baseline"], found["n_candidate"]) == (("v1", "v2"), 10, 10)
    assert found["points"][0]["effect"] == pytest.approx(0.1)


async def test_variants_that_serve_the_same_are_no_experiment(
    shop: Shop, observer: Observer
) -> None:
    shop.replicas["c-1"] = Replica("v1")
    await observer.look(ends_block=True)
    assert iris(observer).experiment()["versions"] is None


async def test_a_replica_that_cannot_be_read_is_said_to_be(shop: Shop, observer: Observer) -> None:
    del shop.replicas["c-1"]
    await observer.look(ends_block=True)
    shown = iris(observer).detail()["predictors"][1]
    assert shown["unread"] == ["its counts could not be read: pod 'c-1' does not answer"]
    assert shown["version"] is None


async def test_a_replica_that_cannot_be_read_is_left_alone_until_the_next_block(
    shop: Shop, observer: Observer
) -> None:
    del shop.replicas["c-1"]
    with observer.watching("iris"):
        for ends_block in (True, False, False, True):
            await observer.look(ends_block=ends_block)
    assert (shop.reads.count("c-1"), shop.reads.count("b-1")) == (2, 4)


async def test_a_replica_that_hangs_keeps_nobody_waiting(
    shop: Shop, observer: Observer, unblock: threading.Event
) -> None:
    shop.before_reading = lambda name: unblock.wait(30) if name == "c-1" else None
    shop.replicas["b-1"].answer("v1", ok=7)
    await asyncio.wait_for(observer.look(ends_block=True), 5)
    baseline, candidate = iris(observer).detail()["predictors"]
    assert (baseline["n_requests"], candidate["n_requests"]) == (7, 0)
    await asyncio.wait_for(observer.look(ends_block=True), 5)
    assert shop.reads.count("c-1") == 1


async def test_only_what_is_watched_is_read_between_blocks(shop: Shop, observer: Observer) -> None:
    await observer.look(ends_block=False)
    assert shop.reads == []
    with observer.watching("iris"):
        await observer.look(ends_block=False)
    assert sorted(shop.reads) == ["b-1", "c-1"]


async def test_a_replica_that_is_not_ready_is_not_read(shop: Shop, observer: Observer) -> None:
    shop.pod_documents = [pod("b-1", "baseline", ready=False)]
    await observer.look(ends_block=True)
    assert shop.reads == []


async def test_what_was_known_stays_while_the_cluster_is_away(
    shop: Shop, observer: Observer, clock: Clock
) -> None:
    await observer.look(ends_block=True)
    shop.trouble = "https://127.0.0.1:6443 does not answer"
    await look_later(observer, clock)
    assert (observer.away, observer.seen_at) == (shop.trouble, 1000)
    assert list(observer.deployments) == ["iris"]
    shop.trouble = ""
    await look_later(observer, clock)
    assert (observer.away, observer.seen_at) == (None, 1020)


async def test_a_deployment_that_is_deleted_disappears(shop: Shop, observer: Observer) -> None:
    await observer.look(ends_block=True)
    shop.documents = []
    await observer.look(ends_block=True)
    assert observer.deployments == {}


async def test_a_deployment_that_is_made_anew_is_another_one(
    shop: Shop, observer: Observer
) -> None:
    await observer.look(ends_block=True)
    again = document(predictor("only", "v3"))
    again["metadata"]["uid"] = "another"
    shop.documents = [again]
    await observer.look(ends_block=True)
    assert [each["name"] for each in iris(observer).detail()["predictors"]] == ["only"]


async def test_a_replica_of_another_release_is_said_to_be_and_the_rest_is_shown(
    shop: Shop, observer: Observer, clock: Clock
) -> None:
    shop.pod_documents.append(pod("b-2", "baseline"))
    shop.replicas["b-2"] = Replica("v1", bounds=(0.2, 1.0))
    await observer.look(ends_block=True)
    for name in ("b-1", "b-2"):
        shop.replicas[name].answer(ok=5)
        shop.replicas[name].take([0.05] * 5)
    await look_later(observer, clock)
    shown = iris(observer).detail()["predictors"][0]
    assert shown["n_requests"] == 10
    assert "let all replicas run the same release" in shown["unread"][0]


async def test_a_change_that_the_operator_has_not_seen_is_an_update(
    shop: Shop, observer: Observer
) -> None:
    shop.documents[0]["status"] = {"state": "Available", "observedGeneration": 2}
    await observer.look(ends_block=True)
    assert iris(observer).overview()["state"] == "Updating"
    shop.documents[0]["status"]["observedGeneration"] = 3
    await observer.look(ends_block=True)
    assert iris(observer).overview()["state"] == "Available"


async def test_events_of_its_pods_belong_to_a_deployment(shop: Shop, observer: Observer) -> None:
    shop.event_documents = [event("b-1", "started"), event("wine", "other")]
    await observer.look(ends_block=True)
    assert [each["message"] for each in iris(observer).detail()["events"]] == ["started"]


async def test_whoever_waits_is_told_of_each_look(observer: Observer) -> None:
    waiting = asyncio.create_task(observer.news(0))
    await observer.look(ends_block=False)
    assert await asyncio.wait_for(waiting, 5) == 1


async def test_whoever_watches_is_looked_for_at_once(shop: Shop, observer: Observer) -> None:
    running = asyncio.create_task(observer.run())
    seen = await asyncio.wait_for(observer.news(0), 5)
    with observer.watching("iris"):
        await asyncio.wait_for(observer.news(seen), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
