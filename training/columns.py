"""From a column as a file holds it to the numbers that models compute with.

A CSV file holds texts, a Parquet file whatever its schema says; both arrive as Arrow arrays, one
batch of rows at a time. What cannot be a number is a `WrongValueError`, which knows the value and
its position in the batch, but not the file.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from abserve.schema import Feature
from training.estimators import short_list

# What stands for no value where a column holds texts; numbers have a NaN of their own.
_MISSING = pa.array(["", "nan", "NaN"])

NO_LABEL = -1
"""What `Labels` numbers a value that is missing."""

_MAX_SHOWN = 60


class WrongValueError(Exception):
    """A value that cannot be what its column is for.

    `position` is its place in the batch, or None if the whole column is at fault.
    """

    def __init__(self, position: int | None, found: str, expected: str) -> None:
        super().__init__(f"{found}; expected {expected}")
        self.position = position
        self.found = found
        self.expected = expected


def feature_values(column: pa.Array, feature: Feature) -> NDArray[np.float64]:
    """Return a feature's values as numbers: those of a category are its positions.

    Returns
    -------
    ndarray of shape (n_rows,), float64
        NaN where a value is missing.

    Raises
    ------
    WrongValueError
        If a value is neither missing nor a number, or none of the categories.
    """
    if feature.categories is None:
        return numbers(column)
    return _positions(column, feature.categories)


def numbers(column: pa.Array) -> NDArray[np.float64]:
    """Return numbers, or texts that are numbers, with NaN where there is none.

    Raises
    ------
    WrongValueError
        If a value is neither missing nor a number.
    """
    try:
        if not _holds_text(column.type):
            return _as_numpy(pc.cast(column, pa.float64(), safe=False))
        trimmed = pc.utf8_trim_whitespace(texts(column))
    except pa.ArrowNotImplementedError as error:
        raise WrongValueError(None, f"of type {column.type}", "numbers") from error
    missing = pc.is_in(trimmed, value_set=_MISSING)
    values = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
    try:
        return _as_numpy(pc.cast(values, pa.float64()))
    except pa.ArrowInvalid as error:
        position = _first_that_fails(values, pa.float64())
        raise WrongValueError(position, _quoted(trimmed[position].as_py()), "a number") from error


def texts(column: pa.Array) -> pa.Array:
    """Return the values as texts, null where there is none.

    Raises
    ------
    WrongValueError
        If a value cannot be a text, or its bytes are not UTF-8.
    """
    try:
        text = pc.cast(column, pa.string())
    except pa.ArrowNotImplementedError as error:
        raise WrongValueError(None, f"of type {column.type}", "texts or numbers") from error
    except pa.ArrowInvalid as error:
        position = _first_that_fails(column, pa.string())
        found = column[position].as_py().decode(errors="backslashreplace")
        raise WrongValueError(position, _quoted(found), "UTF-8") from error
    missing = pc.is_in(text, value_set=_MISSING)
    return pc.if_else(missing, pa.scalar(None, pa.string()), text)


class Labels:
    """The classes met so far: each gets the next number when it is first met."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._codes)

    def encode(self, column: pa.Array) -> NDArray[np.int64]:
        """Return the number of each value's class, or `NO_LABEL`.

        Raises
        ------
        WrongValueError
            As `texts` does.
        """
        encoded = texts(column).dictionary_encode()
        codes = [
            self._codes.setdefault(name, len(self._codes))
            for name in encoded.dictionary.to_pylist()
        ]
        indices = pc.fill_null(encoded.indices, len(codes)).to_numpy()
        numbered: NDArray[np.int64] = np.array([*codes, NO_LABEL], dtype=np.int64)[indices]
        return numbered


def _positions(column: pa.Array, categories: Sequence[str]) -> NDArray[np.float64]:
    text = texts(column)
    found = pc.index_in(text, value_set=pa.array(categories))
    unknown = pc.and_(pc.is_null(found), pc.is_valid(text))
    if pc.any(unknown).as_py():
        position = pc.index(unknown, value=True).as_py()
        name = text[position].as_py()
        raise WrongValueError(
            position, _quoted(name), f"a category: {short_list(categories, name)}"
        )
    return _as_numpy(pc.cast(found, pa.float64()))


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _as_numpy(column: pa.Array) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    return values


def _first_that_fails(column: pa.Array, kind: pa.DataType) -> int:
    """Return the position of the first value that cannot be cast; there is one."""
    n_that_cast, n_that_fail = 0, len(column)
    while n_that_fail - n_that_cast > 1:
        middle = (n_that_cast + n_that_fail) // 2
        try:
            pc.cast(column[n_that_cast:middle], kind)
            n_that_cast = middle
        except pa.ArrowInvalid:
            n_that_fail = middle
    return n_that_cast


def _quoted(text: str) -> str:
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
    return f'"{shown}"'
