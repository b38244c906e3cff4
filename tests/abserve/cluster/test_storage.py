import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from abserve.artifacts import seal
from abserve.cluster import storage
from abserve.cluster.home import Home
from abserve.cluster.processes import Child, Processes
from abserve.cluster.programs import program
from abserve.cluster.storage import Credentials, RepositoryEndpoint, copy_model
from abserve.errors import ArtifactError, ClusterError
from abserve.keys import new_private_key
from tests.abserve.tampering import Keys, add, flip, remove, seal_anew, sign_anew

FILES = {"model.onnx": b"model", "model-settings.json": b'{"name": "iris"}'}


def publish(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """Write a version into `folder`."""
    folder.mkdir(parents=True)
    for name, content in seal(files).items():
        (folder / name).write_bytes(content)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Copy:
    """Copies into one folder."""

    def __init__(self, folder: Path) -> None:
        self.destination = folder / "pod" / "model"
        self.log = folder / "pod.log"

    async def __call__(self, uri: Path | str, credentials: Mapping[str, str] | None = None) -> None:
        await copy_model(str(uri), self.destination, credentials or {}, self.log)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


async def test_a_published_version_is_copied_whole(copy: Copy, tmp_path: Path) -> None:
    await copy(publish(tmp_path / "v1"))
    assert content(copy.destination) == seal(FILES)


async def test_a_copy_replaces_what_was_there(copy: Copy, tmp_path: Path) -> None:
    copy.destination.mkdir(parents=True)
    (copy.destination / "old.onnx").write_bytes(b"old")
    await copy(publish(tmp_path / "v1"))
    assert content(copy.destination) == seal(FILES)


async def test_a_missing_folder_is_told_with_what_to_check(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cannot be copied: .*check the bucket, the path"):
        await copy(tmp_path / "v9")


async def test_what_rclone_said_is_in_the_log(copy: Copy, tmp_path: Path) -> None:
    copy.log.write_text("said before\n")
    with pytest.raises(ClusterError):
        await copy(tmp_path / "v9")
    log = copy.log.read_text()
    assert log.startswith("said before\n")
    assert "directory not found" in log


async def test_an_empty_folder_is_no_version(copy: Copy, tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    with pytest.raises(ClusterError, match=r"holds no files; .*publish it"):
        await copy(tmp_path / "v1")


@pytest.mark.parametrize("missing", ["checksums.json", "model-settings.json"])
async def test_a_folder_that_lacks_what_makes_a_version_is_none(
    copy: Copy, tmp_path: Path, missing: str
) -> None:
    (publish(tmp_path / "v1") / missing).unlink()
    with pytest.raises(ClusterError, match="not the folder of a version"):
        await copy(tmp_path / "v1")


async def test_the_folder_of_a_model_is_no_version(copy: Copy, tmp_path: Path) -> None:
    publish(tmp_path / "iris" / "v1")
    with pytest.raises(ClusterError, match="not the folder of a version"):
        await copy(tmp_path / "iris")


async def test_a_damaged_file_is_not_served(copy: Copy, tmp_path: Path) -> None:
    (publish(tmp_path / "v1") / "model.onnx").write_bytes(b"Model")
    with pytest.raises(ArtifactError, match=r"model\.onnx .*copy it again"):
        await copy(tmp_path / "v1")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


async def test_a_signed_version_is_copied_where_it_has_to_be_signed(
    tmp_path: Path, keys: Keys
) -> None:
    folder = publish(tmp_path / "v1")
    sign_anew(folder, keys.ours)
    signer = await copy_model(
        str(folder), tmp_path / "copy", {}, tmp_path / "log", public_key=keys.public
    )
    assert signer == keys.ours.public
    assert content(tmp_path / "copy") == content(folder)


async def test_nobody_is_told_to_have_signed_where_nobody_has_to(tmp_path: Path) -> None:
    folder = publish(tmp_path / "v1")
    assert await copy_model(str(folder), tmp_path / "copy", {}, tmp_path / "log") is None


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda folder: flip(folder, "model.onnx"), r"model\.onnx has SHA-256"),
        (lambda folder: flip(folder, "signature.json"), r"signature\.json is no signature"),
        (lambda folder: remove(folder, "model.onnx"), r"lacks model\.onnx"),
        (lambda folder: remove(folder, "signature.json"), r"holds no signature\.json"),
        (lambda folder: add(folder, ".git/config"), r"holds \.git/config"),
        (lambda folder: seal_anew(folder, {"model.onnx": b"another"}), "is not what was signed"),
        (lambda folder: sign_anew(folder, new_private_key()), "Key mismatch"),
    ],
)
async def test_what_is_not_as_it_was_signed_is_refused_after_the_copy(
    tmp_path: Path, keys: Keys, tamper: Callable[[Path], None], said: str
) -> None:
    folder = publish(tmp_path / "v1")
    sign_anew(folder, keys.ours)
    tamper(folder)
    with pytest.raises(ArtifactError, match=said):
        await copy_model(
            str(folder), tmp_path / "copy", {}, tmp_path / "log", public_key=keys.public
        )


async def test_somebody_elses_model_has_to_be_signed_as_well(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "model.joblib").write_bytes(b"pickled")
    with pytest.raises(ArtifactError, match=r"holds no signature\.json"):
        await copy_model(
            str(tmp_path / "sklearn"),
            tmp_path / "copy",
            {},
            tmp_path / "log",
            published=False,
            public_key=keys.public,
        )


async def test_a_path_that_looks_like_an_option_is_a_path(copy: Copy) -> None:
    with pytest.raises(ClusterError, match="directory not found"):
        await copy("--version")


async def test_a_copy_that_takes_too_long_is_told(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_COPY_SECONDS", 0.0)
    with pytest.raises(ClusterError, match="not copied within"):
        await copy(publish(tmp_path / "v1"))


async def test_a_copy_can_be_called_off(copy: Copy, tmp_path: Path) -> None:
    task = asyncio.create_task(copy(publish(tmp_path / "v1")))
    while not copy.destination.exists():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_credentials_name_the_remote_that_seldon_names() -> None:
    found = Credentials("http://127.0.0.1:9000", "id", "key").for_rclone()
    assert found["RCLONE_CONFIG_S3_TYPE"] == "s3"
    assert found["RCLONE_CONFIG_S3_ENDPOINT"] == "http://127.0.0.1:9000"


def test_credentials_serve_aws_clients_too() -> None:
    assert Credentials("http://127.0.0.1:9000", "id", "key").for_aws() == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose path has everything a path may have."""
    return tmp_path / 'my "models", all=of them'


@pytest.fixture
def endpoint(home: Home, repository: Path) -> RepositoryEndpoint:
    return RepositoryEndpoint(Processes(home), repository, home.logs / "rclone.log")


@pytest.fixture
async def serving(endpoint: RepositoryEndpoint) -> AsyncIterator[Child]:
    """The process of `endpoint`, while it takes connections."""
    child = await endpoint.start()
    yield child
    await child.stop(10)


@pytest.mark.usefixtures("serving")
async def test_the_endpoint_serves_the_folder_as_a_bucket(
    endpoint: RepositoryEndpoint, repository: Path, copy: Copy
) -> None:
    publish(repository / "iris" / "v1")
    await copy("s3://models/iris/v1", endpoint.credentials.for_rclone())
    assert content(copy.destination) == seal(FILES)


@pytest.mark.usefixtures("serving")
async def test_a_version_is_found_the_moment_it_is_published(
    endpoint: RepositoryEndpoint, repository: Path, copy: Copy
) -> None:
    publish(repository / "iris" / "v1")
    await copy("s3://models/iris/v1", endpoint.credentials.for_rclone())
    with pytest.raises(ClusterError, match="holds no files"):
        await copy("s3://models/iris/v2", endpoint.credentials.for_rclone())
    publish(repository / "iris" / "v2", {**FILES, "model.onnx": b"second"})
    await copy("s3://models/iris/v2", endpoint.credentials.for_rclone())
    assert content(copy.destination)["model.onnx"] == b"second"


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("field", ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"])
async def test_a_wrong_key_is_refused(
    endpoint: RepositoryEndpoint, repository: Path, copy: Copy, field: str
) -> None:
    publish(repository / "iris" / "v1")
    wrong = {**endpoint.credentials.for_rclone(), f"RCLONE_CONFIG_S3_{field}": "wrong"}
    with pytest.raises(ClusterError, match=r"cannot be copied: .*Secret that envSecretRefName"):
        await copy("s3://models/iris/v1", wrong)


@pytest.mark.usefixtures("serving")
async def test_another_bucket_does_not_exist(endpoint: RepositoryEndpoint, copy: Copy) -> None:
    with pytest.raises(ClusterError, match="s3://nobucket/iris/v1"):
        await copy("s3://nobucket/iris/v1", endpoint.credentials.for_rclone())


def test_keys_are_made_anew(home: Home, repository: Path) -> None:
    first, second = (
        RepositoryEndpoint(Processes(home), repository, home.log).credentials for _ in range(2)
    )
    assert first.access_key != second.access_key
    assert first.secret_key != second.secret_key


async def test_no_key_stands_on_a_command_line(
    endpoint: RepositoryEndpoint, serving: Child
) -> None:
    command = Path(f"/proc/{serving.pid}/cmdline").read_text()
    assert endpoint.credentials.access_key not in command
    assert endpoint.credentials.secret_key not in command


async def test_an_endpoint_can_be_started_again(
    endpoint: RepositoryEndpoint, repository: Path, copy: Copy
) -> None:
    publish(repository / "iris" / "v1")
    for _ in range(2):
        child = await endpoint.start()
        await copy("s3://models/iris/v1", endpoint.credentials.for_rclone())
        await child.stop(10)
    assert content(copy.destination) == seal(FILES)


async def test_a_start_that_is_called_off_leaves_no_process(
    endpoint: RepositoryEndpoint, home: Home
) -> None:
    task = asyncio.create_task(endpoint.start())
    while not home.processes():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert home.processes() == ()


def test_rclone_is_the_one_that_was_installed_with_us() -> None:
    version = subprocess.run(
        [program("rclone"), "version"], capture_output=True, text=True, check=True, env=os.environ
    )
    assert version.stdout.startswith("rclone v1.")


def test_a_program_that_is_not_installed_is_told() -> None:
    with pytest.raises(ClusterError, match="no-such-program is not installed"):
        program("no-such-program")
