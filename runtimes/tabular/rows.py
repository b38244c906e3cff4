"""Turn the inputs of an inference request into rows, or say exactly why that cannot be done.

Two forms are read: one matrix called ``features``, its columns in the schema's order, or one
tensor per column in any order. MLServer's own codec takes strings for numbers, cuts floats to
integers and believes any shape; a classifier would then answer, confidently, about other rows than
the client meant. So nothing here is guessed or repaired: what does not fit is refused.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from mlserver.errors import InferenceError, MLServerError
from numpy.typing import NDArray

from runtimes.plain_json import Tensor

MATRIX = "features"
MAX_ROWS = 10_000

_TOO_LARGE = 413
_FLOATS = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float32}  # models compute in FP32
_INTEGERS: dict[str, type[np.integer[Any]]] = {
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
}
_JSON_NAMES = {
    bool: "a boolean",
    str: "a string",
    bytes: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def shorten(value: Any, limit: int = 60) -> str:
    """Return what a client sent as printable text that is safe in a message, a log and a header."""
    text = ascii(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def enumerate_names(names: Sequence[str], limit: int = 10) -> str:
    """Return `names` as text, cut to the first `limit`."""
    listed = ", ".join(names[:limit])
    return listed if len(names) <= limit else f"{listed} and {len(names) - limit} more"


def read_rows(inputs: Sequence[Tensor], columns: Sequence[str]) -> NDArray[np.float32]:
    """Return the rows that the inputs of one request describe.

    Parameters
    ----------
    inputs : sequence of Tensor
        Either one input ``features`` of shape (n_rows, n_columns), or for each column one input of
        that name, of shape (n_rows, 1) or (n_rows,). Any numeric datatype.
    columns : sequence of str
        The schema's columns, in order.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float32
        Finite numbers only; 1 to `MAX_ROWS` rows.

    Raises
    ------
    MLServerError
        With status 413 if there are more rows than `MAX_ROWS`, with 400 for any other fault. The
        message names the input, what was found in it and what was expected.
    """
    names = [tensor.name for tensor in inputs]
    if names == [MATRIX]:
        return _read_matrix(inputs[0], columns)
    by_name = _match_columns(names, inputs, columns)
    vectors = [_read_column(by_name[name], name) for name in columns]
    for name, vector in zip(columns, vectors, strict=True):
        if len(vector) != len(vectors[0]):
            raise InferenceError(
                f"input {columns[0]!r} has {len(vectors[0])} rows and input {name!r} has "
                f"{len(vector)}; expected as many rows in every column"
            )
    return np.stack(vectors, axis=1)


def _match_columns(
    names: Sequence[str], inputs: Sequence[Tensor], columns: Sequence[str]
) -> dict[str, Tensor]:
    expected = (
        f"expected one input {MATRIX!r} of shape [n, {len(columns)}], or one of shape [n, 1] "
        f"for each of the columns {enumerate_names(columns)}"
    )
    if not names:
        raise InferenceError(f"the request has no inputs; {expected}")
    by_name = dict(zip(names, inputs, strict=True))
    if len(by_name) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise InferenceError(f"input {shorten(repeated)} is given more than once; {expected}")
    if unknown := [name for name in names if name not in columns]:
        raise InferenceError(f"input {shorten(unknown[0])} is not known; {expected}")
    if missing := [name for name in columns if name not in by_name]:
        raise InferenceError(f"input {missing[0]!r} is missing; {expected}")
    return by_name


def _read_matrix(tensor: Tensor, columns: Sequence[str]) -> NDArray[np.float32]:
    shape = tuple(tensor.shape)
    if len(shape) != 2 or shape[1] != len(columns):  # noqa: PLR2004 - a matrix has two axes
        raise InferenceError(
            f"input {MATRIX!r} has shape {shorten(list(shape))}; expected [n, {len(columns)}], "
            f"its columns being {enumerate_names(columns)}"
        )
    return _read_numbers(tensor, shape, columns).reshape(shape)


def _read_column(tensor: Tensor, column: str) -> NDArray[np.float32]:
    shape = tuple(tensor.shape)
    if len(shape) not in {1, 2} or shape[1:] not in {(), (1,)}:
        raise InferenceError(
            f"input {column!r} has shape {shorten(list(shape))}; expected [n, 1] or [n]"
        )
    return _read_numbers(tensor, shape, [column])


def _read_numbers(
    tensor: Tensor, shape: tuple[int, ...], columns: Sequence[str]
) -> NDArray[np.float32]:
    """Return the numbers in `tensor`, flat and in row order; `shape` is known to have its width."""
    datatype = tensor.datatype
    if datatype not in _FLOATS and datatype not in _INTEGERS:
        raise InferenceError(
            f"input {tensor.name!r} has datatype {shorten(datatype)}; expected a numeric one: "
            f"{', '.join((*_FLOATS, *_INTEGERS))}"
        )
    if shape[0] < 1:
        raise InferenceError(
            f"input {tensor.name!r} has shape {shorten(list(shape))}; expected at least one row"
        )
    if shape[0] > MAX_ROWS:
        raise MLServerError(
            f"input {tensor.name!r} has {shorten(shape[0])} rows; a request may have at most "
            f"{MAX_ROWS}, so send it in parts",
            _TOO_LARGE,
        )
    flat = _flatten(tensor.name, tensor.data, shape)
    if not set(map(type, flat)) <= {int, float}:
        at = next(i for i, value in enumerate(flat) if type(value) not in {int, float})
        raise _misfit(tensor.name, at, columns, _json_name(flat[at]), "a number")
    return _convert(tensor.name, datatype, flat, columns)


def _flatten(name: str, data: Any, shape: tuple[int, ...]) -> list[Any]:
    if type(data) is not list:
        raise InferenceError(f"the data of input {name!r} is {_json_name(data)}; expected a list")
    flat: list[Any] = data
    if data and len(shape) > 1 and type(data[0]) is list:
        for i, row in enumerate(data):
            if type(row) is not list or len(row) != shape[1]:
                found = f"{len(row)} values" if type(row) is list else _json_name(row)
                raise InferenceError(
                    f"input {name!r} has shape {list(shape)}, but row {i} (from 0) of its nested "
                    f"data is {found}; expected a list of {shape[1]}"
                )
        flat = list(chain.from_iterable(data))
    expected = math.prod(shape)
    if len(flat) != expected:
        raise InferenceError(
            f"input {name!r} has shape {list(shape)} but {len(flat)} values; expected {expected}"
        )
    return flat


def _convert(
    name: str, datatype: str, flat: list[Any], columns: Sequence[str]
) -> NDArray[np.float32]:
    try:
        numbers = np.array(flat, dtype=np.float64)
    except OverflowError:  # an integer beyond 1e308
        raise InferenceError(
            f"input {name!r} holds an integer that no {datatype} can hold"
        ) from None
    if datatype in _INTEGERS:
        limits = np.iinfo(_INTEGERS[datatype])
        fits = (numbers == np.trunc(numbers)) & (numbers >= limits.min) & (numbers <= limits.max)
        wanted = f"a whole number from {limits.min} to {limits.max}, as its datatype says"
    else:
        with np.errstate(over="ignore"):
            fits = np.isfinite(numbers.astype(_FLOATS[datatype]))
        wanted = f"a finite number within the range of {np.dtype(_FLOATS[datatype]).name}"
    if not fits.all():
        at = int(np.argmin(fits))
        raise _misfit(name, at, columns, shorten(flat[at]), wanted)
    return numbers.astype(np.float32)


def _misfit(name: str, at: int, columns: Sequence[str], found: str, wanted: str) -> InferenceError:
    row, column = divmod(at, len(columns))
    return InferenceError(
        f"input {name!r} holds {found} in row {row} (from 0), column {columns[column]!r}; "
        f"expected {wanted}"
    )


def _json_name(value: Any) -> str:
    return _JSON_NAMES.get(type(value), shorten(value))
