"""What the replicas count, kept by the recorder of a real cluster."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from abserve.cli.traffic import Traffic
from abserve.cli.training import MODELS, held_out_rows
from abserve.errors import TelemetryError
from abserve.promotion import Kubernetes
from abserve.rollout.recording import Recording
from abserve.telemetry import ReplicaReading, read_replica
from tests.e2e.local_cluster import (
    ROOT,
    LocalCluster,
    copy_repository,
    gone,
    running_cluster,
    wait_until,
)

pytestmark = pytest.mark.e2e

EVERY_SECOND = ("--record-every", "1")


@pytest.fixture
def cluster(repository: Path, tmp_path: Path) -> Iterator[LocalCluster]:
    copy_repository(repository, tmp_path)
    with running_cluster(tmp_path, *EVERY_SECOND) as running:
        running.apply_iris()
        yield running


@pytest.fixture
def recording(cluster: LocalCluster) -> Iterator[Recording]:
    recording = Recording(cluster.home / "recording.db")
    yield recording
    recording.close()


def recorded_now(recording: Recording) -> dict[str, ReplicaReading]:
    try:
        return dict(recording.history("default", "iris").reading(time.time()).replicas)
    except TelemetryError:
        return {}


def counted(cluster: LocalCluster) -> dict[str, ReplicaReading]:
    """Return what the replicas themselves say."""
    kubernetes = Kubernetes(cluster.home / "kubeconfig", "default")
    pods = kubernetes.pods("iris")
    assert len(pods) == 2
    return {pod.name: read_replica(kubernetes.metrics(pod), "iris") for pod in pods}


def test_the_recording_holds_what_the_replicas_count_whatever_is_killed(
    cluster: LocalCluster, recording: Recording
) -> None:
    traffic = Traffic(cluster.url(), *held_out_rows("iris", ROOT / MODELS))

    def is_recorded() -> None:
        """Have requests answered, and wait until the recording agrees with the replicas."""
        assert traffic.send(100, lambda: None).failures == []
        wait_until(
            lambda: recorded_now(recording) == counted(cluster),
            lambda: (recorded_now(recording), counted(cluster)),
        )

    is_recorded()
    began = time.time()
    *_, setting = recording.settings("default", "iris")
    assert setting.weights == {"baseline": 90, "candidate": 10}
    assert setting.versions == {"baseline": "v1", "candidate": "v2"}
    assert setting.available
    assert setting.at < setting.until <= began

    killed = cluster.pid_of("recorder")
    psutil.Process(killed).kill()
    wait_until(lambda: gone(killed), lambda: killed)
    is_recorded()
    assert cluster.pid_of("recorder") != killed

    kept = recording.reading("default", "iris", began)
    cluster.must("abserve", "down")
    assert "Traceback" not in (cluster.home / "logs/recorder.log").read_text()
    cluster.must("abserve", "up", "--detach", "--no-console", *EVERY_SECOND)
    cluster.wait_until_available("iris")
    is_recorded()
    assert recording.reading("default", "iris", began) == kept
