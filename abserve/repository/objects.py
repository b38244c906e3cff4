"""A repository on an object store: there is no rename, and a folder is what its objects name."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from abserve.repository.stores import Entry, failure

# So a store that does not answer is told within a minute.
CONNECT_SECONDS, ANSWER_SECONDS, TRIES = 5, 15, 3

# Under which key each kind of store says when an object was written.
_WRITTEN_AT = ("LastModified", "mtime", "created")


def options_for(url: str) -> dict[str, Any]:
    """Return fsspec's options for the store of `url`: nothing is cached, nothing waits for long."""
    options: dict[str, Any] = {"use_listings_cache": False}
    if url.startswith(("s3://", "s3a://")):
        options["config_kwargs"] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": ANSWER_SECONDS,
            # s3fs tries again by itself.
            "retries": {"total_max_attempts": 1},
        }
    return options


class ObjectStore:
    """Objects of a bucket below a prefix, through fsspec."""

    folder = None

    def __init__(self, url: str, filesystem: Any, root: str) -> None:
        self._url = url
        self._fs = filesystem
        self._fs.retries = TRIES
        self._root = root

    def under(self, folder: str) -> dict[str, Entry]:
        base = f"{self._root}/{folder}".rstrip("/") + "/"
        with self._failing("read"):
            found = self._fs.find(base.rstrip("/"), detail=True)
        return {
            path.removeprefix(base): _entry(information)
            for path, information in found.items()
            if path.startswith(base)
        }

    def holds(self, path: str) -> bool:
        with self._failing("read"):
            return bool(self._fs.exists(f"{self._root}/{path}"))

    def read(self, path: str) -> bytes:
        with self._failing("read", absent_is_an_answer=True):
            content: bytes = self._fs.cat_file(f"{self._root}/{path}")
        return content

    def read_each(self, paths: Sequence[str]) -> dict[str, bytes]:
        by_object = {f"{self._root}/{path}": path for path in paths}
        found = {}
        if by_object:
            with self._failing("read"):
                for name, content in self._fs.cat(list(by_object), on_error="return").items():
                    if isinstance(content, FileNotFoundError):
                        continue
                    if isinstance(content, Exception):
                        raise content
                    found[by_object[name]] = content
        return found

    def write(self, path: str, content: bytes) -> None:
        with self._failing("written"):
            self._fs.pipe_file(f"{self._root}/{path}", content)

    def remove(self, path: str) -> None:
        with self._failing("written"), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{path}")

    def remove_folder(self, folder: str) -> None:
        for name in self.under(folder):
            self.remove(f"{folder}/{name}")

    def place(
        self,
        folder: str,
        files: Mapping[str, bytes],
        aside: str,
        confirm: Callable[[], None],
    ) -> None:
        del aside  # nothing could be renamed from there
        confirm()
        self.remove_folder(folder)
        last = list(files)[-1]
        for name, content in files.items():
            if name == last:
                confirm()
            self.write(f"{folder}/{name}", content)

    def take_away(self, folder: str, first: str, aside: str) -> None:
        del aside
        self.remove(f"{folder}/{first}")
        self.remove_folder(folder)

    @contextlib.contextmanager
    def _failing(self, what: str, *, absent_is_an_answer: bool = False) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each store raises its own
            if absent_is_an_answer and isinstance(error, FileNotFoundError):
                raise
            raise failure(self._url, what, error) from error


def _entry(information: Mapping[str, Any]) -> Entry:
    written_at = next(information[key] for key in _WRITTEN_AT if key in information)
    if isinstance(written_at, int | float):
        written_at = datetime.fromtimestamp(written_at, UTC)
    return Entry(written_at, information["size"])
