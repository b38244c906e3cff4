"""The past of a cluster, written: one look after the other.

What counts had changed since the last look is known from memory; a writer that begins writes them
all. A file that is damaged, or none of ours, is set aside, and never removed.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from abserve.errors import TelemetryError
from abserve.rollout.recording_file import (
    SNAPSHOT_SECONDS,
    DamagedRecordingError,
    RecordingFile,
    last_look,
    pack,
    period_of,
)
from abserve.telemetry import ReplicaReading, Series

KEPT_SECONDS = 31 * 24 * 3600
# At once, so that no look has to wait for long.
_PRUNED_SECONDS = 6 * SNAPSHOT_SECONDS

# How to find the number of a row, and how to add one.
_DEPLOYMENT = (
    "SELECT id FROM deployments WHERE namespace = ? AND name = ?",
    "INSERT INTO deployments (namespace, name) VALUES (?, ?) RETURNING id",
)
_PROCESS = (
    "SELECT id FROM processes WHERE deployment = ? AND replica = ? AND started_at = ?",
    "INSERT INTO processes (deployment, replica, started_at) VALUES (?, ?, ?) RETURNING id",
)
_SERIES = (
    "SELECT id FROM series WHERE name = ? AND labels = ?",
    "INSERT INTO series (name, labels) VALUES (?, ?) RETURNING id",
)


@dataclass(frozen=True, slots=True)
class _Written:
    """The last reading of a replica in the file, its samples by the number of their series."""

    process: int
    period: int
    samples: Mapping[int, float]


class RecordingWriter:
    """Writes a recording.

    Parameters
    ----------
    path : Path
        The file; made if it does not exist.
    every_seconds : float
        How often there is to be a look.
    report : callable
        Told when a file is set aside, why, and where it is then.

    Raises
    ------
    TelemetryError
        If the file cannot be written, or was written by a later abserve.
    """

    def __init__(self, path: Path, every_seconds: float, report: Callable[[str], None]) -> None:
        self._every_seconds = every_seconds
        self._report = report
        self._series: dict[Series, int] = {}
        self._written: dict[int, dict[str, _Written]] = {}
        self._file = RecordingFile(path, create=True, opened=self._forget)
        try:
            self._remove_processes_without_readings()
        except DamagedRecordingError as error:
            self.begin_anew(str(error))
            self._remove_processes_without_readings()

    def close(self) -> None:
        self._file.close()

    def add(
        self, namespace: str, deployment: str, at: float, replicas: Mapping[str, ReplicaReading]
    ) -> None:
        """Add a look at a SeldonDeployment: what its replicas had counted, by name.

        Raises
        ------
        TelemetryError
            If there is a later look already, or the file cannot be written.
        """
        with self._writing() as connection:
            number = _number(connection, *_DEPLOYMENT, (namespace, deployment))
            before = last_look(connection, number)
            if before is not None and at <= before:
                raise TelemetryError(
                    f"a look at {deployment!r} at {at:.3f} s since 1970 does not come after the "
                    f"last one, at {before:.3f} s; expected looks in order"
                )
            connection.execute(
                "INSERT INTO looks VALUES (?, ?, ?)", (number, at, self._every_seconds)
            )
            written = self._written.get(number, {})
            self._written[number] = {
                replica: self._write(connection, number, at, replica, reading, written.get(replica))
                for replica, reading in replicas.items()
            }

    def add_setting(
        self,
        namespace: str,
        deployment: str,
        at: float,
        *,
        generation: int,
        weights: Mapping[str, int],
        versions: Mapping[str, str],
        available: bool,
    ) -> None:
        """Add what a look found a SeldonDeployment to say, unless it said so before.

        Raises
        ------
        TelemetryError
            If the file cannot be written.
        """
        found = (generation, json.dumps(dict(weights)), json.dumps(dict(versions)), int(available))
        with self._writing() as connection:
            number = _number(connection, *_DEPLOYMENT, (namespace, deployment))
            before = connection.execute(
                "SELECT generation, weights, versions, available FROM settings "
                "WHERE deployment = ? ORDER BY at DESC LIMIT 1",
                (number,),
            ).fetchone()
            if before != found:
                connection.execute(
                    "INSERT INTO settings VALUES (?, ?, ?, ?, ?, ?)", (number, at, *found)
                )

    def last_look(self) -> float | None:
        """Return when the last look at any SeldonDeployment was, None if there was none."""
        with self._writing() as connection:
            looks = [last_look(connection, number) for number in _deployments(connection)]
        return max((look for look in looks if look is not None), default=None)

    def begin_anew(self, why: str) -> None:
        """Set the file aside; what is added from here on goes to a new one."""
        self._file.close()
        path = self._file.path
        aside = path.with_name(f"{path.name}.{time.time_ns()}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        self._report(f"{why}. {path.name} is kept as {aside.name}, and a new recording begins")

    def prune(self, now: float) -> None:
        """Remove the oldest hour of what is older than `KEPT_SECONDS`, of each SeldonDeployment.

        The last setting from before stays, since it is the one in force afterwards.
        """
        # Whole periods, since each can be read without the one before.
        kept_from = period_of(now - KEPT_SECONDS) * SNAPSHOT_SECONDS
        with self._writing() as connection:
            for number in _deployments(connection):
                (oldest,) = connection.execute(
                    "SELECT MIN(at) FROM looks WHERE deployment = ?", (number,)
                ).fetchone()
                if oldest is None or oldest >= kept_from:
                    continue
                end = min(kept_from, period_of(oldest) * SNAPSHOT_SECONDS + _PRUNED_SECONDS)
                older = (number, end)
                connection.execute("DELETE FROM looks WHERE deployment = ? AND at < ?", older)
                connection.execute("DELETE FROM readings WHERE deployment = ? AND at < ?", older)
                connection.execute(
                    "DELETE FROM settings WHERE deployment = ? AND at < "
                    "(SELECT MAX(at) FROM settings WHERE deployment = ? AND at < ?)",
                    (number, *older),
                )

    def _write(
        self,
        connection: sqlite3.Connection,
        deployment: int,
        at: float,
        replica: str,
        reading: ReplicaReading,
        before: _Written | None,
    ) -> _Written:
        process = _number(connection, *_PROCESS, (deployment, replica, reading.started_at))
        samples = {
            self._series_number(connection, s): value for s, value in reading.samples.items()
        }
        changed = samples
        is_next = (
            before is not None
            and before.process == process
            and before.period == period_of(at)
            and before.samples.keys() <= samples.keys()
        )
        if before is not None and is_next:
            known = before.samples
            changed = {key: value for key, value in samples.items() if known.get(key) != value}
        connection.execute(
            "INSERT INTO readings VALUES (?, ?, ?, ?, ?)",
            (deployment, at, process, int(not is_next), pack(changed)),
        )
        return _Written(process, period_of(at), samples)

    def _series_number(self, connection: sqlite3.Connection, series: Series) -> int:
        number = self._series.get(series)
        if number is None:
            labels = json.dumps(series.labels)
            number = _number(connection, *_SERIES, (series.name, labels))
            self._series[series] = number
        return number

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._file.transaction("IMMEDIATE") as connection:
                yield connection
        except DamagedRecordingError as error:
            self.begin_anew(str(error))
            raise
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        """Forget what was written: the file may not hold it."""
        self._series.clear()
        self._written.clear()

    def _remove_processes_without_readings(self) -> None:
        with self._file.transaction("IMMEDIATE") as connection:
            connection.execute(
                "DELETE FROM processes WHERE id NOT IN (SELECT process FROM readings)"
            )


def _deployments(connection: sqlite3.Connection) -> Sequence[int]:
    return [number for (number,) in connection.execute("SELECT id FROM deployments").fetchall()]


def _number(
    connection: sqlite3.Connection, find: str, add: str, row: tuple[str | int | float, ...]
) -> int:
    """Return the number under which a row is kept, which is added if it is new."""
    found = connection.execute(find, row).fetchone() or connection.execute(add, row).fetchone()
    return int(found[0])
