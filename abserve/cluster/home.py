"""The folder of one local cluster, ``.abserve/``, and who is running in it.

::

    .abserve/
    ├── kubeconfig        what kubectl needs; readable by its owner only
    ├── state.db          the objects, and what the next start needs to be the same cluster
    ├── recording.db      what the replicas had counted, over time
    ├── cluster.json      ports and process of the running cluster
    ├── processes.json    every process it started, by number and start time
    ├── lock              held by the running cluster; the kernel lets go when it dies
    ├── repository/       the model repository, unless another was named
    ├── tls/ gateway/     certificates; what Envoy reads
    ├── pods/             a folder for each replica: its copy, and the logs of its containers
    └── logs/             a file for each other process

A process is recognised by its number *and* its start time, never by its name: numbers are used
again, and only what this cluster started may be stopped by it.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from pydantic import Field, TypeAdapter, ValidationError

from abserve.errors import ClusterError
from abserve.schema import Value

# For the state with its journal, a copy of a version and the first lines of its logs. With less a
# cluster ends in the middle of its start, and has no room to say why.
_LEAST_FREE_BYTES = 16 * 1024 * 1024
# What cannot be written, because a disk is full for example, is tried again after so long.
AGAIN_SECONDS = 5.0


class ProcessRecord(Value):
    """One process: `started` is its start time in clock ticks since the machine was booted.

    Not a time of day: setting the clock must not make a process somebody else's. `details` is what
    a later cluster needs to take the process over: its ports, what it runs.
    """

    name: str
    pid: int
    started: int
    details: dict[str, Any] = Field(default_factory=dict)

    def find(self) -> psutil.Process | None:
        """Return the process if it is still the one that was recorded, else None."""
        try:
            process = psutil.Process(self.pid)
            same = _started(self.pid) == self.started
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


_RECORDS = TypeAdapter(tuple[ProcessRecord, ...])


def record_of(name: str, pid: int, details: Mapping[str, Any] | None = None) -> ProcessRecord:
    """Return the record of a process that is running now."""
    return ProcessRecord(name=name, pid=pid, started=_started(pid), details=dict(details or {}))


def _started(pid: int) -> int:
    """Return field 22 of proc(5)'s ``stat``; the second, the name, may hold spaces and brackets."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return int(fields[19])


class ClusterRecord(Value):
    """Where a running cluster answers. `ready` is false while it is still starting."""

    process: ProcessRecord
    ready: bool
    repository: str
    api_url: str
    gateway_url: str
    console_url: str | None = None


class Home:
    """The files of a local cluster.

    Parameters
    ----------
    folder : Path
        Created with its subfolders when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.kubeconfig = self.folder / "kubeconfig"
        self.state = self.folder / "state.db"
        self.recording = self.folder / "recording.db"
        self.repository = self.folder / "repository"
        self.tls = self.folder / "tls"
        self.gateway = self.folder / "gateway"
        self.pods = self.folder / "pods"
        self.logs = self.folder / "logs"
        self.log = self.logs / "cluster.log"
        self._cluster = self.folder / "cluster.json"
        self._processes = self.folder / "processes.json"

    def make(self) -> None:
        """Create the folders; only their owner may look inside.

        Raises
        ------
        ClusterError
            If the folder cannot be written, or its disk is full.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.tls, self.gateway, self.pods, self.logs):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ClusterError(
                f"{self.folder} cannot be written ({error.strerror}); "
                "name another folder with --home"
            ) from error
        free_bytes = shutil.disk_usage(self.folder).free
        if free_bytes < _LEAST_FREE_BYTES:
            raise ClusterError(
                f"{free_bytes:,} bytes are free on the disk of {self.folder}; expected at least "
                f"{_LEAST_FREE_BYTES:,}: make room, or name another folder with --home"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one running cluster.

        Raises
        ------
        ClusterError
            If a cluster is already running in this folder.
        """
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ClusterError(
                    f"a local cluster is already running in {self.folder}; "
                    "use it, or stop it with 'abserve down'"
                ) from error
            yield

    def cluster(self) -> ClusterRecord | None:
        """Return the record of the cluster that runs here, or None if none does."""
        record = self._read_cluster()
        return record if record is not None and record.process.find() is not None else None

    def write_cluster(self, record: ClusterRecord | None) -> None:
        if record is None:
            self._cluster.unlink(missing_ok=True)
        else:
            write_atomically(self._cluster, record.model_dump_json(indent=2).encode())

    def processes(self) -> tuple[ProcessRecord, ...]:
        """Return the recorded processes that are still running."""
        try:
            records = _RECORDS.validate_json(self._processes.read_bytes())
        except (OSError, ValidationError):
            return ()
        return tuple(record for record in records if record.find() is not None)

    def write_processes(self, records: Iterable[ProcessRecord]) -> None:
        entries = [record.model_dump() for record in records]
        if entries:
            write_atomically(self._processes, json.dumps(entries, indent=2).encode())
        else:
            # To remove a file takes no room: a cluster can be stopped while its disk is full.
            self._processes.unlink(missing_ok=True)

    def _read_cluster(self) -> ClusterRecord | None:
        try:
            return ClusterRecord.model_validate_json(self._cluster.read_bytes())
        except (OSError, ValidationError):
            return None


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace the file at `path` in one step, so that no reader sees half of it.

    Raises
    ------
    ClusterError
        If it cannot be written; what was there is there still.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise cannot_write(path, error.strerror) from error


def cannot_write(path: Path, why: str | None) -> ClusterError:
    """Return the error of a file in a cluster's folder that takes no more."""
    return ClusterError(
        f"{path} cannot be written ({why}); make room on its disk, or mend its permissions"
    )
