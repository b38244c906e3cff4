"""Plain inference requests in JSON, read in one pass.

Most requests hold an id, tensors of numbers and perhaps names of outputs: they are read into arrays
while their types are checked. Whatever holds more than that, or something else, is no fault here:
`runtimes.rest_requests` reads all of the protocol, and knows how to say what is wrong.
"""

import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtimes.inference import Request, Tensor
from runtimes.refusals import MAX_INPUTS

_MATRIX_AXES = 2


class _Output(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    parameters: dict[str, Any] | None = None


class _Head(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What an input says beside its data."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None


class _FlatInput(_Head, forbid_unknown_fields=True, gc=False, kw_only=True):
    data: list[float]


class _NestedInput(_Head, forbid_unknown_fields=True, gc=False, kw_only=True):
    data: list[list[float]]


class _Flat(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    inputs: list[_FlatInput]
    id: str | None = None
    outputs: list[_Output] | None = None
    parameters: dict[str, Any] | None = None


class _Nested(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    inputs: list[_NestedInput]
    id: str | None = None
    outputs: list[_Output] | None = None
    parameters: dict[str, Any] | None = None


# The last if the JSON is nested too deeply.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_flat = msgspec.json.Decoder(_Flat).decode
_decode_nested = msgspec.json.Decoder(_Nested).decode


def parse_plain(body: bytes) -> Request | None:
    """Return what `body` says, or None if it is no plain request: see the module."""
    found: _Flat | _Nested
    try:
        found = _decode_flat(body)
    except _UNREADABLE:
        try:
            found = _decode_nested(body)
        except _UNREADABLE:
            return None
    if found.parameters or len(found.inputs) > MAX_INPUTS:
        return None
    inputs = []
    for each in found.inputs:
        if each.parameters:
            return None
        numbers = (
            _to_array(each.data) if isinstance(each, _FlatInput) else _from_rows(each.data, each)
        )
        if numbers is None:
            return None
        inputs.append(Tensor(each.name, each.shape, each.datatype, numbers))
    outputs = []
    for output in found.outputs or ():
        if output.parameters:
            return None
        outputs.append(output.name)
    return Request(found.id, inputs, outputs)


def _to_array(numbers: list[float]) -> NDArray[np.float64]:
    # Three times as fast as np.array, which looks at every element to find out what it is.
    return np.frombuffer(struct.pack(f"{len(numbers)}d", *numbers))


def _from_rows(rows: list[list[float]], head: _Head) -> NDArray[np.float64] | None:
    """Return the numbers row by row, or None if the rows are not as long as the shape says."""
    if len(head.shape) != _MATRIX_AXES or any(len(row) != head.shape[1] for row in rows):
        return None
    return _to_array([number for row in rows for number in row])
