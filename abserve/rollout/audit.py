"""The audit log of one rollout: a file of JSON lines that only grows, and cannot be edited unseen.

::

    {"before": "000...", "kind": "begin", ..., "hash": "a1f..."}
    {"before": "a1f...", "kind": "weights", ..., "hash": "07c..."}
               │                                        └── SHA-256 of this line up to here
               └── hash of the line before

Whoever changes a byte changes a hash, in that line or in the next. A line is one write, is on the
disk before it is acted on, and never changed; a process that is killed leaves at most a last line
without its end, which is cut off by whoever goes on.

Numbers are written so that they are read back bit for bit.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from abserve.analysis import Experiment, Observed
from abserve.errors import AuditError
from abserve.rollout.records import FORMAT, Begin, Record, from_json, to_json
from abserve.rollout.state import State

_FIRST = "0" * 64
_BEFORE, _HASH, _END = '{"before": "', ', "hash": "', '"}'
_N_DIGITS = 64
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class AuditLog:
    """What a log says.

    `state` is what all records together say. `torn_bytes` is how many bytes at the end are none of
    them, because whoever wrote them was killed.
    """

    path: Path
    records: tuple[Record, ...]
    state: State
    torn_bytes: int = 0

    @property
    def experiment(self) -> Experiment:
        return self.state.begin.experiment

    @property
    def observed(self) -> Observed:
        """What was counted so far, as of the last record."""
        return self.state.observed()


def read_log(path: Path) -> AuditLog:
    """Read an audit log and verify its chain.

    Parameters
    ----------
    path : Path
        The file; it may be written meanwhile.

    Raises
    ------
    AuditError
        If it cannot be read, is no audit log, or a line was changed, removed or added. The message
        names the line.
    """
    return _parse(path, _read(path))[0]


def log_folder(home: Path, namespace: str, name: str) -> Path:
    """Return where the logs of one SeldonDeployment are, in the folder of a local cluster."""
    return home / "rollouts" / namespace / name


def latest_log(folder: Path) -> Path | None:
    """Return the log in `folder` that was begun last; None if there is none."""
    return max(folder.glob("*.jsonl"), default=None)


class AuditWriter:
    """Appends to one log.

    It holds the file's lock only while it appends; another process that appended meanwhile is
    noticed then, and nothing is written.
    """

    def __init__(self, path: Path, before: str, n_bytes: int) -> None:
        self.path = path
        self._before = before
        self._n_bytes = n_bytes

    @classmethod
    def create(cls, folder: Path, begin: Begin) -> "AuditWriter":
        """Begin a new log in `folder`, named after when it began.

        Raises
        ------
        AuditError
            If it cannot be written.
        """
        began = datetime.fromtimestamp(begin.at, UTC)
        path = folder / f"{began:%Y%m%dT%H%M%S.%fZ}.jsonl"
        line, digest = _line(begin, _FIRST)
        with _writing(path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Under another name until its first line is on the disk: no log lacks it.
            temporary = folder / f".{path.name}.new"
            with open(temporary, "wb", opener=_private) as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            # Fails where there is one, which a replacement would destroy.
            os.link(temporary, path)
            temporary.unlink()
            _sync_folder(folder)
        return cls(path, digest, len(line))

    @classmethod
    def going_on(cls, path: Path) -> "tuple[AuditWriter, AuditLog]":
        """Go on with a log, and return what it says; the torn end that it may have is cut off.

        Raises
        ------
        AuditError
            As `read_log`, or if it cannot be written.
        """
        with _writing(path), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            content = file.read()
            log, before = _parse(path, content)
            n_bytes = len(content) - log.torn_bytes
            if log.torn_bytes:
                file.truncate(n_bytes)
                os.fsync(file.fileno())
        return cls(path, before, n_bytes), log

    def append(self, record: Record) -> Record:
        """Write a record so that it is on the disk; return it as it will be read back.

        Raises
        ------
        AuditError
            If the file cannot be written, or somebody else wrote to it.
        """
        line, digest = _line(record, self._before)
        with _writing(self.path), self.path.open("r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            found = file.seek(0, os.SEEK_END)
            if found != self._n_bytes:
                raise AuditError(
                    f"{self.path} has {found} bytes, expected the {self._n_bytes} that were "
                    "written here; another process writes to it: end that one, or this one"
                )
            if file.write(line) != len(line):
                file.truncate(found)
                raise AuditError(f"{self.path} takes no more; is the disk full?")
            os.fsync(file.fileno())
        self._before, self._n_bytes = digest, found + len(line)
        return _record_in(line)


def json_line(record: Record) -> str:
    """Return a record as one line of JSON, without hashes."""
    return json.dumps(to_json(record), allow_nan=False)


def _line(record: Record, before: str) -> tuple[bytes, str]:
    hashed = f'{_BEFORE}{before}", {json_line(record)[1:-1]}'.encode()
    digest = hashlib.sha256(hashed).hexdigest()
    return hashed + f"{_HASH}{digest}{_END}\n".encode(), digest


def _record_in(line: bytes) -> Record:
    """Return the record of a whole line."""
    begin = len(_BEFORE) + _N_DIGITS + len('", ')
    end = len(_HASH) + _N_DIGITS + len(_END) + len("\n")
    return from_json(b"{" + line[begin:-end] + b"}")


def _parse(path: Path, content: bytes) -> tuple[AuditLog, str]:
    """Return what a log says, and the hash of its last line."""
    lines = content.splitlines(keepends=True)
    torn = b"" if content.endswith(b"\n") else lines.pop() if lines else b""
    if not lines:
        raise AuditError(f"{path} holds no whole line; expected an audit log of 'abserve rollout'")
    if not lines[0].startswith(f"{_BEFORE}{_FIRST}".encode()):
        raise AuditError(
            f"{path}, line 1: found {_shown(lines[0])}; expected the first line of an audit log of "
            f"'abserve rollout', which begins with {_BEFORE}{'0' * 8}..."
        )
    before, begin = _checked(path, 1, lines[0], _FIRST)
    if not isinstance(begin, Begin):
        raise AuditError(f"{path}, line 1: found a record {begin.kind!r}; expected 'begin'")
    state = State.of(begin)
    records: list[Record] = [begin]
    for number, line in enumerate(lines[1:], start=2):
        before, record = _checked(path, number, line, before)
        if isinstance(record, Begin):
            raise AuditError(f"{path}, line {number}: found a second record 'begin'")
        try:
            state = state.after(record)
        except AuditError as error:
            raise AuditError(f"{path}, line {number}: {error}") from error
        records.append(record)
    return AuditLog(path, tuple(records), state, len(torn)), before


def _checked(path: Path, number: int, line: bytes, before: str) -> tuple[str, Record]:
    """Return the hash and the record of a line, after verifying it."""
    where = f"{path}, line {number}"
    digest = _check(line, before, where)
    try:
        return digest, _record_in(line)
    except ValidationError as error:
        raise AuditError(
            f"{where}: its hash is right, but it is no record of {FORMAT!r} "
            f"({error.errors()[0]['msg']}); was it written by another abserve?"
        ) from error


def _check(line: bytes, before: str, where: str) -> str:
    """Return the hash of a line, after verifying it."""
    n_end = len(_HASH) + _N_DIGITS + len(_END) + len("\n")
    hashed, end = line[:-n_end], line[-n_end:]
    digest = hashlib.sha256(hashed).hexdigest()
    if end != f"{_HASH}{digest}{_END}\n".encode():
        raise AuditError(
            f"{where}: its hash is not that of what stands there; the line was changed since it "
            f"was written: {_shown(line)}"
        )
    if not hashed.startswith(f'{_BEFORE}{before}", '.encode()):
        raise AuditError(
            f"{where}: it follows another line than the one before it; lines were removed, added "
            "or exchanged here"
        )
    return digest


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Not while a line is being written.
            fcntl.flock(file, fcntl.LOCK_SH)
            return file.read()
    except OSError as error:
        raise AuditError(
            f"{path} cannot be read ({error.strerror}); expected the audit log of a rollout"
        ) from error


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AuditError(
            f"{path} cannot be written ({error.strerror}); nothing is done without it: mend that, "
            "then go on with the same command"
        ) from error


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", errors="replace").rstrip("\n")
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
