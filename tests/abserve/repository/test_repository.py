import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from abserve.errors import RepositoryError
from abserve.repository import Repository
from tests.abserve.repository.contract import FILES, Kept, RepositoryContract

_NOBODY = 65534


class TestOnDisk(RepositoryContract):
    @pytest.fixture
    def kept(self, tmp_path: Path) -> Kept:
        return Kept(f"file://{tmp_path}/models", tmp_path / "models")


@pytest.fixture
def on_disk(tmp_path: Path) -> Repository:
    return Repository(f"file://{tmp_path}/models")


@pytest.fixture
def on_store() -> Iterator[Repository]:
    """A store as S3 is one: no rename, no folders of its own, and nothing is atomic."""
    yield Repository("memory://bucket/models")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's rights for a while, for which no folder is read-only."""
    user = os.geteuid()
    if user != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A repository with iris v1 that may be read and not written."""
    Repository(tmp_path.as_uri()).publish("iris", "v1", FILES)
    closed = [tmp_path, tmp_path / "iris"]
    above = [folder for folder in tmp_path.parents if folder.owner() == tmp_path.owner()]
    modes = {folder: folder.stat().st_mode for folder in [*closed, *above]}
    for folder in above:
        folder.chmod(folder.stat().st_mode | 0o055)
    for folder in closed:
        folder.chmod(0o555)
    yield tmp_path
    for folder, mode in modes.items():
        folder.chmod(mode)


def test_a_path_is_no_url() -> None:
    with pytest.raises(RepositoryError, match="'/srv/models' is no repository; expected a URL"):
        Repository("/srv/models")


def test_a_url_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RepositoryError, match="'ftb://models' cannot be opened: "):
        Repository("ftb://models")


def test_a_repository_on_disk_has_a_folder(on_disk: Repository, tmp_path: Path) -> None:
    assert on_disk.folder == tmp_path / "models"


def test_a_repository_on_a_store_has_none(on_store: Repository) -> None:
    assert on_store.folder is None


def test_a_trailing_slash_makes_no_difference(tmp_path: Path) -> None:
    Repository(f"file://{tmp_path}/models/").publish("iris", "v1", FILES)
    assert Repository(f"file://{tmp_path}/models").versions("iris") == ("v1",)


def test_what_is_no_version_is_passed_over(on_disk: Repository, tmp_path: Path) -> None:
    on_disk.publish("iris", "v1", FILES)
    model = tmp_path / "models" / "iris"
    (model / "notes").mkdir()
    (model / "v2").mkdir()
    (model / "v03").mkdir()
    (model / "README").touch()
    assert on_disk.versions("iris") == ("v1",)
    assert on_disk.models() == ("iris",)


def test_a_read_only_repository_says_so_and_can_be_read(read_only: Path) -> None:
    repository = Repository(read_only.as_uri())
    with as_nobody():
        for change in (
            lambda: repository.publish("iris", "v2", FILES),
            lambda: repository.publish("rose", "v1", FILES),
            lambda: repository.publish_next("iris", lambda _: FILES),
            lambda: repository.delete("iris", "v1"),
        ):
            with pytest.raises(
                RepositoryError, match=r"cannot be written: PermissionError: .*; check the URL"
            ):
                change()
        assert repository.versions("iris") == ("v1",)
        assert repository.read("iris", "v1", "model.onnx") == b"ours"
    assert sorted(path.name for path in read_only.iterdir()) == ["iris"]
    assert sorted(path.name for path in (read_only / "iris").iterdir()) == ["v1"]


@pytest.mark.parametrize("path", ["models", "models/iris"])
def test_a_file_in_the_way_is_told(on_disk: Repository, tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(b"")
    with pytest.raises(RepositoryError, match="NotADirectoryError"):
        on_disk.publish("iris", "v1", FILES)
    assert (tmp_path / path).read_bytes() == b""


def test_a_file_where_the_version_belongs_is_told(on_disk: Repository, tmp_path: Path) -> None:
    (tmp_path / "models/iris").mkdir(parents=True)
    (tmp_path / "models/iris/v1").touch()
    with pytest.raises(RepositoryError, match="NotADirectoryError"):
        on_disk.publish("iris", "v1", FILES)
    assert [path.name for path in (tmp_path / "models/iris").iterdir()] == ["v1"]


def test_a_store_is_written_with_the_checksums_last(
    on_store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    real = MemoryFileSystem.pipe_file

    def record(self: MemoryFileSystem, path: str, value: bytes, **options: object) -> None:
        if ".publishing" not in path:
            written.append(path.rsplit("/", 1)[-1])
        real(self, path, value, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", record)
    on_store.publish("iris", "v1", FILES)
    assert written == ["model.onnx", "metadata.json", "checksums.json"]


def test_a_store_that_cannot_be_written_says_so(
    on_store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("AccessDenied")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(
        RepositoryError, match=r"cannot be written: PermissionError: AccessDenied; check the URL"
    ):
        on_store.publish("iris", "v1", FILES)
    assert on_store.versions("iris") == ()


@pytest.mark.parametrize("question", ["versions", "holds", "publish", "read"])
def test_a_store_that_cannot_be_read_says_so_once(
    on_store: Repository, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("NoCredentials")

    for name in ("find", "exists", "cat"):
        monkeypatch.setattr(MemoryFileSystem, name, refuse)
    asked = {
        "versions": lambda: on_store.versions("iris"),
        "holds": lambda: on_store.holds("iris", "v1"),
        "publish": lambda: on_store.publish("iris", "v1", FILES),
        "read": lambda: on_store.read("iris", "v1", "model.onnx"),
    }
    with pytest.raises(
        RepositoryError, match=r"models cannot be read: PermissionError: NoCredentials; check"
    ) as raised:
        asked[question]()
    assert str(raised.value).count("cannot be read") == 1


def test_a_store_that_does_not_list_what_was_written_is_refused(
    on_store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: {})
    with pytest.raises(RepositoryError, match="was written and is not listed"):
        on_store.publish("iris", "v1", FILES)
