"""What was scored already, on disk: whole parts in order, and what they are parts of.

::

    OUT.parts/job.json                            the input's SHA-256, and what is asked for
    OUT.parts/000000000000-000000100000.parquet   rows 0 to 99,999
    OUT.parts/000000100000-000000152000.parquet   the next
    OUT                                           all of them in one, once there is none missing

A part and OUT get their name when they are whole and on the disk, so that whatever ends a run
leaves them whole or not there at all. OUT says which input it was made of: a run that finds its
own work done has nothing to do.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from abserve.errors import ScoringError

JOB_KEY = b"abserve.scoring"

_JOB = "job.json"
_LOCK = "lock"
_PART = re.compile(r"(\d{12})-(\d{12})\.parquet")
_UNFINISHED = ".unfinished"


class Parts:
    """The parts of one output file; nobody else may work on it as long as the block lasts.

    Parameters
    ----------
    target : Path
        The file that they become.
    job : mapping of str to JSON
        What decides about the rows that are written: the input, the model, the columns.

    Attributes
    ----------
    finished : bool
        Whether the output is there, made by this job.
    n_rows : int
        How many rows the parts hold.
    folder : Path
        Where they are.

    Raises
    ------
    ScoringError
        If there is another's work in the way, or another run at work.
    """

    def __init__(self, target: Path, job: Mapping[str, Any]) -> None:
        self._target = target
        self._job = json.dumps(job, sort_keys=True)
        self.folder = target.with_name(target.name + ".parts")
        self.finished = False
        self.n_rows = 0
        self._files: list[Path] = []

    def __enter__(self) -> "Parts":
        # Before anything is written beside what is another's.
        self._is_finished()
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock = (self.folder / _LOCK).open("a")
        except OSError as error:
            raise ScoringError(f"{self.folder} cannot be written: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise ScoringError(
                f"another run is writing {self._target}; wait for it, or end it"
            ) from error
        try:
            self.finished = self._is_finished()
            if not self.finished:
                self._take_over()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def last_version(self, column: str) -> str | None:
        """Return what the last part has in the last of its rows that has anything."""
        if not self._files:
            return None
        found = pq.read_table(self._files[-1], columns=[column])[column].drop_null()
        version: str | None = found[-1].as_py() if len(found) else None
        return version

    def add(self, table: pa.Table) -> None:
        """Write the rows that follow."""
        end = self.n_rows + table.num_rows
        file = self.folder / f"{self.n_rows:012}-{end:012}.parquet"
        unfinished = file.with_name(file.name + _UNFINISHED)
        with _writing(unfinished):
            pq.write_table(table, unfinished)
            _publish(unfinished, file)
        self._files.append(file)
        self.n_rows = end

    def finish(self, schema: pa.Schema) -> None:
        """Make the output of the parts, and remove them."""
        described = schema.with_metadata({**(schema.metadata or {}), JOB_KEY: self._job.encode()})
        unfinished = self.folder / f"all{_UNFINISHED}"
        with _writing(unfinished):
            with pq.ParquetWriter(unfinished, described) as writer:
                for file in self._files:
                    writer.write_table(pq.read_table(file).cast(described))
            _publish(unfinished, self._target)
        self.remove()

    def remove(self) -> None:
        """Remove what is left of the parts, once the output is there."""
        with _writing(self.folder):
            shutil.rmtree(self.folder)

    def _is_finished(self) -> bool:
        if not self._target.exists():
            return False
        try:
            made_by = (pq.read_schema(self._target).metadata or {}).get(JOB_KEY, b"").decode()
        except pa.ArrowInvalid:
            made_by = ""
        if made_by != self._job:
            raise ScoringError(
                f"{self._target} is there already, and not of the same input, model and options; "
                "delete it, or name another file"
            )
        return True

    def _take_over(self) -> None:
        job = self.folder / _JOB
        if not job.exists():
            with _writing(job):
                unfinished = job.with_name(job.name + _UNFINISHED)
                unfinished.write_text(self._job, encoding="utf-8")
                _publish(unfinished, job)
        begun = job.read_text(encoding="utf-8")
        if begun != self._job:
            raise ScoringError(
                f"{self.folder} was begun with {_difference(begun, self._job)}; go on with the "
                "same input and options, or delete that folder to begin anew"
            )
        for unfinished in self.folder.glob(f"*{_UNFINISHED}"):
            unfinished.unlink()
        for file in sorted(self.folder.glob("*.parquet")):
            found = _PART.fullmatch(file.name)
            if found is None or int(found[1]) != self.n_rows:
                raise ScoringError(
                    f"{file} does not follow the part before it, which ends at row "
                    f"{self.n_rows}; delete {self.folder} to begin anew"
                )
            self.n_rows = int(found[2])
            self._files.append(file)


def _publish(unfinished: Path, file: Path) -> None:
    """Give a file its name, once its bytes are on the disk."""
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    unfinished.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _difference(begun: str, wanted: str) -> str:
    try:
        before = json.loads(begun)
        after = json.loads(wanted)
        key = next(key for key in after if before.get(key) != after[key])
    except (ValueError, AttributeError, StopIteration):
        return "something else"
    if key == "input_sha256":
        return "an input that had other bytes"
    return f"{key} {before.get(key)!r}, and this is {after[key]!r}"


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Turn what pyarrow and the disk raise into words."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ScoringError(f"{file} cannot be written: {error}") from error
