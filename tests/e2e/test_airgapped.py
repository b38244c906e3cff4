"""docs/air-gapped.md, tried: how versions get from a store outside, in a bundle, to one inside.

The commands are those of the page, run by a shell. Both stores are rclone's S3 server.
"""

import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from abserve.artifacts import MODEL_ONNX, seal
from abserve.cluster.ports import free_port, is_free
from abserve.cluster.programs import program
from abserve.signatures import signed
from tests.abserve.tampering import Keys, flip, write
from tests.e2e.local_cluster import BIN, ROOT, LocalCluster, wait_until
from tests.runtimes.versions import version_files

pytestmark = pytest.mark.e2e

PAGE = (ROOT / "docs/air-gapped.md").read_text()
BUCKET = "abserve-models-production"


def command(pattern: str) -> str:
    """Return the one command of the page that matches."""
    (found,) = re.findall(pattern, PAGE)
    return str(found)


OUT = command(r"\nrclone copy .*")
IN = command(r"`(rclone copy --immutable --checksum models \S+)`")
LIST = command(r"\n(\(cd bundle && find .*\))\n")
SIGN = command(r"\n(openssl dgst -sha256 -sign .*)\n")
SIGNED = command(r"`(openssl dgst -sha256 -verify [^`]*)`").replace("\n", " ")
CHECK = command(r"`(sha256sum --check .*?)`")


@dataclass(frozen=True)
class Store:
    """An S3 server, and the variables by which rclone knows it as the remote `s3`."""

    folder: Path
    environment: dict[str, str]


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    (folder / BUCKET).mkdir(parents=True)
    port, key = free_port(), secrets.token_hex(10)
    remote = {
        "TYPE": "s3",
        "PROVIDER": "Rclone",
        "ENDPOINT": f"http://127.0.0.1:{port}",
        "ACCESS_KEY_ID": key,
        "SECRET_ACCESS_KEY": key,
    }
    environment = {f"RCLONE_CONFIG_S3_{name}": value for name, value in remote.items()}
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [program("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", str(folder)],
            env={"RCLONE_CONFIG": "/dev/null", "RCLONE_AUTH_KEY": f'"{key},{key}"'},
            stderr=output,
        )
    try:
        wait_until(lambda: not is_free(port), log.read_text)
        yield Store(folder, {**environment, "RCLONE_CONFIG": "/dev/null"})
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "keys").mkdir()
    return Keys(tmp_path / "keys")


@pytest.fixture
def outside(tmp_path: Path, keys: Keys) -> Iterator[Store]:
    """A store with a signed version, and one that somebody was about to publish."""
    with store(tmp_path / "outside") as running:
        iris = running.folder / BUCKET / "iris"
        write(iris / "v1", signed(seal(version_files("v1")), keys.ours))
        write(running.folder / BUCKET / ".publishing/iris-v2", {MODEL_ONNX: b"half of it"})
        yield running


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path / "inside") as running:
        yield running


def run(shell: str, folder: Path, at: Store) -> "subprocess.CompletedProcess[str]":
    environment = {**at.environment, "PATH": f"{BIN}:/usr/bin:/bin"}
    return subprocess.run(
        ["sh", "-c", shell],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def bundle(tmp_path: Path, outside: Store, keys: Keys) -> Path:
    """The medium, with the versions and a signed list of checksums; its key came another way."""
    (tmp_path / "medium/bundle").mkdir(parents=True)
    shutil.copy(keys.private, tmp_path / "medium/bundle.key")
    for each in (OUT, LIST, SIGN):
        done = run(each, tmp_path / "medium", outside)
        assert done.returncode == 0, done.stderr
    shutil.copy(keys.public, tmp_path / "medium/bundle/bundle.pub")
    return tmp_path / "medium/bundle"


def verify(folder: Path, keys: Keys) -> "subprocess.CompletedProcess[str]":
    key = ("--public-key", str(keys.public))
    return LocalCluster(folder).abserve(
        "models", "verify", "iris", "--repository", f"file://{folder}", *key
    )


def test_versions_arrive_as_they_were_signed(bundle: Path, inside: Store, keys: Keys) -> None:
    assert "v1: as published" in verify(bundle / "models", keys).stdout
    assert run(SIGNED, bundle, inside).stdout == "Verified OK\n"
    checked = run(CHECK, bundle, inside)
    assert checked.returncode == 0, checked.stderr
    assert "./models/iris/v1/model.onnx: OK" in checked.stdout

    # What is there is not copied again, and nothing is changed.
    for _ in range(2):
        done = run(IN, bundle, inside)
        assert done.returncode == 0, done.stderr
    arrived = inside.folder / BUCKET
    assert [each.name for each in arrived.iterdir()] == ["iris"]
    verified = verify(arrived, keys)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "v1: as published" in verified.stdout


def test_a_bundle_that_was_changed_on_its_way_is_refused(
    bundle: Path, inside: Store, keys: Keys
) -> None:
    flip(bundle / "models/iris/v1", MODEL_ONNX)
    checked = run(CHECK, bundle, inside)
    assert checked.returncode == 1
    assert "./models/iris/v1/model.onnx: FAILED" in checked.stdout
    # Whoever changes the list as well has not the key.
    assert run(f"cd .. && {LIST}", bundle, inside).returncode == 0
    assert run(CHECK, bundle, inside).returncode == 0
    assert run(SIGNED, bundle, inside).returncode == 1
    refused = verify(bundle / "models", keys)
    assert refused.returncode == 1
    assert "model.onnx has SHA-256" in refused.stdout + refused.stderr


def test_a_version_inside_is_never_replaced(bundle: Path, inside: Store, keys: Keys) -> None:
    assert run(IN, bundle, inside).returncode == 0
    flip(bundle / "models/iris/v1", MODEL_ONNX)
    again = run(IN, bundle, inside)
    assert again.returncode != 0
    assert "immutable file modified" in again.stderr
    assert verify(inside.folder / BUCKET, keys).returncode == 0
