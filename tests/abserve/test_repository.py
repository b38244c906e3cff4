import json
from collections.abc import ItemsView, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from abserve.artifacts import seal, verify
from abserve.errors import RepositoryError, VersionExistsError
from abserve.repository import Repository

FILES = seal({"model.onnx": b"ours", "metadata.json": b"{}"})
THEIRS = seal({"model.onnx": b"theirs", "metadata.json": b"{}"})


@pytest.fixture
def on_disk(tmp_path: Path) -> Repository:
    return Repository(f"file://{tmp_path}/models")


@pytest.fixture
def on_store() -> Iterator[Repository]:
    """A store as S3 is one: no rename, no folders of its own, and nothing is atomic."""
    yield Repository("memory://bucket/models")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["on_disk", "on_store"])
def repository(request: pytest.FixtureRequest) -> Repository:
    chosen: Repository = request.getfixturevalue(request.param)
    return chosen


class Interrupted(dict[str, bytes]):
    """Files of which only the first can be written before somebody presses Ctrl-C."""

    def items(self) -> ItemsView[str, bytes]:
        def first_only() -> Iterator[tuple[str, bytes]]:
            yield next(iter(super(Interrupted, self).items()))
            raise KeyboardInterrupt

        return first_only()  # type: ignore[return-value]  # iterated only


class Overtaken(dict[str, bytes]):
    """Files during whose writing another training publishes the same version."""

    repository: Repository

    def items(self) -> ItemsView[str, bytes]:
        self.repository.publish("iris", "v1", THEIRS)
        return super().items()


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


def test_an_unknown_model_has_no_versions(repository: Repository) -> None:
    assert repository.versions("iris") == ()
    assert not repository.holds("iris", "v1")


def test_publishing_makes_a_version(repository: Repository) -> None:
    assert repository.publish("iris", "v1", FILES) == f"{repository.url}/iris/v1"
    assert repository.holds("iris", "v1")
    assert repository.versions("iris") == ("v1",)


def test_a_published_folder_is_exactly_what_was_sealed(on_disk: Repository, tmp_path: Path) -> None:
    on_disk.publish("iris", "v1", FILES)
    verify(tmp_path / "models" / "iris" / "v1")


def test_a_version_may_hold_folders(on_disk: Repository, tmp_path: Path) -> None:
    files = seal({f"members/a/{name}": content for name, content in FILES.items()})
    on_disk.publish("iris", "v1", files)
    verify(tmp_path / "models" / "iris" / "v1")
    assert on_disk.versions("iris") == ("v1",)


def test_versions_are_ordered_by_number(repository: Repository) -> None:
    for version in ("v10", "v9", "v1"):
        repository.publish("iris", version, FILES)
    assert repository.versions("iris") == ("v1", "v9", "v10")


def test_models_do_not_see_each_other(repository: Repository) -> None:
    repository.publish("iris", "v1", FILES)
    repository.publish("iris2", "v2", FILES)
    assert repository.versions("iris") == ("v1",)


def test_what_is_no_version_is_passed_over(on_disk: Repository, tmp_path: Path) -> None:
    on_disk.publish("iris", "v1", FILES)
    model = tmp_path / "models" / "iris"
    (model / "notes").mkdir()
    (model / "v2").mkdir()
    (model / "v03").mkdir()
    (model / "README").touch()
    assert on_disk.versions("iris") == ("v1",)


def test_a_second_publish_is_refused_and_names_the_next_version(repository: Repository) -> None:
    repository.publish("iris", "v1", FILES)
    repository.publish("iris", "v4", FILES)
    with pytest.raises(
        VersionExistsError, match=r"iris v1 is already in .*; publish the next.* v5"
    ):
        repository.publish("iris", "v1", THEIRS)


def test_a_refused_publish_changes_nothing(on_disk: Repository, tmp_path: Path) -> None:
    on_disk.publish("iris", "v1", FILES)
    with pytest.raises(VersionExistsError):
        on_disk.publish("iris", "v1", THEIRS)
    assert (tmp_path / "models" / "iris" / "v1" / "model.onnx").read_bytes() == b"ours"


@pytest.mark.parametrize(("model", "version"), [("../x", "v1"), ("iris", "1"), ("iris", "v1/x")])
def test_names_that_would_leave_their_folder_are_refused(
    repository: Repository, model: str, version: str
) -> None:
    with pytest.raises(RepositoryError, match=r"is no (model name|version)"):
        repository.publish(model, version, FILES)


@pytest.mark.parametrize("files", [{}, {"a": b""}, {"checksums.json": b"", "a": b""}])
def test_files_that_are_not_sealed_are_refused(
    repository: Repository, files: dict[str, bytes]
) -> None:
    with pytest.raises(RepositoryError, match=r"files end with checksums\.json; seal them first"):
        repository.publish("iris", "v1", files)


def test_an_interruption_leaves_no_version(repository: Repository) -> None:
    with pytest.raises(KeyboardInterrupt):
        repository.publish("iris", "v1", Interrupted(FILES))
    assert repository.versions("iris") == ()


def test_an_interruption_leaves_no_debris_on_disk(on_disk: Repository, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        on_disk.publish("iris", "v1", Interrupted(FILES))
    assert list((tmp_path / "models" / "iris").iterdir()) == []


def test_what_an_interruption_left_on_a_store_is_replaced(on_store: Repository) -> None:
    with pytest.raises(KeyboardInterrupt):
        on_store.publish("iris", "v1", Interrupted(seal({"left.over": b"", "model.onnx": b""})))
    assert MemoryFileSystem().exists("/bucket/models/iris/v1/left.over")
    on_store.publish("iris", "v1", FILES)
    found = MemoryFileSystem().ls("/bucket/models/iris/v1", detail=False)
    assert sorted(path.rsplit("/", 1)[-1] for path in found) == sorted(FILES)


def test_a_store_is_written_with_the_checksums_last(
    on_store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    real = MemoryFileSystem.pipe_file

    def record(
        self: MemoryFileSystem, path: str, value: bytes, mode: str = "overwrite", **options: object
    ) -> None:
        written.append(path.rsplit("/", 1)[-1])
        real(self, path, value, mode, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", record)
    on_store.publish("iris", "v1", FILES)
    assert written == ["model.onnx", "metadata.json", "checksums.json"]


def test_a_store_that_fails_while_written_says_so(
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


@pytest.mark.parametrize("question", ["versions", "holds", "publish"])
def test_a_store_that_cannot_be_read_says_so(
    on_store: Repository, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("NoCredentials")

    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    monkeypatch.setattr(MemoryFileSystem, "exists", refuse)
    asked = {
        "versions": lambda: on_store.versions("iris"),
        "holds": lambda: on_store.holds("iris", "v1"),
        "publish": lambda: on_store.publish("iris", "v1", FILES),
    }
    with pytest.raises(
        RepositoryError, match=r"models cannot be read: PermissionError: NoCredentials; check"
    ):
        asked[question]()


def test_a_failure_behind_a_listing_is_told_once(
    on_store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("NoCredentials")

    on_store.publish("iris", "v1", FILES)
    monkeypatch.setattr(MemoryFileSystem, "exists", refuse)
    with pytest.raises(RepositoryError) as raised:
        on_store.versions("iris")
    assert str(raised.value).count("cannot be read") == 1


def test_a_training_that_was_overtaken_on_disk_is_refused(
    on_disk: Repository, tmp_path: Path
) -> None:
    overtaken = Overtaken(FILES)
    overtaken.repository = on_disk
    with pytest.raises(VersionExistsError, match="publish the next one, v2"):
        on_disk.publish("iris", "v1", overtaken)
    model = tmp_path / "models" / "iris"
    assert (model / "v1" / "model.onnx").read_bytes() == b"theirs"
    assert [path.name for path in model.iterdir()] == ["v1"]


def test_of_two_publishers_on_disk_exactly_one_wins(on_disk: Repository, tmp_path: Path) -> None:
    rounds = 25
    start = Barrier(2)

    def publish(content: bytes, version: str) -> str:
        files = seal({"model.onnx": content, "metadata.json": b"{}"})
        start.wait(timeout=30)
        try:
            on_disk.publish("iris", version, files)
        except VersionExistsError:
            return "refused"
        return content.decode()

    with ThreadPoolExecutor(2) as pool:
        for number in range(1, rounds + 1):
            version = f"v{number}"
            answers = sorted(pool.map(publish, [b"a", b"b"], [version, version]))
            winner = (tmp_path / "models" / "iris" / version / "model.onnx").read_text()
            assert answers == sorted([winner, "refused"])
            verify(tmp_path / "models" / "iris" / version)
    assert len(list((tmp_path / "models" / "iris").iterdir())) == rounds


def test_checksums_in_the_repository_name_every_other_file(
    on_disk: Repository, tmp_path: Path
) -> None:
    on_disk.publish("iris", "v1", FILES)
    sums = json.loads((tmp_path / "models" / "iris" / "v1" / "checksums.json").read_bytes())
    assert sums["sha256"].keys() == {"model.onnx", "metadata.json"}
