"""A repository on a disk: a folder of this machine, or one that it has mounted."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from abserve.repository.stores import Entry, failure

# How often a folder may vanish between its making and the making of a file in it.
_TRIES = 20


class Disk:
    """Files below a folder. Folders come and go with the files in them, as on an object store."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self.folder = folder

    def under(self, folder: str) -> dict[str, Entry]:
        base = self.folder / folder
        found = {}
        with self._failing("read"):
            for parent, _, names in os.walk(base, onerror=_raise_unless_gone):
                for name in names:
                    path = Path(parent, name)
                    with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                        found[path.relative_to(base).as_posix()] = _entry(path.stat())
        return found

    def holds(self, path: str) -> bool:
        with self._failing("read"):
            try:
                (self.folder / path).stat()
            except FileNotFoundError:
                return False
            return True

    def read(self, path: str) -> bytes:
        with self._failing("read"):
            return (self.folder / path).read_bytes()

    def read_each(self, paths: Sequence[str]) -> dict[str, bytes]:
        found = {}
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                found[path] = self.read(path)
        return found

    def write(self, path: str, content: bytes) -> None:
        with self._failing("written"), self._open(self.folder / path) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def remove(self, path: str) -> None:
        with self._failing("written"):
            (self.folder / path).unlink(missing_ok=True)
            self._remove_empty_folders((self.folder / path).parent)

    def remove_folder(self, folder: str) -> None:
        with self._failing("written"):
            if (self.folder / folder).is_dir():
                shutil.rmtree(self.folder / folder)
            self._remove_empty_folders((self.folder / folder).parent)

    def place(
        self,
        folder: str,
        files: Mapping[str, bytes],
        aside: str,
        confirm: Callable[[], None],
    ) -> None:
        for name, content in files.items():
            self.write(f"{aside}/{name}", content)
        confirm()
        self.remove_folder(folder)
        with self._failing("written"):
            # A folder that is not empty is never replaced: this fails if one was made meanwhile.
            (self.folder / aside).rename(self.folder / folder)
            _sync((self.folder / folder).parent)

    def take_away(self, folder: str, first: str, aside: str) -> None:
        del first  # gone together with the rest
        with self._failing("written"), contextlib.suppress(FileNotFoundError):
            (self.folder / folder).rename(self.folder / aside)
        self.remove_folder(aside)

    def _open(self, path: Path) -> BinaryIO:
        for _ in range(_TRIES):
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                return path.open("wb")
        raise OSError(f"{path.parent} vanishes again and again")

    def _remove_empty_folders(self, folder: Path) -> None:
        while folder != self.folder:
            try:
                folder.rmdir()
            except OSError:  # not empty; or somebody else removed it
                return
            folder = folder.parent

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if what == "read" and isinstance(error, FileNotFoundError):
                raise
            raise failure(self._url, what, error) from error


def _entry(status: os.stat_result) -> Entry:
    return Entry(datetime.fromtimestamp(status.st_mtime, UTC), status.st_size)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
