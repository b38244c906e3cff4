"""The rows of a Parquet or CSV file, a request's worth at a time.

Only the columns that are needed are read, and of a Parquet file only the row groups that are not
done yet. In CSV a column that is kept stays the text that it is, so that ``007`` does not become 7.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from abserve.errors import ScoringError
from abserve.scoring.model import Model

_CSV = ".csv"
_PARQUET = (".parquet", ".pq")
_BLOCK_BYTES = 4 << 20
_BUFFER_BYTES = 1 << 20
# Some write texts as bytes, without saying that they are texts.
_LIKE_TEXT = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


class RefusedRowsError(Exception):
    """Some of the rows do not fit the model; the message says which value."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that follow each other; `first_row` is counted from 0 in the file."""

    first_row: int
    table: pa.Table

    def halves(self) -> "tuple[Chunk, Chunk]":
        middle = self.table.num_rows // 2
        return (
            Chunk(self.first_row, self.table.slice(0, middle)),
            Chunk(self.first_row + middle, self.table.slice(middle)),
        )


class Rows:
    """The rows of a file.

    Parameters
    ----------
    path : Path
        Ends in ``.parquet``, ``.pq`` or ``.csv``.
    model : Model
        Says which columns it needs.
    keep : sequence of str
        Other columns that are wanted.

    Raises
    ------
    ScoringError
        If the file cannot be read, or lacks a column.
    """

    def __init__(self, path: Path, model: Model, keep: Sequence[str]) -> None:
        self._path = path
        self._model = model
        self._is_csv = path.suffix.lower() == _CSV
        if not self._is_csv and path.suffix.lower() not in _PARQUET:
            raise ScoringError(
                f"{path} ends in {path.suffix or 'nothing'!r}; expected .parquet, .pq or .csv"
            )
        self._columns = list(dict.fromkeys((*model.columns, *keep)))
        with _reading(path):
            schema = self._csv_schema() if self._is_csv else pq.read_schema(path)
        missing = [each for each in self._columns if each not in schema.names]
        if missing:
            raise ScoringError(
                f"{path} has no column {', '.join(map(repr, missing))}; it has "
                f"{', '.join(map(repr, schema.names))}, and the model {model.name} needs "
                f"{', '.join(map(repr, model.columns))}"
            )
        self.kept = [
            pa.field(each, self._csv_type(each)) if self._is_csv else schema.field(each)
            for each in keep
        ]

    def chunks(self, n_rows: int, first_row: int) -> Iterator[Chunk]:
        """Yield the rows from `first_row` on, `n_rows` at a time; the last may have fewer."""
        with _reading(self._path):
            held: list[pa.RecordBatch] = []
            n_held = 0
            for batch in self._batches(n_rows, first_row):
                held.append(batch)
                n_held += batch.num_rows
                while n_held >= n_rows:
                    table = pa.Table.from_batches(held)
                    yield Chunk(first_row, table.slice(0, n_rows))
                    first_row += n_rows
                    held = table.slice(n_rows).to_batches()
                    n_held -= n_rows
            if n_held:
                yield Chunk(first_row, pa.Table.from_batches(held))

    def _batches(self, n_rows: int, first_row: int) -> Iterator[pa.RecordBatch]:
        at, batches = (0, self._csv()) if self._is_csv else self._parquet(n_rows, first_row)
        for batch in batches:
            skipped = min(max(first_row - at, 0), batch.num_rows)
            at += batch.num_rows
            if skipped < batch.num_rows:
                # The order of the file's own columns may be another.
                yield batch.slice(skipped).select(self._columns)

    def _parquet(self, n_rows: int, first_row: int) -> tuple[int, Iterator[pa.RecordBatch]]:
        """Return the batches from the row group of `first_row` on, and where that one begins."""
        metadata = pq.read_metadata(self._path)
        sizes = [metadata.row_group(each).num_rows for each in range(metadata.num_row_groups)]
        ends = list(accumulate(sizes))
        left = [index for index, end in enumerate(ends) if end > first_row]
        begins = ends[left[0]] - sizes[left[0]] if left else 0

        def batches() -> Iterator[pa.RecordBatch]:
            # By default a row group is read whole, and a file may be one of them.
            with pq.ParquetFile(self._path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
                yield from file.iter_batches(n_rows, left, self._columns)

        return begins, batches() if left else iter(())

    def _csv_schema(self) -> pa.Schema:
        with pv.open_csv(self._path, read_options=pv.ReadOptions(block_size=_BLOCK_BYTES)) as file:
            return file.schema

    def _csv_type(self, column: str) -> pa.DataType:
        is_number = column in self._model.columns and column not in self._model.categories
        return pa.float64() if is_number else pa.string()

    def _csv(self) -> Iterator[pa.RecordBatch]:
        types = {each: self._csv_type(each) for each in self._columns}
        with pv.open_csv(
            self._path,
            read_options=pv.ReadOptions(block_size=_BLOCK_BYTES),
            convert_options=pv.ConvertOptions(
                column_types=types, include_columns=self._columns, strings_can_be_null=True
            ),
        ) as file:
            yield from file


def matrix(model: Model, table: pa.Table) -> NDArray[np.float64]:
    """Return the model's columns of a table as the matrix that it takes.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float64
        NaN for null; of a column with categories, the position of each text among them.

    Raises
    ------
    RefusedRowsError
        If a text is no category.
    ScoringError
        If a column holds what is no number.
    """
    rows = np.empty((table.num_rows, len(model.columns)))
    for index, name in enumerate(model.columns):
        rows[:, index] = _numbers(name, table.column(name), model.categories)
    return rows


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises
    ------
    ScoringError
        If it cannot be read.
    """
    with _reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _numbers(
    name: str, column: pa.ChunkedArray, categories: Mapping[str, Sequence[str]]
) -> NDArray[np.float64]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if any(is_like_text(column.type) for is_like_text in _LIKE_TEXT):
        try:
            column = column.cast(pa.large_string())
        except pa.ArrowException as error:
            raise ScoringError(f"column {name!r} holds bytes that are no text: {error}") from error
        names = categories.get(name)
        if names is None:
            raise ScoringError(f"column {name!r} holds text; expected numbers")
        # Nulls are no unknown texts: whether one may be missing is for the model to say.
        places = pc.index_in(column, pa.array(names, pa.large_string()))
        unknown = pc.and_(pc.is_valid(column), pc.is_null(places))
        if pc.any(unknown).as_py():
            text = column.filter(unknown)[0].as_py()
            raise RefusedRowsError(
                f"column {name!r} holds {text!r}; expected one of {', '.join(map(repr, names))}"
            )
        column = places
    try:
        numbers: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowException as error:
        raise ScoringError(f"column {name!r} holds {column.type}; expected numbers") from error
    return numbers


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow and the disk raise into words."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ScoringError(f"{path} cannot be read: {error}") from error
