"""The past of a cluster, read: what its replicas had counted, and under which weights.

::

    Recorder ──> RecordingWriter ──> recording.db ──> Recording ──> abserve analyze, abserve rollout

The file may be written all the while, by another process.
"""

import datetime as dt
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from abserve.errors import LostCountsError, TelemetryError
from abserve.rollout.recording_file import (
    SNAPSHOT_SECONDS,
    RecordingFile,
    last_look,
    period_of,
    unpack,
)
from abserve.telemetry import Reading, ReplicaReading, Series

STALE_AFTER = 3
"""How many intervals a replica may go without a reading before it counts as gone."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a SeldonDeployment was found to say, from the look at `at` to the one at `until`.

    `weights`, in whole percent, and `versions` are by predictor, shadows left out. They are in
    force while it is `available`. What was so between `until` and the next setting's `at` is not
    known.
    """

    at: float
    generation: int
    weights: Mapping[str, int]
    versions: Mapping[str, str]
    available: bool
    until: float


class Recording:
    """A recording, for those who read it.

    Parameters
    ----------
    path : Path
        The file. It is opened when it is first asked for something.
    """

    def __init__(self, path: Path) -> None:
        self._series: dict[int, Series] = {}
        self._file = RecordingFile(path, create=False, opened=self._series.clear)

    def close(self) -> None:
        self._file.close()

    def history(self, namespace: str, deployment: str) -> "RecordedHistory":
        """Return the past of one SeldonDeployment: an `abserve.rollout.history.History`."""
        return RecordedHistory(self, namespace, deployment)

    def settings(self, namespace: str, deployment: str) -> list[Setting]:
        """Return what one SeldonDeployment was found to say, the oldest first.

        Raises
        ------
        TelemetryError
            If nothing of it is recorded, or the file cannot be read.
        """
        with self._file.transaction("DEFERRED") as connection:
            number = self._number(connection, namespace, deployment)
            rows = connection.execute(
                "SELECT at, generation, weights, versions, available FROM settings "
                "WHERE deployment = ? ORDER BY at",
                (number,),
            ).fetchall()
            ends = [*(row[0] for row in rows[1:]), float("inf")]
            looks = [last_look(connection, number, before=end) for end in ends]
        return [
            Setting(
                at,
                generation,
                json.loads(weights),
                json.loads(versions),
                available=bool(available),
                until=at if look is None else max(at, look),
            )
            for (at, generation, weights, versions, available), look in zip(
                rows, looks, strict=True
            )
        ]

    def reading(
        self, namespace: str, deployment: str, at: float, since: float | None = None
    ) -> Reading:
        """Return what each replica of one SeldonDeployment had counted; see `RecordedHistory`."""
        with self._file.transaction("DEFERRED") as connection:
            number = self._number(connection, namespace, deployment)
            oldest = self._oldest(connection, number, deployment, at, since)
            rows = connection.execute(
                "SELECT readings.at, process, replica, started_at, complete, samples FROM readings "
                "JOIN processes ON processes.id = process "
                "WHERE readings.deployment = ? AND readings.at BETWEEN ? AND ? "
                "ORDER BY readings.at",
                (number, period_of(oldest) * SNAPSHOT_SECONDS, at),
            ).fetchall()
            self._read_series(connection)
        parts: dict[int, list[bytes]] = {}
        latest: dict[str, tuple[int, float]] = {}
        for read_at, process, replica, started_at, complete, samples in rows:
            if complete:
                parts[process] = []
            parts[process].append(samples)
            if read_at >= oldest:
                latest[replica] = (process, started_at)
        return Reading(
            at,
            {
                replica: ReplicaReading(started_at, self._samples(parts[process]))
                for replica, (process, started_at) in latest.items()
            },
        )

    def _number(self, connection: sqlite3.Connection, namespace: str, deployment: str) -> int:
        found = connection.execute(
            "SELECT id FROM deployments WHERE namespace = ? AND name = ?", (namespace, deployment)
        ).fetchone()
        if found is None:
            raise TelemetryError(
                f"{self._file.path} has nothing of SeldonDeployment {deployment!r} in namespace "
                f"{namespace!r}; expected it to have two variants, which 'abserve up' then records"
            )
        return int(found[0])

    def _oldest(
        self,
        connection: sqlite3.Connection,
        number: int,
        deployment: str,
        at: float,
        since: float | None,
    ) -> float:
        """Return of when a reading may be at `at`, if somebody has looked since then."""
        found = connection.execute(
            "SELECT at, every_seconds FROM looks WHERE deployment = ? AND at <= ? "
            "ORDER BY at DESC LIMIT 1",
            (number, at),
        ).fetchone()
        unknown = f"what {deployment!r} had counted at {_time(at)} is not known: "
        if found is None:
            raise LostCountsError(
                f"{unknown}its recording in {self._file.path} begins later, or what is that old is "
                "not kept any more"
            )
        looked_at, every_seconds = found
        oldest: float = at - STALE_AFTER * every_seconds if since is None else since
        if looked_at >= oldest:
            return oldest
        expected = f"the last look before was at {_time(looked_at)}, expected one every"
        if last_look(connection, number) != looked_at:
            raise LostCountsError(
                f"{unknown}{expected} {every_seconds:g} s. There was no recorder then, or there "
                "were not two variants"
            )
        raise TelemetryError(
            f"{unknown}{expected} {every_seconds:g} s. See that 'abserve up' runs, that 'abserve "
            "logs --system' shows no trouble of the recorder, and that there are two variants"
        )

    def _read_series(self, connection: sqlite3.Connection) -> None:
        for number, name, labels in connection.execute(
            "SELECT id, name, labels FROM series WHERE id > ?", (max(self._series, default=0),)
        ):
            self._series[number] = Series(
                name, tuple((key, each) for key, each in json.loads(labels))
            )

    def _samples(self, parts: list[bytes]) -> dict[Series, float]:
        by_number: dict[int, float] = {}
        for part in parts:
            by_number.update(unpack(part))
        return {self._series[number]: value for number, value in by_number.items()}


class RecordedHistory:
    """The recorded past of one SeldonDeployment."""

    def __init__(self, recording: Recording, namespace: str, deployment: str) -> None:
        self._recording = recording
        self._namespace = namespace
        self._deployment = deployment

    def reading(self, at: float, since: float | None = None) -> Reading:
        """Return what each replica had counted at `at`, in seconds since 1970.

        A replica is absent if it was not read since then, by default within `STALE_AFTER` intervals
        before. The answer is final once a look later than `at` is recorded.

        Raises
        ------
        LostCountsError
            If nobody looked within that time, and somebody did later.
        TelemetryError
            If nobody has looked since, or the file cannot be read.
        """
        return self._recording.reading(self._namespace, self._deployment, at, since)


def _time(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(" ", "seconds")
