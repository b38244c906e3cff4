"""Score a file: from where an earlier run of the same order ended, to its end."""

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from abserve.errors import ScoringError
from abserve.scoring.asking import MODEL_VERSION, REFUSED, REQUEST_ID, Asking, asked
from abserve.scoring.endpoint import Endpoint
from abserve.scoring.model import Model, read_model
from abserve.scoring.pace import Pace
from abserve.scoring.parts import Parts
from abserve.scoring.rows import Rows, fingerprint

# A part is written when it has so many rows, or its first row is so old: what a kill costs.
_PART_ROWS = 100_000
_PART_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be scored.

    Parameters
    ----------
    source, target : Path
        The file of rows, and the Parquet file that is written.
    keep : tuple of str, optional
        Columns of the source that the target has as well.
    rows_per_request : int, optional
        The runtimes take up to 10,000.
    most_in_flight : int, optional
        Requests at the same time.
    patience_seconds : float, optional
        How long the server may be busy without one answer.
    null_refused : bool, optional
        Rows that the model refuses become rows without an answer, with the reason in the column
        `refused`; otherwise the first one ends the run.
    mixed_versions : bool, optional
        Whether the rows may be answered by several versions.
    """

    source: Path
    target: Path
    keep: tuple[str, ...] = ()
    rows_per_request: int = 1000
    most_in_flight: int = 8
    patience_seconds: float = 600.0
    null_refused: bool = False
    mixed_versions: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    n_rows : int
        Answered, by this run and those before it.
    n_in_flight : int
        Requests that may be under way at the same time now.
    n_busy : int
        How often the server was busy since its last answer.
    """

    n_rows: int
    n_in_flight: int
    n_busy: int


@dataclass(frozen=True, slots=True)
class Scored:
    """What a run did: `n_rows` are in the target, `n_resumed` of them from runs before it."""

    target: Path
    model: str
    n_rows: int
    n_resumed: int
    n_refused: int
    versions: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON values."""
        return {
            "target": str(self.target),
            "model": self.model,
            "n_rows": self.n_rows,
            "n_resumed": self.n_resumed,
            "n_refused": self.n_refused,
            "versions": list(self.versions),
            "seconds": self.seconds,
        }


def score(order: Order, endpoint: Endpoint, report: Callable[[Progress], None]) -> Scored:
    """Score a file, from where an earlier run of the same order ended.

    Parameters
    ----------
    order : Order
        What, and into which file.
    endpoint : Endpoint
        Who answers.
    report : callable
        Told about the progress after each request, from this thread.

    Raises
    ------
    ScoringError
        If the file cannot be read, the model refuses a row, the server refuses altogether or was
        busy for too long, or another version answers in the middle. What was answered is kept.
    """
    began = time.monotonic()
    pace = Pace(order.most_in_flight, order.patience_seconds)
    model = read_model(asked(pace, endpoint.metadata))
    rows = Rows(order.source, model, order.keep)
    schema = _schema(order, model, rows)
    sha256 = fingerprint(order.source)
    job = {
        "input_sha256": sha256,
        "model": model.name,
        "columns": list(model.columns),
        "output": [f"{field.name}: {field.type}" for field in schema],
    }
    with Parts(order.target, job) as parts:
        n_resumed = None if parts.finished else parts.n_rows
        if n_resumed is None:
            parts.remove()
        else:
            asking = Asking(endpoint, model, schema, pace, sha256[:12])
            chunks = rows.chunks(order.rows_per_request, n_resumed)
            with closing(asking.answers(chunks, order.most_in_flight)) as answers:
                _write(order, answers, parts, report, pace)
            if fingerprint(order.source) != sha256:
                raise ScoringError(
                    f"{order.source} was changed while it was scored; delete "
                    f"{parts.folder} to begin anew"
                )
            parts.finish(schema)
    return _scored(order, model, n_resumed, time.monotonic() - began)


def _schema(order: Order, model: Model, rows: Rows) -> pa.Schema:
    fields = [
        *rows.kept,
        *model.answered,
        pa.field(MODEL_VERSION, pa.string()),
        pa.field(REQUEST_ID, pa.string()),
    ]
    if order.null_refused:
        fields.append(pa.field(REFUSED, pa.string()))
    names = [field.name for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ScoringError(
            f"the output would have two columns {', '.join(map(repr, twice))}; keep none that is "
            "called as one of the answer's is"
        )
    return pa.schema(fields)


def _write(
    order: Order,
    answers: Iterable[pa.Table],
    parts: Parts,
    report: Callable[[Progress], None],
    pace: Pace,
) -> None:
    """Write answers as parts, until there are none or one must not be in the same file."""
    version = None if order.mixed_versions else parts.last_version(MODEL_VERSION)
    held: list[pa.Table] = []
    n_held, began = 0, 0.0

    def write_held() -> None:
        nonlocal held, n_held
        taken, held, n_held = held, [], 0
        if taken:
            parts.add(pa.concat_tables(taken).combine_chunks())

    try:
        for table in answers:
            if not order.mixed_versions:
                version = _same_version(version, table, parts.n_rows + n_held)
            if not held:
                began = time.monotonic()
            held.append(table)
            n_held += table.num_rows
            if n_held >= _PART_ROWS or time.monotonic() - began >= _PART_SECONDS:
                write_held()
            report(Progress(parts.n_rows + n_held, pace.limit, pace.n_busy))
    finally:
        # What was answered is not asked for again, whatever ended this.
        write_held()


def _same_version(before: str | None, table: pa.Table, first_row: int) -> str | None:
    for version in pc.unique(table[MODEL_VERSION]).to_pylist():
        if version is None:  # refused, by no version
            continue
        if before is not None and version != before:
            raise ScoringError(
                f"rows from {first_row} (from 0) on were answered by {version}, those before them "
                f"by {before}; delete the parts to have all of them from one version, or allow "
                "several with --mixed-versions"
            )
        before = version
    return before


def _scored(order: Order, model: Model, n_resumed: int | None, seconds: float) -> Scored:
    versions: dict[str, None] = {}
    n_refused = 0
    with pq.ParquetFile(order.target) as file:
        n_rows = file.metadata.num_rows
        columns = [MODEL_VERSION, *([REFUSED] if order.null_refused else ())]
        for batch in file.iter_batches(columns=columns):
            found = batch.column(MODEL_VERSION).unique().to_pylist()
            versions.update(dict.fromkeys(each for each in found if each is not None))
            if order.null_refused:
                n_refused += batch.num_rows - batch.column(REFUSED).null_count
    return Scored(
        order.target,
        model.name,
        n_rows,
        n_rows if n_resumed is None else n_resumed,
        n_refused,
        tuple(versions),
        seconds,
    )
