"""The logs of containers: one file for each run, kept small, read while it is written.

::

    pods/<namespace>.<pod>/logs/<container>/
    ├── 0.log      the first run
    ├── 1.log      the run after the first restart; earlier ones than the last two are removed
    └── 1.log.1    what that run said before, once it has said more than 10 MiB

A process writes to its file itself, through no pipe, so that it goes on when the cluster is killed.
What has grown too large is therefore copied and emptied under it: it appends, and goes on at the
new end. Copying is one step of the event loop on which every reader runs, so a reader sees the log
before or after, never in between.
"""

import asyncio
import contextlib
import datetime as dt
import itertools
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from abserve.cluster.api.logs import LogOptions
from abserve.cluster.home import Home

LARGEST_BYTES = 10 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_ROTATION_SECONDS = 5.0
_FOLLOW_SECONDS = 0.2

_logger = logging.getLogger(__name__)


class RunLogs:
    """The logs of one container's runs, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = (int(log.stem) for log in folder.glob("*.log") if log.stem.isdecimal())
        self.newest = max(found, default=-1)

    def path(self, run: int) -> Path:
        return self._folder / f"{run}.log"

    def begin(self) -> Path:
        """Return the file of a new run; of those before, the last one stays."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.newest += 1
        self.path(self.newest).touch()
        forgotten = self.path(self.newest - 2)
        for log in (forgotten, _older_part(forgotten)):
            log.unlink(missing_ok=True)
        return self.path(self.newest)


async def keep_logs_small(home: Home) -> None:
    """Rotate, until cancelled, whichever log of a cluster has grown too large."""
    while True:
        for log in itertools.chain(home.logs.glob("*.log"), home.pods.glob("*/logs/*/*.log")):
            try:
                if log.stat().st_size > LARGEST_BYTES:
                    rotate(log)
            except FileNotFoundError:
                continue  # its pod is gone
            except OSError as error:
                _logger.warning("%s is too large and cannot be rotated: %s", log, error)
        await asyncio.sleep(_ROTATION_SECONDS)


def rotate(log: Path) -> None:
    """Move what a log holds to its older part; who appends to it goes on at its new end.

    A line that is written between the last read and the emptying is lost.
    """
    older = _older_part(log)
    copy = older.with_name(f"{older.name}.new")
    with contextlib.ExitStack() as stack:
        stack.callback(copy.unlink, missing_ok=True)
        source = stack.enter_context(log.open("r+b"))
        target = stack.enter_context(copy.open("wb", buffering=0))
        while chunk := source.read(_CHUNK_BYTES):
            target.write(chunk)
        copy.replace(older)
        source.truncate(0)


def read_log(
    log: Path,
    options: LogOptions,
    *,
    began: dt.datetime | None,
    running: Callable[[], bool],
) -> AsyncIterator[bytes]:
    """Return a run's log as `options` ask for it; to follow means until the run has ended.

    Parameters
    ----------
    log : Path
        The run's file.
    began : datetime or None
        When the run began, if that is known: the time of lines before any that has one.
    running : callable
        Whether the run goes on.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    reader = _Reader(log, options.tail_lines)
    lines = _Lines(options, began or reader.changed)
    pieces = _shown_pieces(reader, lines, running if options.follow else lambda: False)
    return pieces if options.limit_bytes is None else _limited(pieces, options.limit_bytes)


async def _shown_pieces(
    reader: "_Reader", lines: "_Lines", running: Callable[[], bool]
) -> AsyncGenerator[bytes]:
    with reader:
        ended = False
        while not ended:
            # Asked before reading: what a run says until its end is read.
            ended = not running()
            while chunk := reader.read():
                if shown := lines.take(chunk):
                    yield shown
                await asyncio.sleep(0)  # a long log holds up nobody else
            if not ended:
                await asyncio.sleep(_FOLLOW_SECONDS)
        if rest := lines.rest():
            yield rest


async def _limited(pieces: AsyncGenerator[bytes], left_bytes: int) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield piece[:left_bytes]
            left_bytes -= len(piece)
            if left_bytes <= 0:
                return


class _Reader:
    """Reads a log from its beginning, or from its last lines on; rotation loses it nothing."""

    def __init__(self, log: Path, n_lines: int | None) -> None:
        self._older_part = _older_part(log)
        self._file = log.open("rb")
        self._older = _open_if_there(self._older_part)
        self._rotation = _identity(self._older_part)
        if n_lines is not None:
            n_found = _seek_to_last_lines(self._file, n_lines)
            if self._older is not None:
                _seek_to_last_lines(self._older, n_lines - n_found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._older is not None:
            self._older.close()

    @property
    def changed(self) -> dt.datetime:
        """When the log was last written to."""
        return dt.datetime.fromtimestamp(os.fstat(self._file.fileno()).st_mtime, dt.UTC)

    def read(self) -> bytes:
        """Return what comes next; nothing if that has not been said yet."""
        if self._older is not None:
            if chunk := self._older.read(_CHUNK_BYTES):
                return chunk
            self._older.close()
            self._older = None
        rotation = _identity(self._older_part)
        if rotation not in {None, self._rotation}:
            self._rotation = rotation
            self._older = self._older_part.open("rb")
            self._older.seek(self._file.tell())
            self._file.seek(0)
            return self.read()
        return self._file.read(_CHUNK_BYTES)


class _Lines:
    """Cuts what is read into lines, and shows those that are asked for as they are asked for."""

    def __init__(self, options: LogOptions, first: dt.datetime) -> None:
        self._since = options.since
        self._timestamps = options.timestamps
        self._time = first
        self._begun = b""

    def take(self, chunk: bytes) -> bytes:
        """Return the lines that end in `chunk`."""
        *whole, self._begun = (self._begun + chunk).split(b"\n")
        return b"".join(self._shown(line + b"\n") for line in whole)

    def rest(self) -> bytes:
        """Return the last line, which has no end."""
        return self._shown(self._begun) if self._begun else b""

    def _shown(self, line: bytes) -> bytes:
        if self._since is None and not self._timestamps:
            return line
        self._time = _time_of(line) or self._time
        if self._since is not None and self._time < self._since:
            return b""
        if not self._timestamps:
            return line
        return self._time.isoformat().replace("+00:00", "Z").encode() + b" " + line


def _time_of(line: bytes) -> dt.datetime | None:
    """Return the time that a line of JSON says; None if it says none."""
    if not line.startswith(b"{"):
        return None
    try:
        time = dt.datetime.fromisoformat(json.loads(line)["time"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return time.astimezone(dt.UTC) if time.tzinfo else None


def _seek_to_last_lines(file: BinaryIO, n_lines: int) -> int:
    """Go to where the last `n_lines` lines begin; return how many there are, at most that."""
    end = file.seek(0, os.SEEK_END)
    if n_lines <= 0 or end == 0:
        return 0
    # The end of the last line is no beginning of another.
    place, n_found = end - 1, 1
    while place > 0:
        start = max(0, place - _CHUNK_BYTES)
        file.seek(start)
        block = file.read(place - start)
        while (newline := block.rfind(b"\n")) >= 0:
            if n_found == n_lines:
                file.seek(start + newline + 1)
                return n_found
            n_found += 1
            block = block[:newline]
        place = start
    file.seek(0)
    return n_found


def _older_part(log: Path) -> Path:
    return log.with_name(f"{log.name}.1")


def _open_if_there(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from the one that replaces it; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
