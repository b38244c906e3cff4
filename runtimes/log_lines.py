"""A line of the log, and its way to stderr, on which nothing waits for whoever reads stderr.

A server whose log nobody takes would otherwise stop at a full pipe, in the midst of answering. Here
lines are kept for a reader that is behind, up to a limit each for those that may be lost and for
all; what is dropped beyond is counted, and a later line says how many.
"""

import asyncio
import atexit
import contextlib
import json
import os
import select
import stat
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from time import gmtime, monotonic, strftime, time

# Lines are counted, not bytes, since that is cheaper; this many have some 50 kB.
MAX_WAITING_LINES = 256

_LOGGER = "abserve.logs"
_MAX_TEXT_CHARS = 8192
# A frame of a traceback is shorter; what an exception says of its values may be of any length.
_MAX_FRAME_CHARS = 1000

_WAITING_SECONDS = 0.1
# A timer that has not come by then went away with its event loop.
_OVERDUE_SECONDS = 1.0
_MAX_UNREAD_REQUEST_BYTES = 1 << 20
_MAX_UNREAD_BYTES = 4 << 20
_EXIT_SECONDS = 1.0


def flush_logs() -> None:
    """Write what is pending, and wait for its reader, but for a second at most."""
    process_stderr().flush(_EXIT_SECONDS)


@cache
def process_stderr() -> "Stderr":
    """Return the lines to this process's stderr, which are flushed when it ends."""
    # Without a standard error, its number may be that of any file.
    descriptor = os.open(os.devnull, os.O_WRONLY) if sys.__stderr__ is None else 2
    atexit.register(flush_logs)
    return Stderr(descriptor)


class Stderr:
    """Lines on their way to a file descriptor.

    For `VersionLog.answered`, which does by itself what `add` does: `waiting` are the lines that
    wait for a timer, `due` is when that must have come, and `stamp` how a line begins in `second`,
    in seconds since 1970.

    Parameters
    ----------
    descriptor : int
        Open for writing; its flags stay as they are, since other processes may share them.
    """

    def __init__(self, descriptor: int) -> None:
        self.waiting: list[str] = []
        self.due = 0.0
        self.second = 0
        self.stamp = ""
        self._descriptor = descriptor
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._urgent: list[str] = []
        self._unread = b""
        self._n_dropped = 0
        self._lock = threading.RLock()
        self._flushing = False

    def turn_to(self, second: int) -> None:
        """Let `stamp` be that of `second`."""
        self.second = second
        self.stamp = strftime('{"time":"%Y-%m-%dT%H:%M:%S.', gmtime(second))

    def add(self, line: str) -> None:
        """Write a line soon, unless nobody reads."""
        self.waiting.append(line)
        if time() > self.due or len(self.waiting) >= MAX_WAITING_LINES:
            self.flush_soon()

    def write(self, line: str) -> None:
        """Write a line now, behind those that wait; without room, as soon as there is."""
        self._urgent.append(line)
        self.flush()

    def flush_soon(self) -> None:
        """Leave it to a timer to flush, if there is an event loop and few lines wait."""
        if len(self.waiting) >= MAX_WAITING_LINES or not self._set_timer():
            self.flush()

    def flush(self, wait_seconds: float = 0.0) -> None:
        """Write all lines, as far as there is room or comes to be in `wait_seconds`."""
        deadline = monotonic() + wait_seconds
        with self._lock:
            # A finalizer may log while we are here; its line goes with the next turn.
            if self._flushing:
                return
            self._flushing = True
            try:
                while self._gather():
                    self._put(deadline)
                    if self._unread:
                        self._set_timer()
                        break
            finally:
                self._flushing = False

    def _set_timer(self) -> bool:
        """Return whether there is one."""
        if time() <= self.due:
            return True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        self.due = time() + _OVERDUE_SECONDS
        loop.call_later(_WAITING_SECONDS, self._flush_in_time)
        return True

    def _flush_in_time(self) -> None:
        self.due = 0.0
        self.flush()

    def _gather(self) -> bool:
        """Put all lines behind what is unread, or count them where that is too much."""
        if self._n_dropped and len(self._unread) <= _MAX_UNREAD_REQUEST_BYTES:
            fields = {"dropped": self._n_dropped}
            self._n_dropped = 0
            message = "lines were dropped, because nobody read stderr"
            self._unread += format_line(time(), "warning", _LOGGER, message, fields).encode()
        for lines, limit_bytes in (
            (self.waiting, _MAX_UNREAD_REQUEST_BYTES),
            (self._urgent, _MAX_UNREAD_BYTES),
        ):
            n_lines = len(lines)
            if len(self._unread) <= limit_bytes:
                self._unread += "".join(lines[:n_lines]).encode()
            else:
                self._n_dropped += n_lines
            # Not all: other threads may have added some.
            del lines[:n_lines]
        return bool(self._unread)

    def _put(self, deadline: float) -> None:
        unread, start = self._unread, 0
        # No space on the disk, or nobody at the other end: either may change.
        with contextlib.suppress(OSError):
            while start < len(unread):
                end = len(unread)
                if not self._is_file:
                    if not self._room.poll(max(0.0, deadline - monotonic()) * 1000):
                        break
                    # If there is room, then for this much; and it arrives in one piece, whatever
                    # other processes write.
                    most = start + select.PIPE_BUF
                    end = unread.rfind(b"\n", start, most) + 1 or most
                start += os.write(self._descriptor, unread[start:end])
        self._unread = unread[start:]


def format_line(
    seconds: float, level: str, logger: str, message: str, fields: Mapping[str, object]
) -> str:
    """Return a line of JSON, with its end.

    Parameters
    ----------
    seconds : float
        When, in seconds since 1970.
    level, logger, message : str
        What every line has, beside its time.
    fields : mapping of str to object
        What this one has besides. What is no number becomes a text of at most 8192 characters.
    """
    when = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    own = {
        "time": when.replace("+00:00", "Z"),
        "level": level,
        "logger": logger,
        "message": clean(message),
    }
    others = {key: _value(value) for key, value in fields.items() if key not in own}
    # In ASCII, so that no reader takes a character for the end of a line, or for a command.
    return json.dumps({**own, **others}, separators=(",", ":")) + "\n"


def clean(text: str, max_chars: int = _MAX_TEXT_CHARS) -> str:
    """Return `text` cut, and without the halves of characters that JSON cannot hold."""
    return text[:max_chars].encode("utf-8", "backslashreplace").decode()


def describe(error: BaseException) -> str:
    """Return the traceback: its end, which says most, and no more of each message than a line."""
    frames = traceback.format_exception(error)
    return "".join(each[:_MAX_FRAME_CHARS] for each in frames).rstrip("\n")[-_MAX_TEXT_CHARS:]


def _value(value: object) -> object:
    if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value
    return clean(str(value))
