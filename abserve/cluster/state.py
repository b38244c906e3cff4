"""What a local cluster still knows after it was stopped or killed: its objects, and itself.

::

    state.db   objects    kind, namespace, name -> document   every change is one transaction
               settings   name -> value                       token, ports, what is routed

SQLite in write-ahead mode: a change is in the file before it is announced to anybody, and a
process that is killed in the middle of one leaves the state before it. A disk that is full leaves
it, too: what there is no room for is refused.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from abserve.cluster.home import cannot_write
from abserve.errors import ClusterError

_FORMAT = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    plural TEXT, namespace TEXT, name TEXT, document TEXT NOT NULL,
    PRIMARY KEY (plural, namespace, name)
);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_VERSION = "version"

Key = tuple[str, str, str]
"""Plural of the kind, namespace and name; the namespace is empty for what has none."""


class State:
    """The state of one cluster.

    Parameters
    ----------
    path : Path, optional
        Its file; without one the state lives in memory, as long as this object.

    Raises
    ------
    ClusterError
        If the file is none of ours, was written by a later abserve, or cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(":memory:")
        if path is not None:
            # Before SQLite opens it: its log beside it gets the same permissions.
            path.touch(mode=0o600)
        # It is used by whoever runs the event loop, which need not be who opened it.
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        try:
            found = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if found > _FORMAT:
                raise ClusterError(
                    f"{path} was written by a later abserve (format {found}, this one reads "
                    f"{_FORMAT}); use that one, or another folder with --home"
                )
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A change survives the death of this process; only the machine's may lose the last.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_TABLES)
            self._connection.execute(f"PRAGMA user_version = {_FORMAT}")
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise cannot_write(self._path, str(error)) from error
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ClusterError(
                f"{path} cannot be read ({error}); move it away to begin with an empty cluster, "
                "or name another folder with --home"
            ) from error

    def close(self) -> None:
        self._connection.close()

    @property
    def version(self) -> int:
        """The number of the newest change that was kept."""
        return int(self.setting(_VERSION) or 0)

    def objects(self) -> Iterator[tuple[Key, dict[str, Any]]]:
        for plural, namespace, name, document in self._connection.execute(
            "SELECT plural, namespace, name, document FROM objects"
        ):
            yield (plural, namespace, name), json.loads(document)

    def keep(self, key: Key, document: dict[str, Any] | None, version: int) -> None:
        """Keep an object as it is after change number `version`; None if it is not to be kept.

        Raises
        ------
        ClusterError
            If the file cannot be written; it is then as before.
        """
        with self._transaction():
            if document is None:
                self._connection.execute(
                    "DELETE FROM objects WHERE plural = ? AND namespace = ? AND name = ?", key
                )
            else:
                self._connection.execute(
                    "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
                    (*key, json.dumps(document)),
                )
            self._settle(_VERSION, str(version))

    def setting(self, name: str) -> str | None:
        found = self._connection.execute(
            "SELECT value FROM settings WHERE name = ?", (name,)
        ).fetchone()
        return str(found[0]) if found else None

    def settle(self, name: str, value: str | None) -> None:
        """Keep a setting, or forget it if `value` is None.

        Raises
        ------
        ClusterError
            If the file cannot be written; it is then as before.
        """
        with self._transaction():
            self._settle(name, value)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise cannot_write(self._path, str(error)) from error
        finally:
            # A disk that is full may have ended the transaction already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _settle(self, name: str, value: str | None) -> None:
        if value is None:
            self._connection.execute("DELETE FROM settings WHERE name = ?", (name,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))
