"""Processes: started in a group of their own, logged to a file, recorded, and stopped for sure.

Each child leads its own session, so a ctrl-C on the terminal reaches the cluster alone and the
cluster takes its children down in order.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from abserve.cluster.home import Home, ProcessRecord, record_of

# Everything else of the caller's environment stays out: a pod on Kubernetes does not see it either.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "LD_LIBRARY_PATH")

_LOG_TAIL_BYTES = 16_384


class Processes:
    """The children of one cluster; `home` keeps their record for the case that it dies first."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._records: dict[int, ProcessRecord] = {}

    async def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        log: Path,
        folder: Path,
    ) -> "Child":
        """Start `command` in `folder`, its output appended to `log`."""
        inherited = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        with log.open("ab") as output:
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
            self._records[process.pid] = record_of(name, process.pid)
            self._home.write_processes(self._records.values())
        return Child(name, process, log, self)

    def forget(self, pid: int) -> None:
        """Take an ended process off the record."""
        if self._records.pop(pid, None) is not None:
            self._home.write_processes(self._records.values())


class Child:
    """One running process."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, log: Path, processes: Processes
    ) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log
        self._processes = processes

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait until the process has ended; return its exit code, negative for a signal."""
        code = await self._process.wait()
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

    def last_words(self, n_lines: int = 3) -> str:
        """Return the last lines of the log, to be shown when the process ended unasked."""
        return " | ".join(_message(line) for line in tail(self._log, n_lines))


def tail(log: Path, n_lines: int) -> list[str]:
    """Return the last `n_lines` lines of `log` that hold anything."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()][-n_lines:]


def _message(line: str) -> str:
    """Return what a line of a log says to people: of a JSON object its message, else all of it."""
    try:
        found = json.loads(line)
    except ValueError:
        return line
    return str(found["message"]) if isinstance(found, dict) and "message" in found else line


def describe_exit(code: int) -> str:
    """Return how a process ended in words: "exited with code 1", "was killed by SIGKILL"."""
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
