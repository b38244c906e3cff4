"""Files that lie in an object store: copied to a folder to be scored, and from it when they are.

::

    s3://bucket/in.parquet ──> FOLDER/in/in.parquet    (and beside it, of which state: `.copied`)
                                       │ scored, with its parts
    s3://bucket/out.parquet <── FOLDER/out/out.parquet

A store has no part of a file that could be gone on with, so the parts stay in the folder. Whoever
wants to go on after a lost pod keeps the folder on a volume.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from abserve.errors import ScoringError
from abserve.repository.objects import options_for

_COPIED = ".copied"
_UNFINISHED = ".unfinished"


def is_url(name: str) -> bool:
    """Tell whether a file is one of a store: ``s3://bucket/in.parquet``."""
    return "://" in name


def fetch(url: str, folder: Path) -> Path:
    """Copy a file into a folder, unless it lies there as it is in the store; return the copy.

    Raises
    ------
    ScoringError
        If it is not there or cannot be read, or the folder cannot be written.
    """
    found = fetch_if_there(url, folder)
    if found is None:
        raise ScoringError(f"there is no file {url}; expected the rows to be scored")
    return found


def fetch_if_there(url: str, folder: Path) -> Path | None:
    """Do as `fetch`; None if the store has no such file."""
    local = local_of(url, folder)
    noted = local.with_name(local.name + _COPIED)
    with _copying(url):
        store, path = _opened(url)
        if not store.exists(path):
            return None
        state = json.dumps({"url": url, "checksum": str(store.checksum(path))})
        if local.exists() and noted.exists() and noted.read_text(encoding="utf-8") == state:
            return local
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = local.with_name(local.name + _UNFINISHED)
        store.get_file(path, str(unfinished))
        noted.unlink(missing_ok=True)
        unfinished.replace(local)
        noted.write_text(state, encoding="utf-8")
    return local


def place(local: Path, url: str) -> None:
    """Copy a file into a store, where it is whole or not at all.

    Raises
    ------
    ScoringError
        If the store does not take it.
    """
    with _copying(url):
        store, path = _opened(url)
        store.put_file(str(local), path)


def local_of(url: str, folder: Path) -> Path:
    """Return where the copy of a file lies in a folder."""
    return folder / url.rstrip("/").rpartition("/")[2]


def _opened(url: str) -> tuple[Any, str]:
    store, path = fsspec.core.url_to_fs(url, **options_for(url))
    return store, str(path)


@contextlib.contextmanager
def _copying(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each store raises its own
        raise ScoringError(
            f"{url} cannot be copied: {type(error).__name__}: {error}; check the URL, the "
            "credentials and the room on this disk, and start the same command again"
        ) from error
