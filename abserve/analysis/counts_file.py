"""A file of bare counts: CSV, one row per block, as anybody can write it from any source.

::

    weight_candidate,n_baseline,k_baseline,n_candidate,k_candidate
    10,900,810,100,93
    50,500,451,500,467

A file that is no such CSV is refused. One whose counts cannot be is read, and its faults are told
by line: the experiment it is of is invalid.
"""

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from operator import itemgetter
from textwrap import shorten

import numpy as np

from abserve.errors import ExperimentError
from abserve.experiment import Block, Blocks
from abserve.weights import WHOLE

COLUMNS = tuple(field.name for field in fields(Block))

# Above it a float cannot tell a number from the next one.
_MOST = 2**53

_MOST_TOLD = 5
_MOST_SHOWN = 200

Numbers = tuple[float, ...]
Pick = Callable[[Sequence[str]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class CountsFile:
    """What a file of counts says.

    Parameters
    ----------
    blocks : Blocks
        Of shape (n_blocks,); none if there are faults.
    faults : tuple of str
        Sentences that name the first faulty lines, what is wrong with each, and how many more
        there are.
    """

    blocks: Blocks
    faults: tuple[str, ...] = ()


def read_counts_file(content: bytes, name: str) -> CountsFile:
    r"""Read blocks from a CSV file with a header.

    Parameters
    ----------
    content : bytes
        The file: UTF-8, with or without a byte order mark. Its columns may stand in any order;
        further columns and empty lines are passed over.
    name : str
        What to call the file in messages.

    Raises
    ------
    ExperimentError
        If it is no CSV in UTF-8, or lacks a column.

    Examples
    --------
    >>> header = b"weight_candidate,n_baseline,k_baseline,n_candidate,k_candidate"
    >>> read_counts_file(header + b"\n50,100,13,99,21", "counts.csv").blocks.k_candidate.tolist()
    [21.0]
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExperimentError(
            f"{name} holds the byte 0x{content[error.start]:02x} at position {error.start}; "
            "expected a CSV file in UTF-8"
        ) from error
    rows = _rows(text, name)
    header = [cell.strip() for _, row in itertools.islice(rows, 1) for cell in row]
    _check_header(header, name)
    pick = itemgetter(*(header.index(column) for column in COLUMNS))
    good: list[Numbers] = []
    bad: list[str] = []
    for line, row in rows:
        try:
            good.append(_quickly(row, pick, len(header)) or _carefully(row, header))
        except ExperimentError as error:
            bad.append(f"line {line}: {error}")
    if bad:
        more = len(bad) - _MOST_TOLD
        further = (f"{more} more lines have such faults",) * (more > 0)
        return CountsFile(Blocks.of([]), (*bad[:_MOST_TOLD], *further))
    return CountsFile(Blocks.from_columns(*np.array(good, dtype=np.float64).reshape(-1, 5).T))


def _rows(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not empty, each with the number of its (last) line."""
    # Strictly, lest a stray quotation mark takes the following lines for its text.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if "".join(row).strip():
                yield reader.line_num, row
    except csv.Error as error:
        raise ExperimentError(
            f"{name} is no CSV file: line {reader.line_num}: {error}; expected one row of "
            f"comma-separated numbers per block, under the header {','.join(COLUMNS)}"
        ) from error


def _check_header(header: Sequence[str], name: str) -> None:
    wrong = [column for column in COLUMNS if header.count(column) != 1]
    if wrong:
        found = shorten(", ".join(header), _MOST_SHOWN, placeholder=" ...") or "nothing"
        raise ExperimentError(
            f"{name} begins with {found}; expected a header, with each of the columns "
            f"{', '.join(COLUMNS)} once: mind {', '.join(wrong)}"
        )


def _number(cell: str) -> float:
    # Python's own numbers may hold it, those of a table do not.
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def _quickly(row: Sequence[str], pick: Pick, n_columns: int) -> Numbers | None:
    """Return the numbers of a row that is plainly good; None if it takes a closer look."""
    if len(row) != n_columns:
        return None
    try:
        weight, n_a, k_a, n_b, k_b = numbers = tuple(map(_number, pick(row)))
    except ValueError:
        return None
    fits = 0 <= weight <= WHOLE and 0 <= k_a <= n_a <= _MOST and 0 <= k_b <= n_b <= _MOST
    return numbers if fits and n_a % 1 == n_b % 1 == 0 else None


def _carefully(row: Sequence[str], header: Sequence[str]) -> Numbers:
    """Return the numbers of a row, or say what is wrong with it."""
    if len(row) < len(header) or any(row[len(header) :]):
        raise ExperimentError(
            f"it has {len(row)} values; expected {len(header)}, one for each heading"
        )
    cells = dict(zip(header, row, strict=False))
    numbers: list[float] = []
    for column in COLUMNS:
        try:
            numbers.append(_number(cells[column]))
        except ValueError:
            found = shorten(cells[column], _MOST_SHOWN, placeholder=" ...")
            raise ExperimentError(f"{column} is {found!r}; expected a number") from None
        if column.startswith(("n_", "k_")) and _MOST < numbers[-1] < math.inf:
            raise ExperimentError(f"{column} is {numbers[-1]:g}; expected at most {_MOST}")
    # A float stands for a count here, so that Block can say what is wrong with it.
    Block(*numbers)  # type: ignore[arg-type]
    return tuple(numbers)
