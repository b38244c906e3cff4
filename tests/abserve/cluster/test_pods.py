from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import EVENT, POD
from abserve.cluster.api.logs import LogOptions
from abserve.cluster.api.status import ApiError
from abserve.cluster.containers import Running, Terminated
from abserve.cluster.home import Home
from abserve.cluster.pod_documents import PodTemplate
from abserve.cluster.pods import PodRegistry
from abserve.cluster.replica import Replica
from tests.abserve.cluster.documents import Document
from tests.abserve.cluster.replicas import Clock, deployment, new_replica

CRASHED = "the server exited with code 1"


@dataclass
class World:
    """A registry that shows one replica, which nobody has started."""

    clock: Clock
    store: Store
    registry: PodRegistry
    replica: Replica
    template: PodTemplate

    def show(self) -> Document:
        self.registry.show(self.replica, self.template)
        return self.store.get(POD, "default", "iris-0")

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.show()["status"]
        return status

    def copied(self) -> None:
        self.replica.initializer.begin()
        self.replica.initializer.end(0)

    def reasons(self) -> list[str]:
        return [each["reason"] for each in self.store.list(EVENT)]

    async def log(self, **options: Any) -> bytes:
        pieces = self.registry.log("default", "iris-0", LogOptions(**options))
        return b"".join([piece async for piece in pieces])


@pytest.fixture
async def world(home: Home) -> AsyncIterator[World]:
    async with aiohttp.ClientSession() as http:
        clock = Clock()
        store = Store(clock)
        found = deployment()
        predictor = found.spec.predictors[0]
        replica = new_replica(home, http, clock, predictor)
        registry = PodRegistry(store, http, clock)
        yield World(clock, store, registry, replica, PodTemplate(found, predictor))


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        each["type"]: (each["status"], each["lastTransitionTime"]) for each in status["conditions"]
    }


async def test_a_pod_belongs_to_its_seldon_deployment(world: World) -> None:
    metadata = world.show()["metadata"]
    [owner] = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("SeldonDeployment", "iris", "u-1")
    assert metadata["labels"]["seldon-deployment-id"] == "iris"


async def test_a_pod_names_its_containers_as_seldon_does(world: World) -> None:
    spec = world.show()["spec"]
    assert spec["initContainers"][0]["name"] == "iris-model-initializer"
    assert spec["initContainers"][0]["args"] == ["s3://models/iris/v1", "/mnt/models"]
    assert spec["containers"][0]["image"] == "abserve/runtimes:0.1.0"
    mounted = spec["containers"][0]["volumeMounts"][0]["name"]
    assert mounted == spec["volumes"][0]["name"] == "iris-provision-location"


async def test_a_pod_that_copies_is_pending(world: World) -> None:
    world.replica.initializer.begin()
    status = world.status()
    assert status["phase"] == "Pending"
    assert status["initContainerStatuses"][0]["state"] == {
        "running": {"startedAt": "2024-05-01T12:00:00Z"}
    }
    waiting = {"waiting": {"reason": "PodInitializing"}}
    assert status["containerStatuses"][0]["state"] == waiting
    assert conditions(status)["Initialized"][0] == "False"


async def test_conditions_keep_the_time_of_their_change(world: World) -> None:
    world.show()
    world.clock.advance(60)
    world.copied()
    world.replica.container.begin()
    world.replica.phase = "Ready"
    status = world.status()
    assert status["phase"] == "Running"
    assert status["startTime"] == "2024-05-01T12:00:00Z"
    assert conditions(status) == {
        "PodScheduled": ("True", "2024-05-01T12:00:00Z"),
        "Initialized": ("True", "2024-05-01T12:01:00Z"),
        "ContainersReady": ("True", "2024-05-01T12:01:00Z"),
        "Ready": ("True", "2024-05-01T12:01:00Z"),
    }


async def test_a_crash_loop_waits_and_tells_the_last_end(world: World) -> None:
    world.copied()
    world.replica.container.begin()
    world.clock.advance(5)
    world.replica.container.fail(-9, "Error", CRASHED, 2.0)
    status = world.status()
    [container] = status["containerStatuses"]
    assert container["state"] == {
        "waiting": {
            "reason": "CrashLoopBackOff",
            "message": f"back-off 2s restarting failed container: {CRASHED}",
        }
    }
    assert container["lastState"] == {
        "terminated": {
            "exitCode": 137,
            "signal": 9,
            "reason": "Error",
            "message": CRASHED,
            "startedAt": "2024-05-01T12:00:00Z",
            "finishedAt": "2024-05-01T12:00:05Z",
        }
    }
    assert status["phase"] == "Running"


async def test_what_happens_to_a_pod_is_told_in_order(world: World) -> None:
    world.show()
    world.replica.initializer.begin()
    world.show()
    world.replica.initializer.end(0)
    world.replica.container.begin()
    world.show()
    world.replica.container.fail(1, "Error", CRASHED, 0.5)
    world.show()
    world.replica.container.begin()
    world.show()
    world.replica.dismiss()
    world.show()
    assert world.reasons() == ["Copying", "Copied", "Created", "Started", "BackOff", "Killing"]
    counts = {each["reason"]: each["count"] for each in world.store.list(EVENT)}
    assert counts["Started"] == 2


async def test_a_pod_that_is_shown_as_it_was_tells_nothing(world: World) -> None:
    world.replica.initializer.begin()
    version = world.show()["metadata"]["resourceVersion"]
    assert world.show()["metadata"]["resourceVersion"] == version
    assert world.reasons() == []


async def test_what_an_earlier_cluster_began_it_has_told_already(world: World) -> None:
    world.replica.initializer.state = Terminated.completed(world.clock())
    world.replica.container.state = Running(world.clock())
    world.show()
    world.show()
    assert world.reasons() == []


async def test_a_deleted_pod_has_its_grace_and_is_replaced(world: World) -> None:
    world.show()
    world.registry.delete("default", "iris-0")
    assert world.replica.unwanted
    metadata = world.show()["metadata"]
    assert metadata["deletionTimestamp"] == "2024-05-01T12:00:00Z"
    assert metadata["deletionGracePeriodSeconds"] == 20
    world.clock.advance(5)
    assert world.show()["metadata"]["deletionTimestamp"] == "2024-05-01T12:00:00Z"
    world.registry.remove(world.replica)
    assert world.store.list(POD) == []


async def test_by_default_the_log_is_the_servers(world: World) -> None:
    world.show()
    world.copied()
    world.replica.initializer.log.write_bytes(b"copied\n")
    world.replica.container.begin().write_bytes(b"served\n")
    assert await world.log() == b"served\n"
    assert await world.log(container="iris-model-initializer") == b"copied\n"


async def test_a_container_that_waits_shows_the_run_that_ended(world: World) -> None:
    world.show()
    world.replica.container.begin().write_bytes(b"first\n")
    world.replica.container.fail(1, "Error", CRASHED, 1.0)
    assert await world.log() == await world.log(previous=True) == b"first\n"
    world.replica.container.begin().write_bytes(b"second\n")
    assert await world.log() == b"second\n"
    assert await world.log(previous=True) == b"first\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'container "iris" in pod "iris-0" is waiting to start: PodInitializing'),
        ({"previous": True}, 'previous terminated container "iris" in pod "iris-0" not found'),
        (
            {"container": "nope"},
            "container nope is not valid for pod iris-0; choose one of: [iris] or one of the "
            "init containers: [iris-model-initializer]",
        ),
    ],
)
async def test_a_log_that_there_is_not_is_a_bad_request(
    world: World, options: dict[str, Any], message: str
) -> None:
    world.show()
    with pytest.raises(ApiError) as refused:
        await world.log(**options)
    assert (refused.value.code, str(refused.value)) == (400, message)


async def test_a_log_that_was_removed_is_not_found(world: World) -> None:
    world.show()
    world.replica.container.begin().unlink()
    with pytest.raises(ApiError, match="was removed") as refused:
        await world.log()
    assert refused.value.code == 404


async def test_a_pod_that_there_is_not_is_not_found(world: World) -> None:
    with pytest.raises(ApiError) as refused:
        await world.log()
    assert refused.value.code == 404
