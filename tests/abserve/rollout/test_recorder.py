import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from abserve.errors import KubernetesError, LostCountsError, TelemetryError
from abserve.promotion import Kubernetes
from abserve.rollout.recorder import Recorder
from abserve.rollout.recording import Recording
from abserve.rollout.recording_writer import RecordingWriter
from abserve.telemetry import Series
from tests.abserve.promotion.local_api import LocalApi, Server
from tests.abserve.seldon.documents import document, predictor

EVERY = 2
NOON = 1_800_000_000.0
OK = Series.of("abserve_requests_total", {"version": "v1", "outcome": "ok"})


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Recorded:
    """A recorder, what it said, and what it recorded."""

    def __init__(self, api: LocalApi, path: Path) -> None:
        self.said: list[str] = []
        self.clock = Clock()
        self.connects = True
        self.past = Recording(path)
        self._api = api
        self.writer = RecordingWriter(path, EVERY, self.said.append)
        self.recorder = Recorder(self._connect, self.writer, EVERY, self.said.append, self.clock)

    async def look(self, at: float) -> None:
        self.clock.now = at
        await self.recorder.look(at)

    def n_ok(self, at: float) -> dict[str, float]:
        """Return the requests that each replica had answered."""
        replicas = self.past.reading("shop", "iris", at).replicas
        return {name: replica.samples[OK] for name, replica in replicas.items()}

    def _connect(self, namespace: str | None, timeout_seconds: float) -> Kubernetes:
        if not self.connects:
            raise KubernetesError("the cluster is away")
        return Kubernetes(self._api.kubeconfig, namespace, timeout_seconds)


@pytest.fixture
def recorded(api: LocalApi, tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded(api, tmp_path / "recording.db")
    yield recorded
    recorded.writer.close()
    recorded.past.close()


def exposed(n_ok: int) -> str:
    return (
        "process_start_time_seconds 1.5\n"
        f'abserve_requests_total{{model="iris",version="v1",outcome="ok"}} {n_ok}\n'
    )


async def test_the_ready_replicas_of_both_variants_are_read(
    api: LocalApi, recorded: Recorded
) -> None:
    shadow = predictor("shadow", "v3", shadow=True)
    api.apply(document(*document()["spec"]["predictors"], shadow))
    api.run_pod("baseline-0", "baseline", exposed(7))
    api.run_pod("candidate-0", "candidate", exposed(3))
    api.run_pod("candidate-1", "candidate", exposed(4), ready=False)
    api.run_pod("shadow-0", "shadow", exposed(5))
    await recorded.look(NOON)
    assert recorded.n_ok(NOON) == {"baseline-0": 7.0, "candidate-0": 3.0}
    assert recorded.said == []


async def test_the_setting_in_force_is_recorded(api: LocalApi, recorded: Recorded) -> None:
    api.apply()
    await recorded.look(NOON)
    await recorded.look(NOON + 5)
    (setting,) = recorded.past.settings("shop", "iris")
    assert (setting.at, setting.until, setting.generation) == (NOON, NOON + 5, 1)
    assert setting.weights == {"baseline": 90, "candidate": 10}
    assert setting.versions == {"baseline": "v1", "candidate": "v2"}
    assert setting.available


async def test_a_deployment_of_one_variant_is_not_recorded(
    api: LocalApi, recorded: Recorded
) -> None:
    api.apply(document(predictor("baseline", "v1")))
    await recorded.look(NOON)
    with pytest.raises(TelemetryError, match="expected it to have two variants"):
        recorded.n_ok(NOON)


async def test_a_replica_that_hangs_delays_neither_the_others_nor_the_next_look(
    api: LocalApi, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.apply()
    api.run_pod("baseline-0", "baseline", exposed(7))
    api.run_pod("candidate-0", "candidate", exposed(3))
    answer, free = api.pods.proxy, threading.Event()

    async def hang(namespace: str, name: str, *place: object) -> tuple[int, str, bytes]:
        while name == "candidate-0" and not free.is_set():
            await asyncio.sleep(0.01)
        return await answer(namespace, name, 6000, "prometheus")

    monkeypatch.setattr(api.pods, "proxy", hang)
    began = asyncio.get_running_loop().time()
    await recorded.look(NOON)
    await recorded.look(NOON + 2)
    assert asyncio.get_running_loop().time() - began < 2 * EVERY
    assert recorded.n_ok(NOON + 2) == {"baseline-0": 7.0}
    assert [each.partition(":")[0] for each in recorded.said] == ["shop/candidate-0"]
    free.set()
    at = NOON + 4
    # What was asked before may take a moment more to be given up.
    await recorded.look(at)
    while "candidate-0" not in recorded.n_ok(at):
        at += EVERY
        await recorded.look(at)
    assert recorded.n_ok(at) == {"baseline-0": 7.0, "candidate-0": 3.0}
    assert recorded.said[1:] == ["shop/candidate-0: that is over"]


async def test_a_replica_whose_counts_cannot_be_read_is_told_of_once(
    api: LocalApi, recorded: Recorded
) -> None:
    api.apply()
    api.run_pod("baseline-0", "baseline", exposed(7))
    api.run_pod("candidate-0", "candidate", "no metrics at all {")
    for seconds in (0, 5, 10):
        await recorded.look(NOON + seconds)
    assert recorded.n_ok(NOON + 10) == {"baseline-0": 7.0}
    assert len(recorded.said) == 1
    assert "lack process_start_time_seconds" in recorded.said[0]


async def test_a_cluster_that_is_away_is_told_of_once_and_found_again(
    api: LocalApi, recorded: Recorded
) -> None:
    api.apply()
    api.run_pod("baseline-0", "baseline", exposed(7))
    recorded.connects = False
    for seconds in (0, 5, 10):
        await recorded.look(NOON + seconds)
    recorded.connects = True
    await recorded.look(NOON + 15)
    assert recorded.n_ok(NOON + 15) == {"baseline-0": 7.0}
    assert recorded.said == [
        "the cluster: the cluster is away",
        "the cluster: that is over",
    ]


async def test_a_cluster_that_hangs_up_is_asked_again(
    api: LocalApi, server: Server, recorded: Recorded
) -> None:
    api.apply()
    api.run_pod("baseline-0", "baseline", exposed(7))
    asked: list[str] = []

    def hang_up_once(pod: str) -> None:
        asked.append(pod)
        if len(asked) == 1:
            server.hang_up()

    api.pods.end_when_asked = hang_up_once
    await recorded.look(NOON)
    assert recorded.n_ok(NOON) == {"baseline-0": 7.0}
    assert asked == ["baseline-0", "baseline-0"]
    assert recorded.said == []


async def test_a_look_that_is_late_bears_the_time_it_was_taken(
    api: LocalApi, recorded: Recorded
) -> None:
    api.apply()
    recorded.clock.now = NOON + 3.5
    await recorded.recorder.look(NOON)
    assert recorded.past.settings("shop", "iris")[0].at == NOON + 3.5


async def test_looks_wait_for_a_clock_that_was_set_back_a_little(
    api: LocalApi, recorded: Recorded
) -> None:
    api.apply()
    api.run_pod("baseline-0", "baseline", exposed(7))
    await recorded.look(NOON)
    await recorded.look(NOON - 5)
    await recorded.look(NOON + 5)
    assert recorded.n_ok(NOON) == {"baseline-0": 7.0}
    assert recorded.said == [
        "the clock: it was set back; looks go on in 5 s",
        "the clock: that is over",
    ]


async def test_a_recording_from_the_future_is_set_aside(
    api: LocalApi, recorded: Recorded, tmp_path: Path
) -> None:
    api.apply()
    api.run_pod("baseline-0", "baseline", exposed(7))
    await recorded.look(NOON + 3600)
    await recorded.look(NOON)
    assert recorded.n_ok(NOON) == {"baseline-0": 7.0}
    assert "dated 3600 s from now: the clock was wrong then, or is now" in recorded.said[0]
    await recorded.look(NOON + 3600 + EVERY)
    with pytest.raises(LostCountsError):
        recorded.n_ok(NOON + 3600)
    (aside,) = tmp_path.glob("recording.db.*[0-9]")
    kept = Recording(aside)
    assert kept.reading("shop", "iris", NOON + 3600).replicas.keys() == {"baseline-0"}
    kept.close()


async def test_looks_are_taken_at_whole_multiples_of_the_pace(
    api: LocalApi, tmp_path: Path
) -> None:
    api.apply()
    writer = RecordingWriter(tmp_path / "recording.db", 1, print)
    recorder = Recorder(
        lambda namespace, seconds: Kubernetes(api.kubeconfig, namespace, seconds), writer, 1, print
    )
    task = asyncio.create_task(recorder.run())
    while (last := writer.last_look()) is None:
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert last == int(last)
    writer.close()
