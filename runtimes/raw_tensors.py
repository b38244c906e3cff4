"""Tensors in the protocol's binary form: little-endian numbers, strings behind their lengths."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.refusals import RefusedError
from runtimes.texts import shorten

BYTES = "BYTES"
_LENGTH_BYTES = 4
_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
}


def unpack(
    name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview
) -> NDArray[Any] | list[bytes]:
    """Return the values of a tensor: a flat array that shares `raw`, or a list for BYTES.

    Raises
    ------
    RefusedError
        If the datatype has no binary form, `raw` is cut short, or holds more strings than the shape
        says.
    """
    if datatype == BYTES:
        return _unpack_strings(name, math.prod(shape), raw)
    dtype = _DTYPES.get(datatype)
    if dtype is None:
        raise RefusedError(
            "datatype",
            f"input {shorten(name)} has datatype {shorten(datatype)}, which has no binary form; "
            f"expected one of {', '.join((*_DTYPES, BYTES))}",
        )
    if len(raw) % dtype.itemsize:
        raise RefusedError(
            "shape",
            f"input {shorten(name)} has {len(raw)} bytes; expected a multiple of {dtype.itemsize}, "
            f"the size of {datatype}",
        )
    return np.frombuffer(raw, dtype)


def _unpack_strings(name: str, n_expected: int, raw: bytes | memoryview) -> list[bytes]:
    strings: list[bytes] = []
    at = 0
    while at < len(raw):
        if len(strings) == n_expected:
            raise RefusedError(
                "shape",
                f"input {shorten(name)} holds more strings than the {n_expected} of its shape",
            )
        length = int.from_bytes(raw[at : at + _LENGTH_BYTES], "little")
        at += _LENGTH_BYTES
        if at + length > len(raw):
            raise RefusedError(
                "shape",
                f"input {shorten(name)} is cut short: its string number {len(strings)} (from 0) "
                f"has {length} bytes, and {max(len(raw) - at, 0)} are left",
            )
        strings.append(bytes(raw[at : at + length]))
        at += length
    return strings
