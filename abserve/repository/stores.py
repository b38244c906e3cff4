"""What a repository is kept on: files at paths, on a disk (`disk`) or as objects (`objects`).

Both do the same few things with files. What differs is how a version comes into being, and how it
goes: `place` and `take_away`.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from abserve.errors import RepositoryError


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it is listed: when it was written, by the store's own clock, and its size."""

    written_at: datetime
    size_bytes: int


class Store(Protocol):
    """Files at paths below a repository's URL.

    A path has slashes and is relative to the URL. What cannot be done is a RepositoryError.
    """

    @property
    def folder(self) -> Path | None:
        """The folder on this machine's disk, if it is one."""

    def under(self, folder: str) -> dict[str, Entry]:
        """Return all files below `folder`, by their path in it; none if there is no such folder."""

    def holds(self, path: str) -> bool:
        """Tell whether there is a file at `path`."""

    def read(self, path: str) -> bytes:
        """Return a file's content; FileNotFoundError if there is none."""

    def read_each(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Return the content of those files that are there, by path."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file, and return once the store keeps it."""

    def remove(self, path: str) -> None:
        """Remove the file at `path`, if there is one."""

    def remove_folder(self, folder: str) -> None:
        """Remove all files below `folder`, if there are any."""

    def place(
        self,
        folder: str,
        files: Mapping[str, bytes],
        aside: str,
        confirm: Callable[[], None],
    ) -> None:
        """Write a folder of which the last of `files` is there only if all others are.

        `aside` is a path that nobody else uses. `confirm` raises if the folder may not be written
        any more; it is called before what lies there is removed, and before it is complete.
        """

    def take_away(self, folder: str, first: str, aside: str) -> None:
        """Remove a folder: at once, or beginning with its file `first`."""


def failure(url: str, what: str, error: Exception) -> RepositoryError:
    """Return that the repository cannot be `what`, read or written, with the store's own reason."""
    do = "check the URL, the credentials and the rights"
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        do = "make room there: 'abserve models prune' deletes old versions that nobody uses"
    return RepositoryError(
        f"repository {url} cannot be {what}: {type(error).__name__}: {error}; {do}"
    )
