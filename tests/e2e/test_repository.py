"""The repository's promises on an object store: rclone's S3 server, asked by as many at once."""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from abserve.cluster.ports import free_port
from abserve.cluster.programs import program
from abserve.errors import RepositoryError
from abserve.repository import Repository, objects
from tests.abserve.repository.contract import FILES, Kept, RepositoryContract
from tests.e2e.local_cluster import wait_until

pytestmark = pytest.mark.e2e

_PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that is served as bucket ``models``; the environment says where and to whom."""
    served = tmp_path_factory.mktemp("served")
    (served / "models").mkdir()
    port = free_port()
    key = secrets.token_hex(10)
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [program("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        process = subprocess.Popen(
            # Tests look at files, and change them, behind the server's back.
            [*command, "--auth-key", f"{key},{key}", "--dir-cache-time", "1ms", str(served)],
            env={**os.environ, "RCLONE_CONFIG": "/dev/null"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: _listens(port), process.poll)
            yield served / "models"
        finally:
            process.terminate()
            process.wait(timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


class TestOnS3(RepositoryContract):
    @pytest.fixture
    def kept(self, bucket: Path) -> Kept:
        name = secrets.token_hex(4)
        return Kept(f"s3://models/{name}", bucket / name)


@contextmanager
def refused(message: str) -> Iterator[None]:
    """Expect one sentence, and soon."""
    began = time.monotonic()
    with pytest.raises(RepositoryError, match=message) as raised:
        yield
    assert time.monotonic() - began < _PATIENCE_SECONDS
    assert "\n" not in str(raised.value)
    assert "check the URL, the credentials and the rights" in str(raised.value)


@pytest.fixture
def fresh(bucket: Path) -> Iterator[None]:
    """Let a connection be made anew, with what the environment then says."""
    _forget_connections()
    yield
    _forget_connections()


def _forget_connections() -> None:
    S3FileSystem.clear_instance_cache()


@pytest.mark.usefixtures("fresh")
def test_wrong_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with refused(r"s3://models/x cannot be read: PermissionError: "):
        Repository("s3://models/x").versions("iris")
    with refused("cannot be read: PermissionError: "):
        Repository("s3://models/x").publish("iris", "v1", FILES)


@pytest.mark.usefixtures("fresh")
def test_an_unknown_bucket_is_told() -> None:
    with refused("s3://nowhere/x cannot be read: FileNotFoundError: .*bucket does not exist"):
        Repository("s3://nowhere/x").versions("iris")
    with refused("s3://nowhere/x cannot be (read|written): .*bucket does not exist"):
        Repository("s3://nowhere/x").publish("iris", "v1", FILES)


@pytest.mark.usefixtures("fresh")
def test_a_store_where_nobody_listens_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with refused("cannot be read: EndpointConnectionError: "):
        Repository("s3://models/x").publish("iris", "v1", FILES)


@pytest.mark.usefixtures("fresh")
def test_a_store_that_never_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert objects.TRIES * objects.ANSWER_SECONDS < _PATIENCE_SECONDS
    monkeypatch.setattr(objects, "ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with refused("cannot be read: .*Timeout"):
            Repository("s3://models/x").versions("iris")
