"""What a repository promises wherever it is kept, and its publishers promise each other."""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from abserve.artifacts import CHECKSUMS, seal, verify
from abserve.errors import ArtifactError, RepositoryError, VersionExistsError
from abserve.repository import Repository

FILES = seal({"model.onnx": b"ours", "metadata.json": b"{}"})
THEIRS = seal({"model.onnx": b"theirs", "metadata.json": b"{}"})

ROOT = Path(__file__).parents[3]
_SECONDS = 120


@dataclass(frozen=True)
class Kept:
    """A repository at `url`, and the folder of this machine that it is kept in, sooner or later."""

    url: str
    folder: Path

    def opened(self) -> Repository:
        return Repository(self.url)

    def files(self, path: str) -> list[str]:
        """Return what is really kept below a path."""
        base = self.folder / path
        return sorted(file.relative_to(base).as_posix() for file in _files(base))

    def let_claims_age(self, by: timedelta) -> None:
        """Make all claims older, as if so much time had passed since they were written."""
        for file in _files(self.folder):
            if ".publishing" in file.parts:
                moment = file.stat().st_mtime - by.total_seconds()
                os.utime(file, (moment, moment))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class Dead(BaseException):
    """What a publisher dies of; nothing is done after it."""


def dying(repository: Repository, n_changes: int) -> Repository:
    """Return a repository whose user dies instead of making the change after `n_changes`."""
    store: Any = repository._store

    class Dying(type(store)):  # type: ignore[misc]  # whichever store it is
        left = n_changes

        def write(self, path: str, content: bytes) -> None:
            self.change()
            super().write(path, content)

        def remove(self, path: str) -> None:
            self.change()
            super().remove(path)

        def change(self) -> None:
            if self.left == 0:
                raise Dead
            self.left -= 1

    copy = Repository(repository.url)
    copy._store = object.__new__(Dying)
    copy._store.__dict__.update(store.__dict__)
    return copy


class RepositoryContract:
    """Fixture to supply: `kept`, an empty repository."""

    @pytest.fixture
    def repository(self, kept: Kept) -> Repository:
        return kept.opened()

    def test_an_empty_repository_holds_nothing(self, repository: Repository) -> None:
        assert repository.models() == ()
        assert repository.versions("iris") == ()
        assert not repository.holds("iris", "v1")

    def test_publishing_makes_a_version(self, repository: Repository, kept: Kept) -> None:
        assert repository.publish("iris", "v1", FILES) == f"{kept.url}/iris/v1"
        assert repository.holds("iris", "v1")
        assert repository.versions("iris") == ("v1",)
        assert kept.files("iris") == ["v1/checksums.json", "v1/metadata.json", "v1/model.onnx"]

    def test_a_version_may_hold_folders(self, repository: Repository, tmp_path: Path) -> None:
        files = seal({f"members/a/{name}": content for name, content in FILES.items()})
        repository.publish("iris", "v1", files)
        repository.download("iris", "v1", tmp_path / "copy")
        assert (tmp_path / "copy/members/a/model.onnx").read_bytes() == b"ours"

    def test_versions_are_ordered_by_number(self, repository: Repository) -> None:
        for version in ("v10", "v9", "v1"):
            repository.publish("iris", version, FILES)
        assert repository.versions("iris") == ("v1", "v9", "v10")

    def test_models_do_not_see_each_other(self, repository: Repository) -> None:
        repository.publish("iris2", "v2", FILES)
        repository.publish("iris", "v1", FILES)
        assert repository.models() == ("iris", "iris2")
        assert repository.versions("iris") == ("v1",)

    def test_what_is_stored_is_told_with_size_and_time(self, repository: Repository) -> None:
        before = datetime.now(UTC) - timedelta(seconds=2)
        repository.publish("iris", "v1", seal({"signature.json": b"{}", "a": b"12345"}))
        (stored,) = repository.stored("iris")
        n_bytes = sum(map(len, seal({"signature.json": b"{}", "a": b"12345"}).values()))
        assert (stored.model, stored.version) == ("iris", "v1")
        assert (stored.size_bytes, stored.signed) == (n_bytes, True)
        assert before <= stored.written_at <= datetime.now(UTC) + timedelta(seconds=2)

    def test_a_second_publish_is_refused_and_names_the_next(self, repository: Repository) -> None:
        repository.publish("iris", "v1", FILES)
        repository.publish("iris", "v4", FILES)
        with pytest.raises(
            VersionExistsError, match=r"iris v1 is already in .*; publish the next.* v5"
        ):
            repository.publish("iris", "v1", THEIRS)
        assert repository.read("iris", "v1", "model.onnx") == b"ours"

    def test_the_next_version_is_the_one_after_the_highest(self, repository: Repository) -> None:
        assert repository.publish_next("iris", lambda _: FILES)[0] == "v1"
        repository.publish("iris", "v7", FILES)
        version, url = repository.publish_next(
            "iris", lambda version: seal({"named": version.encode()})
        )
        assert (version, url) == ("v8", f"{repository.url}/iris/v8")
        assert repository.read("iris", "v8", "named") == b"v8"

    def test_no_number_is_lost_to_files_that_cannot_be_made(
        self, repository: Repository, kept: Kept
    ) -> None:
        def fail(_: str) -> dict[str, bytes]:
            raise ArtifactError("the key cannot be used")

        with pytest.raises(ArtifactError, match="the key cannot be used"):
            repository.publish_next("iris", fail)
        assert kept.files("") == []
        assert repository.publish_next("iris", lambda _: FILES)[0] == "v1"

    def test_while_one_publishes_a_version_nobody_else_can(self, repository: Repository) -> None:
        def others_try(version: str) -> dict[str, bytes]:
            other = Repository(repository.url)
            with pytest.raises(VersionExistsError, match=rf"iris {version} is being published"):
                other.publish("iris", version, THEIRS)
            assert other.publish_next("iris", lambda _: THEIRS)[0] == "v2"
            return FILES

        assert repository.publish_next("iris", others_try)[0] == "v1"
        assert repository.read("iris", "v1", "model.onnx") == b"ours"

    @pytest.mark.parametrize("files", [{}, {"a": b""}, {CHECKSUMS: b"", "a": b""}])
    def test_files_that_are_not_sealed_are_refused(
        self, repository: Repository, files: dict[str, bytes], kept: Kept
    ) -> None:
        for publish in (
            lambda: repository.publish("iris", "v1", files),
            lambda: repository.publish_next("iris", lambda _: files),
        ):
            with pytest.raises(RepositoryError, match=r"end with checksums\.json; seal them first"):
                publish()
        assert kept.files("") == []

    def test_a_file_is_read_and_checked(self, repository: Repository, kept: Kept) -> None:
        repository.publish("iris", "v1", FILES)
        assert repository.read("iris", "v1", "model.onnx") == b"ours"
        (kept.folder / "iris/v1/model.onnx").write_bytes(b"0urs")
        with pytest.raises(ArtifactError, match=r"iris/v1/model\.onnx has SHA-256 .*, published"):
            repository.read("iris", "v1", "model.onnx")
        with pytest.raises(ArtifactError, match=r"iris/v1 holds no card\.html"):
            repository.read("iris", "v1", "card.html")
        with pytest.raises(RepositoryError, match=r"holds no iris v2; of iris there: v1"):
            repository.read("iris", "v2", "model.onnx")

    def test_of_many_versions_one_that_is_damaged_does_not_hide_the_others(
        self, repository: Repository, kept: Kept
    ) -> None:
        for version in ("v1", "v2"):
            repository.publish("iris", version, FILES)
        (kept.folder / "iris/v1/checksums.json").write_bytes(b"?")
        found = repository.read_each("iris", ["v1", "v2", "v3"], "model.onnx")
        assert isinstance(found["v1"], ArtifactError)
        assert found["v2"] == b"ours"
        assert isinstance(found["v3"], RepositoryError)

    def test_a_download_is_exactly_what_was_published(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        repository.publish("iris", "v1", FILES)
        repository.download("iris", "v1", tmp_path / "copy")
        verify(tmp_path / "copy")
        with pytest.raises(RepositoryError, match="holds no iris v2"):
            repository.download("iris", "v2", tmp_path / "other")

    def test_a_download_of_what_was_changed_is_refused(
        self, repository: Repository, kept: Kept, tmp_path: Path
    ) -> None:
        repository.publish("iris", "v1", FILES)
        (kept.folder / "iris/v1/extra").write_bytes(b"")
        with pytest.raises(ArtifactError, match="holds extra"):
            repository.download("iris", "v1", tmp_path / "copy")

    def test_what_is_deleted_is_gone(self, repository: Repository, kept: Kept) -> None:
        repository.publish("iris", "v1", FILES)
        repository.publish("iris", "v2", FILES)
        repository.delete("iris", "v1")
        assert repository.versions("iris") == ("v2",)
        assert not [name for name in kept.files("iris") if not name.startswith("v2/")]
        with pytest.raises(RepositoryError, match="holds no iris v1; of iris there: v2"):
            repository.delete("iris", "v1")

    def test_what_is_being_deleted_cannot_be_deleted_by_another(
        self, repository: Repository
    ) -> None:
        repository.publish("iris", "v1", FILES)
        with pytest.raises(Dead):
            dying(repository, 2).delete("iris", "v1")
        with pytest.raises(VersionExistsError, match="published to or deleted from"):
            repository.delete("iris", "v1")
        assert repository.versions("iris") == ("v1",)

    def test_an_old_version_that_is_being_deleted_is_left_to_who_deletes_it(
        self, repository: Repository, kept: Kept
    ) -> None:
        repository.publish("iris", "v1", FILES)
        for file in (kept.folder / "iris/v1").iterdir():
            os.utime(file, (0, 0))
        with pytest.raises(Dead):
            dying(repository, 3).delete("iris", "v1")
        repository.publish("iris", "v2", FILES)
        assert any(name.startswith(".publishing/v1.") for name in kept.files("iris"))
        kept.let_claims_age(timedelta(hours=2))
        repository.publish("iris", "v3", FILES)
        assert not any(name.startswith(".") for name in kept.files("iris"))

    def test_a_publisher_that_died_at_any_moment_leaves_no_half_version(
        self, repository: Repository, kept: Kept, tmp_path: Path
    ) -> None:
        n_changes, finished = 0, False
        while not finished:
            model = f"m{n_changes}"
            try:
                dying(repository, n_changes).publish(model, "v1", THEIRS)
                finished = True
            except Dead:
                finished = False
            was_published = repository.versions(model)
            assert was_published in {(), ("v1",)}
            for version in was_published:
                repository.download(model, version, tmp_path / model)
            # Those who come soon take another number; later the claim of the dead is nothing.
            kept.let_claims_age(timedelta(minutes=1))
            assert repository.publish_next(model, lambda _: FILES)[0] in {"v1", "v2"}
            kept.let_claims_age(timedelta(hours=1))
            if "v1" not in repository.versions(model):
                repository.publish(model, "v1", FILES)
                assert repository.read(model, "v1", "model.onnx") == b"ours"
            repository.publish(model, "v9", FILES)
            assert not [name for name in kept.files(model) if name.startswith(".")]
            n_changes += 1
        assert n_changes > len(THEIRS) + 4

    def test_a_deletion_that_died_at_any_moment_leaves_no_half_version(
        self, repository: Repository, kept: Kept, tmp_path: Path
    ) -> None:
        n_changes, finished = 0, False
        while not finished:
            model = f"m{n_changes}"
            repository.publish(model, "v1", THEIRS)
            try:
                dying(repository, n_changes).delete(model, "v1")
                finished = True
            except Dead:
                kept.let_claims_age(timedelta(hours=2))
            for version in repository.versions(model):
                repository.download(model, version, tmp_path / model)
            if repository.versions(model) == ():
                repository.publish(model, "v1", FILES)
                assert repository.read(model, "v1", "model.onnx") == b"ours"
            repository.delete(model, "v1")
            assert kept.files(model) == []
            n_changes += 1

    def test_whoever_took_too_long_gives_up(self, repository: Repository, kept: Kept) -> None:
        def slow(_: str) -> dict[str, bytes]:
            kept.let_claims_age(timedelta(minutes=31))
            return FILES

        with pytest.raises(RepositoryError, match="v1 was not written within 30 minutes"):
            repository.publish_next("iris", slow)
        assert kept.files("") == []

    def test_whoever_slept_while_another_published_changes_nothing(
        self, repository: Repository, kept: Kept
    ) -> None:
        def slept(version: str) -> dict[str, bytes]:
            kept.let_claims_age(timedelta(hours=2))
            Repository(repository.url).publish("iris", version, THEIRS)
            return FILES

        with pytest.raises(RepositoryError, match="v1 was not written within 30 minutes"):
            repository.publish_next("iris", slept)
        assert repository.versions("iris") == ("v1",)
        assert repository.read("iris", "v1", "model.onnx") == b"theirs"

    @pytest.mark.parametrize("name", ["../iris", "Iris", "", "a/b"])
    def test_a_model_name_that_is_not_allowed_is_refused(
        self, repository: Repository, name: str
    ) -> None:
        with pytest.raises(RepositoryError, match="is no model name"):
            repository.publish(name, "v1", FILES)
        with pytest.raises(RepositoryError, match="is no model name"):
            repository.versions(name)

    @pytest.mark.parametrize("version", ["1", "v0", "v01", "latest", "../v1"])
    def test_a_version_name_that_is_not_allowed_is_refused(
        self, repository: Repository, version: str
    ) -> None:
        with pytest.raises(RepositoryError, match="is no version; expected v1"):
            repository.publish("iris", version, FILES)

    def test_eight_that_publish_the_next_version_get_eight_numbers(
        self, repository: Repository, kept: Kept, tmp_path: Path
    ) -> None:
        with Publishers(kept.url, ["next"] * 8) as publishers:
            said = publishers.publish_at_once()
        assert sorted(said) == [f"v{number}" for number in range(1, 9)]
        for version in repository.versions("iris"):
            repository.download("iris", version, tmp_path / version)
        assert len(repository.versions("iris")) == len(said)
        assert not [name for name in kept.files("iris") if name.startswith(".")]

    def test_of_four_that_publish_one_version_one_succeeds(
        self, repository: Repository, kept: Kept, tmp_path: Path
    ) -> None:
        with Publishers(kept.url, ["v3"] * 4) as publishers:
            said = publishers.publish_at_once()
        assert sorted(said) == ["VersionExistsError"] * 3 + ["v3"]
        repository.download("iris", "v3", tmp_path / "copy")
        contents = {path.read_bytes() for path in (tmp_path / "copy").glob("file-*")}
        assert contents == {f"v3 by process {publishers.pids[said.index('v3')]}".encode()}
        assert not [name for name in kept.files("iris") if name.startswith(".")]

    def test_whoever_is_killed_while_publishing_leaves_nothing_that_is_listed(
        self, repository: Repository, kept: Kept
    ) -> None:
        n_files = 3
        with Publishers(kept.url, ["next"] * n_files, "--step") as publishers:
            publishers.kill_each_before_another_file()
        assert repository.versions("iris") == ()
        kept.let_claims_age(timedelta(minutes=1))
        version, _ = repository.publish_next("iris", lambda _: FILES)
        assert repository.versions("iris") == (version,)


class Publishers:
    """Processes that publish to one repository when they are told to."""

    def __init__(self, url: str, versions: Sequence[str], *options: str) -> None:
        module = "tests.abserve.repository.publisher"
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", module, url, version, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for version in versions
        ]
        self.pids = [process.pid for process in self._processes]

    def __enter__(self) -> "Publishers":
        for process in self._processes:
            assert _said(process) == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate(timeout=_SECONDS)

    def publish_at_once(self) -> list[str]:
        """Let all begin, and return what each said at the end."""
        with ThreadPoolExecutor(len(self._processes)) as pool:
            answers = pool.map(
                lambda process: process.communicate("\n", timeout=_SECONDS)[0], self._processes
            )
            return [answer.strip() for answer in answers]

    def kill_each_before_another_file(self) -> None:
        """Kill the first before its first file, the second before its second, and so on."""
        for n_files, process in enumerate(self._processes, 1):
            for _ in range(n_files):
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
                said = _said(process)
                assert said.startswith("file-"), said
            process.kill()
            process.wait(timeout=_SECONDS)


def _said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
