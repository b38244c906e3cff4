"""Versions that somebody meddled with, in front of a cluster and a server that want signed ones."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from abserve.artifacts import CARD, METADATA, MODEL_ONNX, MODEL_SKOPS, SIGNATURE, seal
from abserve.keys import PrivateKey
from abserve.signatures import signed
from tests.abserve.tampering import (
    Keys,
    add,
    flip,
    remove,
    seal_anew,
    sign_anew,
    write,
)
from tests.e2e.local_cluster import (
    LocalCluster,
    gone,
    infer,
    iris,
    running_cluster,
    wait_until,
)
from tests.runtimes.server_process import OURS, fail_to_start, running
from tests.runtimes.versions import version_files

pytestmark = pytest.mark.e2e

Tamper = Callable[[Path, Keys], None]

TAMPERED: dict[str, tuple[Tamper, str]] = {
    "a flipped bit": (lambda folder, keys: flip(folder, MODEL_ONNX), "model.onnx has SHA-256"),
    "a flipped bit of the signature": (
        lambda folder, keys: flip(folder, SIGNATURE),
        "signature.json is no signature made with the private key of",
    ),
    "a missing file": (lambda folder, keys: remove(folder, METADATA), "lacks metadata.json"),
    "no signature": (lambda folder, keys: remove(folder, SIGNATURE), "holds no signature.json"),
    "a hook of git": (
        lambda folder, keys: add(folder, ".git/hooks/post-checkout"),
        "holds .git/hooks/post-checkout, which checksums.json does not name",
    ),
    "new checksums": (
        lambda folder, keys: seal_anew(folder, {MODEL_ONNX: b"another"}),
        "is not what was signed, though its checksums are right",
    ),
    "the signature of another key": (
        lambda folder, keys: sign_anew(folder, keys.theirs),
        "signature.json is no signature made with the private key of",
    ),
}


def publish(repository: Path, folder: str, key: PrivateKey, version: str = "v1") -> Path:
    """Write a signed version that has every file there is."""
    extra = {MODEL_SKOPS: b"for audit", CARD: b"<!doctype html><title>iris</title>"}
    return write(repository / folder, signed(seal({**version_files(version), **extra}), key))


def serving(folder: str) -> dict[str, Any]:
    """Return a SeldonDeployment of one predictor, which serves what is in a folder."""
    document = iris()
    predictor = document["spec"]["predictors"][0]
    predictor["traffic"] = 100
    predictor["graph"]["modelUri"] = f"s3://models/iris/{folder}"
    document["spec"]["predictors"] = [predictor]
    return document


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def versions(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose repository has v1 and v2, signed by us, and v3, signed by somebody else."""
    home = tmp_path_factory.mktemp("cluster")
    for version, key in (("v1", keys.ours), ("v2", keys.ours), ("v3", keys.theirs)):
        publish(home / "repository/iris", version, key, version)
    return home


@pytest.fixture(scope="module")
def trusting(versions: Path, keys: Keys) -> Iterator[LocalCluster]:
    """A cluster that trusts our key alone, and serves v1."""
    with running_cluster(versions, "--public-key", str(keys.public)) as cluster:
        assert cluster.apply(serving("v1")).returncode == 0
        cluster.wait_until_available("iris")
        yield cluster


def wait_until_said(cluster: LocalCluster, expected: str) -> None:
    """Wait until the status of iris says something, and shows which of its words do not."""
    wait_until(
        lambda: expected in str(cluster.get("iris")["status"].get("description")),
        lambda: cluster.get("iris")["status"],
    )


@pytest.mark.parametrize(("tamper", "said"), TAMPERED.values(), ids=TAMPERED)
def test_the_cluster_serves_no_version_with(
    trusting: LocalCluster, keys: Keys, tamper: Tamper, said: str, request: pytest.FixtureRequest
) -> None:
    name = f"tampered-{len(list((trusting.home / 'repository/iris').iterdir()))}"
    tamper(publish(trusting.home / "repository/iris", name, keys.ours), keys)
    trusting.apply(serving(name))
    wait_until_said(trusting, said)
    status = trusting.status()
    assert (status["state"], infer(status["gateway"]).json()["model_version"]) == ("Failed", "v1")


def test_a_refusal_is_an_event_and_the_way_out_is_another_version(
    trusting: LocalCluster, keys: Keys
) -> None:
    remove(publish(trusting.home / "repository/iris", "unsigned", keys.ours), SIGNATURE)
    trusting.apply(serving("unsigned"))
    wait_until_said(trusting, "holds no signature.json")
    events = json.loads(trusting.must("kubectl", "get", "events", "-o", "json"))["items"]
    assert any("holds no signature.json" in each["message"] for each in events)
    trusting.apply(serving("v2"))
    trusting.wait_until_available("iris")
    assert infer(trusting.url()).json()["model_version"] == "v2"


def test_a_key_is_rotated_without_stopping(trusting: LocalCluster, keys: Keys) -> None:
    ours = keys.public.read_bytes()
    trusting.apply(serving("v3"))
    wait_until_said(trusting, "Key mismatch")
    keys.public.write_bytes(ours + keys.theirs.public.pem)
    try:
        trusting.wait_until_available("iris")
        assert infer(trusting.url()).json()["model_version"] == "v3"
    finally:
        keys.public.write_bytes(ours)


def test_what_runs_already_has_to_be_signed_when_a_key_is_configured(
    keys: Keys, tmp_path: Path
) -> None:
    for version, key in (("v1", keys.ours), ("v3", keys.theirs)):
        publish(tmp_path / "repository/iris", version, key, version)
    with running_cluster(tmp_path) as cluster:
        cluster.apply(serving("v3"))
        cluster.wait_until_available("iris")
        started = cluster.pid_of("iris-")
        end_api(cluster)
        cluster.must("abserve", "up", "--detach", "--public-key", str(keys.public))
        wait_until_said(cluster, "Key mismatch")
        wait_until(lambda: gone(started), cluster.processes)
        assert infer(cluster.url()).status_code == 503

        cluster.apply(serving("v1"))
        cluster.wait_until_available("iris")
        started = cluster.pid_of("iris-")
        end_api(cluster)
        cluster.must("abserve", "up", "--detach", "--public-key", str(keys.public))
        cluster.wait_until_available("iris")
        assert cluster.pid_of("iris-") == started


def end_api(cluster: LocalCluster) -> None:
    """Kill the process of ``abserve up``, and none of those it started."""
    pid = json.loads((cluster.home / "cluster.json").read_text())["process"]["pid"]
    psutil.Process(pid).kill()
    wait_until(lambda: gone(pid), lambda: pid)


@pytest.mark.parametrize("name", ["new checksums", "a hook of git"])
def test_the_server_does_not_start_with(tmp_path: Path, keys: Keys, name: str) -> None:
    tamper, said = TAMPERED[name]
    folder = publish(tmp_path, "v1", keys.ours)
    tamper(folder, keys)
    lines = fail_to_start(folder, tmp_path / "logs", ABSERVE_PUBLIC_KEY=str(keys.public))
    assert said in lines[-1]


def test_the_server_takes_any_of_several_keys(tmp_path: Path, keys: Keys) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(keys.theirs.public.pem + keys.ours.public.pem)
    folder = publish(tmp_path, "v1", keys.ours)
    with running(OURS, folder, tmp_path / "logs", ABSERVE_PUBLIC_KEY=str(both)) as server:
        server.wait_until_ready()
        assert server.infer().status_code == 200


def test_a_cluster_does_not_start_with_a_key_that_is_none(tmp_path: Path, keys: Keys) -> None:
    refused = LocalCluster(tmp_path).abserve("up", "--detach", ABSERVE_PUBLIC_KEY=str(keys.private))
    assert refused.returncode == 1
    assert "private.pem is no public key that signatures take" in refused.stderr
