"""Files of rows, at any URL that fsspec opens: CSV and Parquet, read batch by batch.

Only the named columns are read, wherever they stand in the file. What goes wrong with the file
itself is one `TrainingError`, whatever the store, Arrow or the network had to say; what is wrong
with a value is found by `training.columns`, and `place` says where in the file it is.
"""

import csv
import io
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from abserve.errors import AbserveError, TrainingError
from training.definition import CsvData, ParquetData
from training.estimators import short_list

_BLOCK_BYTES = 8 * 2**20
_BATCH_ROWS = 2**16
_MAX_REASON = 300

# How Arrow says that a row has not as many fields as the header.
_WRONG_WIDTH = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")

# What brings the package that fsspec opens a store with.
_EXTRAS = {"gs": "gcs", "s3": "train"}


def open_table(data: CsvData | ParquetData) -> "Table":
    """Return the file that a definition names; nothing is read yet."""
    if isinstance(data, CsvData):
        return CsvTable(data.url, data.separator)
    return ParquetTable(data.url)


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown: without user, password and query.

    Examples
    --------
    >>> without_credentials("https://me:secret@host/rows.csv?signature=abc")
    'https://host/rows.csv'
    """
    bare = re.sub(r"(?<=://)[^/\s]*@", "", url)
    return re.sub(r"(://[^\s?#]*)[?#][^\s'\")]*", r"\1", bare)


class Table(ABC):
    """A file of rows with named columns.

    Parameters
    ----------
    url : str
        A path on this machine, or a URL of a store.
    """

    kind: str

    def __init__(self, url: str) -> None:
        self._url = url
        self.source = without_credentials(url)

    @abstractmethod
    def place(self, row: int) -> str:
        """Return where a row is, for a message; the first row is 0."""

    @abstractmethod
    def _read(self, file: IO[bytes], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read the columns, after `_check_columns`."""

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, in batches that hold the named columns.

        Raises
        ------
        TrainingError
            If the file cannot be opened or read, is not of its kind, or lacks a column.
        """
        with self._failures_told(), self._opened() as file:
            yield from self._read(file, columns)

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            store, path = fsspec.core.url_to_fs(self._url)
        except ImportError as error:
            extra = _EXTRAS[self._url.partition("://")[0]]
            raise TrainingError(
                f"{self.source} cannot be opened, for a package is not installed ({error}); "
                f"pip install 'abserve[{extra}]'"
            ) from error
        with store.open(path, "rb", compression="infer") as file:
            yield file

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except AbserveError:
            raise
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise TrainingError(
                f"{self.source} is not {self.kind}: {self._reason(error)}; correct the file, or "
                "what the definition says of data"
            ) from error
        except FileNotFoundError as error:
            raise TrainingError(
                f"{self.source} does not exist; correct data.url, or put the file there"
            ) from error
        except Exception as error:  # each store raises its own
            raise TrainingError(
                f"{self.source} cannot be read as {self.kind}: {type(error).__name__}: "
                f"{self._reason(error)}; check the URL, the credentials, the rights and the file"
            ) from error

    def _reason(self, error: Exception) -> str:
        """Return what `error` says, in one line and without what is secret in the URL."""
        said = " ".join(str(error).replace(self._url, self.source).split())
        return without_credentials(said)[:_MAX_REASON]

    def _check_columns(self, found: Sequence[str], wanted: Sequence[str]) -> None:
        counts = Counter(found)
        for name in wanted:
            if not counts[name]:
                lacking = sum(not counts[other] for other in wanted)
                more = f" and {lacking - 1} more" if lacking > 1 else ""
                raise TrainingError(
                    f"{self.source} lacks the column {name!r}{more}; it has "
                    f"{short_list(counts, name)}: correct the name in the definition or the file"
                )
            if counts[name] > 1:
                raise TrainingError(
                    f"{self.source} has {counts[name]} columns named {name!r}; "
                    "expected each name once: rename or remove one"
                )


class CsvTable(Table):
    """Comma-separated values in UTF-8 with a header."""

    kind = "CSV"

    def __init__(self, url: str, separator: str) -> None:
        super().__init__(url)
        self._separator = separator

    def _read(self, file: IO[bytes], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if not file.read(1):
            raise TrainingError(
                f"{self.source} is empty; expected a header with the names of the columns, and rows"
            )
        try:
            file.seek(0)
            self._check_columns(self._reader(file, ()).schema.names, columns)
            file.seek(0)
            yield from self._reader(file, columns)
        except pa.ArrowInvalid as error:
            if (wrong := _WRONG_WIDTH.search(str(error))) is None:
                raise
            number, expected, found = map(int, wrong.groups())
            # Arrow counts the header as well, and from 1.
            raise TrainingError(
                f"{self.source} has {found} fields in {self.place(number - 2)}, expected "
                f"{expected} as in the header; put a value with {self._separator!r} in it in "
                "double quotes, or mend the line"
            ) from error

    def _reader(self, file: IO[bytes], columns: Sequence[str]) -> arrow_csv.CSVStreamingReader:
        """Return a reader of the columns, none of them converted; of all if none is named."""
        return arrow_csv.open_csv(
            file,
            # A wrong row has a number only where one thread reads.
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self._separator, newlines_in_values=True
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(columns), column_types=dict.fromkeys(columns, pa.binary())
            ),
        )

    def place(self, row: int) -> str:
        """Return the line of a row, which the file is read again for.

        Rows and lines differ where there are empty lines, or values of several lines.
        """
        with self._failures_told(), self._opened() as file:
            lines = io.TextIOWrapper(file, "utf-8", errors="replace", newline="")
            reader = csv.reader(lines, delimiter=self._separator)
            end_of_last, n_before = 0, row + 1
            try:
                for fields in reader:
                    if fields and not n_before:
                        break
                    n_before -= bool(fields)
                    end_of_last = reader.line_num
            except csv.Error:  # a value too long for this reader, which Arrow can read
                return f"row {row + 1}"
            return f"line {end_of_last + 1}"


class ParquetTable(Table):
    """Rows in Apache Parquet."""

    kind = "Parquet"

    def _read(self, file: IO[bytes], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        parquet = pq.ParquetFile(file)
        self._check_columns(parquet.schema_arrow.names, columns)
        yield from parquet.iter_batches(_BATCH_ROWS, columns=list(columns))

    def place(self, row: int) -> str:
        return f"row {row + 1}"
