"""The numbers of one tensor, in whatever form they came: nested lists, a flat list, an array."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.inference import Rows, Tensor
from runtimes.refusals import Reason, RefusedError
from runtimes.texts import shorten

# The largest number that each datatype can be rounded to; models compute in FP32, so FP64 may hold
# no larger one.
_FLOATS = {
    "FP16": math.nextafter(2.0**16 - 2.0**4, 0),
    "FP32": math.nextafter(2.0**128 - 2.0**103, 0),
    "FP64": math.nextafter(2.0**128 - 2.0**103, 0),
}
_INTEGERS = {
    f"{sign}INT{bits}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits if sign else bits - 1) - 1)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
_FEW = 16
_JSON_NAMES = {
    bool: "a boolean",
    str: "a string",
    bytes: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def read_numbers(
    tensor: Tensor, columns: Sequence[str], may_miss: NDArray[np.bool_] | None
) -> Rows:
    """Return the numbers of a tensor as rows.

    Parameters
    ----------
    tensor : Tensor
        Its shape is known to be (n_rows,) or (n_rows, n_columns), and not to be empty.
    columns : sequence of str
        What the columns are called in messages.
    may_miss : ndarray of shape (n_columns,), bool, or None
        Which columns may hold null or NaN; None if none may.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float32

    Raises
    ------
    RefusedError
        If there are more or fewer numbers than the shape says, or one that is none, or that the
        datatype cannot hold.
    """
    name, shape, datatype, data = tensor
    limit = _FLOATS.get(datatype)
    if limit is None and datatype not in _INTEGERS:
        raise RefusedError(
            "datatype",
            f"input {name!r} has datatype {shorten(datatype)}; expected a numeric one: "
            f"{', '.join((*_FLOATS, *_INTEGERS))}",
        )
    flat = data if isinstance(data, np.ndarray) else flatten(name, data, shape)
    n_expected = shape[0] * len(columns)
    if len(flat) != n_expected:
        raise RefusedError(
            "shape",
            f"input {name!r} has shape {list(shape)} but {len(flat)} values; expected {n_expected}",
        )
    numbers = (
        flat
        if isinstance(flat, np.ndarray)
        else _from_list(tensor, flat, columns, nulls=may_miss is not None)
    )
    if limit is None or not _all_within(numbers, limit):
        _check_each(tensor, numbers, flat, columns, may_miss)
    return numbers.astype(np.float32).reshape(shape[0], len(columns))


def _all_within(numbers: NDArray[Any], limit: float) -> bool:
    # Comparisons with NaN are false, so it never passes here.
    if len(numbers) <= _FEW:
        # numpy takes a microsecond for each look at an array, however short.
        return all(-limit <= number <= limit for number in numbers.tolist())
    return bool(numbers.min() >= -limit and numbers.max() <= limit)


def _check_each(
    tensor: Tensor,
    numbers: NDArray[Any],
    flat: Sequence[Any] | NDArray[Any],
    columns: Sequence[str],
    may_miss: NDArray[np.bool_] | None,
) -> None:
    """Find the number that does not fit; `flat` holds the numbers as they were sent."""
    datatype = tensor.datatype
    if datatype in _INTEGERS:
        low, high = _INTEGERS[datatype]
        fits = (numbers == np.trunc(numbers)) & (numbers >= low) & (numbers <= high)
        wanted = f"a whole number from {low} to {high}, as its datatype says"
    else:
        limit = _FLOATS[datatype]
        fits = (numbers >= -limit) & (numbers <= limit)
        width = "float16" if datatype == "FP16" else "float32"
        wanted = f"a finite number within the range of {width}"
    if may_miss is not None:
        fits |= np.isnan(numbers) & np.tile(may_miss, len(numbers) // len(columns))
    if not fits.all():
        at = int(np.argmin(fits))
        missing = bool(np.isnan(numbers[at]))
        sent = flat[at]
        shown = sent.item() if isinstance(sent, np.generic) else sent
        found = "no number (null or NaN)" if missing else shorten(shown)
        reason: Reason = "missing" if missing else "value"
        raise _misfit(reason, tensor.name, at, columns, found, wanted)


def _from_list(
    tensor: Tensor, flat: list[Any], columns: Sequence[str], *, nulls: bool
) -> NDArray[np.float64]:
    """Return the values of a list; null, where `nulls` may be, as NaN."""
    allowed = {int, float, type(None)} if nulls else {int, float}
    if not set(map(type, flat)) <= allowed:
        at = next(i for i, value in enumerate(flat) if type(value) not in allowed)
        raise _misfit(
            "missing" if flat[at] is None else "value",
            tensor.name,
            at,
            columns,
            json_name(flat[at]),
            "a number",
        )
    try:
        return np.array([math.nan if value is None else value for value in flat], np.float64)
    except OverflowError:  # an integer beyond 1e308
        raise RefusedError(
            "value", f"input {tensor.name!r} holds an integer that no {tensor.datatype} can hold"
        ) from None


def flatten(name: str, data: Any, shape: Sequence[int]) -> list[Any]:
    """Return the values of a list, row after row if it is nested; they are not looked at.

    Raises
    ------
    RefusedError
        If it is no list, or its rows are not as long as the shape says.
    """
    if type(data) is not list:
        raise RefusedError(
            "value", f"the data of input {name!r} is {json_name(data)}; expected a list"
        )
    if not (data and len(shape) > 1 and type(data[0]) is list):
        return data
    for i, row in enumerate(data):
        if type(row) is not list or len(row) != shape[1]:
            found = f"{len(row)} values" if type(row) is list else json_name(row)
            raise RefusedError(
                "shape",
                f"input {name!r} has shape {list(shape)}, but row {i} (from 0) of its nested "
                f"data is {found}; expected a list of {shape[1]}",
            )
    return list(chain.from_iterable(data))


def _misfit(
    reason: Reason, name: str, at: int, columns: Sequence[str], found: str, wanted: str
) -> RefusedError:
    row, column = divmod(at, len(columns))
    return RefusedError(
        reason,
        f"input {name!r} holds {found} in row {row} (from 0), "
        f"column {shorten(columns[column % len(columns)])}; expected {wanted}",
    )


def json_name(value: Any) -> str:
    """Return what JSON calls a value: "a string"; a number is shown."""
    return _JSON_NAMES.get(type(value), shorten(value))
