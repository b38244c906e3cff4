"""Processes: started in a group of their own, logged to a file, recorded, and stopped for sure.

Each child leads its own session, so a ctrl-C on the terminal reaches the cluster alone and the
cluster takes its children down in order. When the cluster itself is killed they live on, and the
next one takes over those it has a use for.

::

    Processes ──start──> Child <──take_over── what an earlier cluster left running
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

from abserve.cluster.home import AGAIN_SECONDS, Home, ProcessRecord, cannot_write, record_of
from abserve.errors import ClusterError

# Everything else of the caller's environment stays out: a pod on Kubernetes does not see it either.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "LD_LIBRARY_PATH")

_LOG_TAIL_BYTES = 16_384
# The line that names the exception is the first that is not indented.
_TRACEBACK = re.compile(
    r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)$", re.MULTILINE
)


_logger = logging.getLogger(__name__)


class Processes:
    """The children of one cluster; `home` keeps their record for the case that it dies first."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._records: dict[int, ProcessRecord] = {}
        self._left = list(home.processes())
        self._again: asyncio.TimerHandle | None = None

    async def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        log: Path,
        folder: Path,
        details: Mapping[str, Any] | None = None,
    ) -> "Child":
        """Start `command` in `folder`, its output appended to `log`.

        `details` are kept with the record, for whoever may have to take the process over.

        Raises
        ------
        ClusterError
            If the log cannot be written.
        """
        inherited = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        try:
            output = log.open("ab")
        except OSError as error:
            raise cannot_write(log, error.strerror) from error
        with output:
            process = await asyncio.create_subprocess_exec(
                *map(str, command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, **environment},
                cwd=folder,
                start_new_session=True,
            )
        with contextlib.suppress(psutil.NoSuchProcess):  # gone before it could be recorded
            self._records[process.pid] = record_of(name, process.pid, details)
            self._write()
        return Child(name, _Own(process), log, self)

    def take_over(self, record: ProcessRecord, log: Path) -> "Child | None":
        """Return one of `left` as if it were started here; None if it has ended meanwhile.

        `log` is where it writes to.
        """
        self._left.remove(record)
        try:
            process = _Adopted(record)
        except ProcessLookupError:
            return None
        self._records[record.pid] = record
        return Child(record.name, process, log, self)

    @property
    def left(self) -> tuple[ProcessRecord, ...]:
        """What an earlier cluster left running and nobody has taken over."""
        return tuple(self._left)

    @property
    def records(self) -> tuple[ProcessRecord, ...]:
        """What this cluster has started or taken over, and still runs."""
        return tuple(self._records.values())

    async def stop_left(self, grace_seconds: float, name: str | None = None) -> None:
        """Stop what nobody has taken over, or only what was started under `name`."""
        stopped = [record for record in self._left if name in {None, record.name}]
        await asyncio.to_thread(stop_recorded, stopped, grace_seconds)
        self._left = [record for record in self._left if record not in stopped]
        self._write()

    def forget(self, pid: int) -> None:
        """Take an ended process off the record."""
        if self._records.pop(pid, None) is not None:
            self._write()

    def _write(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        try:
            self._home.write_processes([*self._records.values(), *self._left])
        except ClusterError as error:
            # For the next cluster, if this one is killed: no reason to stop what serves.
            _logger.warning("%s; it is tried again every %g s", error, AGAIN_SECONDS)
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(AGAIN_SECONDS, self._write)


class _Process(Protocol):
    """What a `Child` needs of a process, whoever started it."""

    @property
    def pid(self) -> int: ...

    @property
    def running(self) -> bool: ...

    async def wait(self) -> int | None: ...

    def send_signal(self, number: int) -> None: ...


class _Own:
    """A process that this cluster started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self._process = process

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int | None:
        return await self._process.wait()

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)


class _Adopted:
    """A process that an earlier cluster started; only its parent can be told how it ended.

    Raises
    ------
    ProcessLookupError
        If it has ended.
    """

    def __init__(self, record: ProcessRecord) -> None:
        self.pid = record.pid
        self._ended = asyncio.Event()
        self._descriptor = os.pidfd_open(record.pid)
        # Only now is the number bound to one process: the one that was recorded, or another.
        if record.find() is None:
            os.close(self._descriptor)
            raise ProcessLookupError(record.pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._end)

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    async def wait(self) -> int | None:
        await self._ended.wait()
        return None

    def send_signal(self, number: int) -> None:
        if self.running:
            signal.pidfd_send_signal(self._descriptor, number)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._ended.set()


class Child:
    """One running process."""

    def __init__(self, name: str, process: _Process, log: Path, processes: Processes) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log
        self._processes = processes

    @property
    def running(self) -> bool:
        return self._process.running

    async def wait(self) -> int | None:
        """Wait until the process has ended.

        Returns
        -------
        int or None
            Its exit code, negative for a signal; None if another cluster started it.
        """
        code = await self._process.wait()
        self._end_group()
        self._processes.forget(self.pid)
        return code

    async def stop(self, grace_seconds: float) -> None:
        """Ask the process to end, and end it and its children when it has not after the grace."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.wait(), grace_seconds)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
        await self.wait()

    def _end_group(self) -> None:
        """End what the process started itself and left behind, as one that was killed does."""
        # The number stays taken as long as the group has members. A process that bears it is
        # therefore another's, and the group is empty.
        if not psutil.pid_exists(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def first_exception(self) -> str:
        """Return the first exception in the end of the log, which is what ended a start."""
        found = _TRACEBACK.search(_end_of(self._log))
        return found[1].strip() if found else ""

    def last_words(self, n_lines: int = 3) -> str:
        """Return the last lines of the log, to be shown when the process ended unasked."""
        return " | ".join(_message(line) for line in tail(self._log, n_lines))


def tail(log: Path, n_lines: int) -> list[str]:
    """Return the last `n_lines` lines of `log` that hold anything."""
    return [line.strip() for line in _end_of(log).splitlines() if line.strip()][-n_lines:]


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _message(line: str) -> str:
    """Return what a line of a log says to people: of a JSON object its message, else all of it."""
    try:
        found = json.loads(line)
    except ValueError:
        return line
    return str(found["message"]) if isinstance(found, dict) and "message" in found else line


def describe_exit(code: int | None) -> str:
    """Return how a process ended in words: "exited with code 1", "was killed by SIGKILL"."""
    if code is None:
        return "ended"
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # most real-time signals have no name
        return f"was killed by signal {-code}"


def stop_recorded(records: Sequence[ProcessRecord], grace_seconds: float = 10) -> None:
    """Stop processes that an earlier cluster started and left behind."""
    processes = [process for record in records if (process := record.find()) is not None]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in alive:
        # Each leads a group of its own, see `Processes.start`; its children go with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=grace_seconds)
