"""The file of a recording: its tables, and how it is opened.

::

    looks      when a SeldonDeployment was looked at, and how often it was then
    readings   what each process had counted: all of it, or what changed since its last reading
    settings   its weights and versions, from the look on at which they were new

Of thousands of counters few move from one look to the next, so most readings hold those alone. The
first of each process in every `SNAPSHOT_SECONDS` holds all; what a process had counted at any time
is therefore found from a bounded number of readings.

SQLite in write-ahead mode: readers and the writer never wait for each other, and a writer that is
killed leaves every change but the one it was at.
"""

import contextlib
import itertools
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from abserve.errors import TelemetryError

SNAPSHOT_SECONDS = 600

_APPLICATION = 0x61627376  # "absv"
_FORMAT = 1
_NUMBER_BYTES, _VALUE_BYTES = 4, 8
_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS deployments (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (namespace, name)
);
CREATE TABLE IF NOT EXISTS processes (
    id INTEGER PRIMARY KEY, deployment INTEGER NOT NULL, replica TEXT NOT NULL,
    started_at REAL NOT NULL, UNIQUE (deployment, replica, started_at)
);
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, labels TEXT NOT NULL, UNIQUE (name, labels)
);
CREATE TABLE IF NOT EXISTS looks (
    deployment INTEGER, at REAL, every_seconds REAL NOT NULL, PRIMARY KEY (deployment, at)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS readings (
    deployment INTEGER NOT NULL, at REAL NOT NULL, process INTEGER NOT NULL,
    complete INTEGER NOT NULL, samples BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS readings_by_time ON readings (deployment, at, process);
CREATE TABLE IF NOT EXISTS settings (
    deployment INTEGER, at REAL, generation INTEGER NOT NULL, weights TEXT NOT NULL,
    versions TEXT NOT NULL, available INTEGER NOT NULL, PRIMARY KEY (deployment, at)
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
COMMIT;
"""


class DamagedRecordingError(TelemetryError):
    """The file is no recording, or no whole one."""


class RecordingFile:
    """The file, opened when it is first asked for, and again when another has taken its place.

    Parameters
    ----------
    path : Path
        Where it is.
    create : bool
        Whether to make it if it is not there.
    opened : callable
        Called whenever it was opened: what was known of its contents may not hold any more.
    """

    def __init__(self, path: Path, *, create: bool, opened: Callable[[], object]) -> None:
        self.path = path
        self._create = create
        self._opened = opened
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """Ask several questions about one state of the file, or change it as a whole.

        Parameters
        ----------
        kind : str
            ``DEFERRED`` to read, ``IMMEDIATE`` to write.

        Raises
        ------
        DamagedRecordingError
            If the file is damaged, or something else.
        TelemetryError
            If it is not there, or cannot be read or written for another reason.
        """
        try:
            connection = self._open()
            connection.execute(f"BEGIN {kind}")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            # Its subclasses tell of the disk, of permissions and of locks.
            if type(error) is sqlite3.DatabaseError:
                raise DamagedRecordingError(
                    f"{self.path} is no recording, or a damaged one ({error}); expected what the "
                    "recorder of 'abserve up' writes, which sets such a file aside"
                ) from error
            raise TelemetryError(
                f"{self.path} cannot be used ({error}); see that the disk has room and that the "
                "folder may be written"
            ) from error

    def _open(self) -> sqlite3.Connection:
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            inode = 0
        if self._connection is not None and inode == self._inode:
            return self._connection
        self.close()
        if not inode and not self._create:
            raise TelemetryError(
                f"nothing is recorded: there is no {self.path}; 'abserve up' records the past of "
                "SeldonDeployments with two variants, unless it is told --no-record"
            )
        connection = self._connect()
        self._connection, self._inode = connection, self.path.stat().st_ino
        self._opened()
        return connection

    def _connect(self) -> sqlite3.Connection:
        if self._create:
            # Before SQLite opens it: its log beside it gets the same permissions.
            os.close(os.open(self.path, os.O_CREAT, 0o600))
        # Whoever holds the recording need not use it where it was made.
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        application, found = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        is_empty = not connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        if is_empty and self._create:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_TABLES)
        elif is_empty:
            raise TelemetryError(f"nothing is recorded in {self.path} yet; wait for the first look")
        elif application != _APPLICATION:
            raise DamagedRecordingError(
                f"{self.path} is a database of something else; expected what the recorder of "
                "'abserve up' writes, which sets such a file aside"
            )
        elif found > _FORMAT:
            raise TelemetryError(
                f"{self.path} was written by a later abserve (format {found}, this one reads "
                f"{_FORMAT}); use that one, or move the file away to begin a new recording"
            )
        # What was committed survives the death of this process; only the machine's may lose a look.
        connection.execute("PRAGMA synchronous = NORMAL")


def period_of(at: float) -> int:
    """Return the number of the period in which a process's first reading holds everything."""
    return int(at // SNAPSHOT_SECONDS)


def last_look(
    connection: sqlite3.Connection, deployment: int, before: float = float("inf")
) -> float | None:
    """Return the time of the last look at a SeldonDeployment, None if there is none."""
    (found,) = connection.execute(
        "SELECT MAX(at) FROM looks WHERE deployment = ? AND at < ?", (deployment, before)
    ).fetchone()
    return None if found is None else float(found)


def pack(samples: Mapping[int, float]) -> bytes:
    """Return values by the number of their series as bytes.

    Numbers as gaps between them, and byte by byte of all numbers and of all values: high bytes are
    much alike, which makes the result half as long.
    """
    numbers = sorted(samples)
    gaps = (number - before for before, number in itertools.pairwise((0, *numbers)))
    values = (samples[number] for number in numbers)
    n = len(numbers)
    return zlib.compress(
        _by_place(struct.pack(f"<{n}I", *gaps), n) + _by_place(struct.pack(f"<{n}d", *values), n)
    )


def unpack(packed: bytes) -> dict[int, float]:
    """Return what `pack` made bytes of.

    Raises
    ------
    DamagedRecordingError
        If it is not that any more.
    """
    try:
        content = zlib.decompress(packed)
    except zlib.error as error:
        raise DamagedRecordingError(
            f"a reading in the recording is damaged ({error}); what is younger may be whole. To "
            "begin a new recording, move the file away"
        ) from error
    n = len(content) // (_NUMBER_BYTES + _VALUE_BYTES)
    end = n * _NUMBER_BYTES
    gaps = struct.unpack(f"<{n}I", _by_place(content[:end], _NUMBER_BYTES))
    values = struct.unpack(f"<{n}d", _by_place(content[end:], _VALUE_BYTES))
    return dict(zip(itertools.accumulate(gaps), values, strict=True))


def _by_place(content: bytes, n_rows: int) -> bytes:
    """Return the columns of a table of bytes, one after the other."""
    width = len(content) // n_rows if n_rows else 0
    return b"".join(content[place::width] for place in range(width))
