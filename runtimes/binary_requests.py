"""Tensors in binary over REST, which MLServer does not know: the protocol's binary data extension.

::

    inference-header-content-length: 120
    { "inputs": [{"name": "features", ..., "parameters": {"binary_data_size": 16}}], ... } 16 bytes

A request begins with its JSON, as long as the header says, and goes on with the values of those
inputs that name a size, in their order. A response has the same form, for the outputs that are
wanted in binary: each that says ``"parameters": {"binary_data": true}``, or all of them with
``"binary_data_output": true`` in the request's parameters.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from runtimes.inference import Request, Tensor
from runtimes.raw_tensors import unpack
from runtimes.refusals import RefusedError
from runtimes.runtime import Answer, Runtime
from runtimes.texts import shorten

HEADER_LENGTH = b"inference-header-content-length"
SIZE = "binary_data_size"

_MAX_DIGITS = 12


class BinaryAnswer(NamedTuple):
    """A response as it goes over the wire, and what its headers say."""

    body: bytes
    header_length: int
    request_id: str


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: Any = None


class _Output(msgspec.Struct, gc=False):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct, gc=False):
    inputs: list[_Input]
    id: str | None = None
    outputs: list[_Output] | None = None
    parameters: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Request).decode


def asks_for_binary(body: bytes) -> bool:
    """Return whether a request that is all JSON asks for an answer in binary."""
    if b"binary_data" not in body:
        return False
    try:
        return any(_wanted_in_binary(_decode(body)))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def answer_binary(runtime: Runtime, body: bytes, header_length: bytes | None) -> BinaryAnswer:
    """Answer a request whose inputs or outputs are in binary.

    Parameters
    ----------
    runtime : Runtime
        Answers.
    body : bytes
        JSON, and the values behind it.
    header_length : bytes or None
        What the header says of the JSON's length; None if there is no header, and all is JSON.

    Raises
    ------
    RefusedError
        If the request is at fault; it is counted.
    """
    with runtime.refusals_counted():
        found, values = _split(body, header_length)
        request = Request(
            found.id, _tensors(found.inputs, values), [each.name for each in found.outputs or ()]
        )
    answer = runtime.infer(request)
    if found.outputs:
        in_binary = dict(zip(request.outputs, _wanted_in_binary(found), strict=True))
    else:
        everything = _wanted_in_binary(found)[0]
        in_binary = {output.name: everything for output in answer.outputs}
    return _to_binary(runtime, answer, in_binary)


def _split(body: bytes, header_length: bytes | None) -> tuple[_Request, memoryview]:
    n_bytes = len(body)
    if header_length is not None:
        given = header_length.strip()
        if not given.isdigit() or len(given) > _MAX_DIGITS or int(given) > n_bytes:
            raise RefusedError(
                "other",
                f"the header Inference-Header-Content-Length is "
                f"{shorten(header_length.decode('latin-1'))} and the body has {n_bytes} bytes; "
                "expected the length of the JSON that the body begins with",
            )
        n_bytes = int(given)
    view = memoryview(body)
    try:
        return _decode(view[:n_bytes]), view[n_bytes:]
    except msgspec.ValidationError as error:
        raise RefusedError("other", f"the request cannot be read: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(
            "other", f"the first {n_bytes} bytes of the body are not JSON: {error}"
        ) from error


def _tensors(inputs: Sequence[_Input], values: memoryview) -> list[Tensor]:
    tensors = []
    at = 0
    for each in inputs:
        size = (each.parameters or {}).get(SIZE)
        if size is None:
            tensors.append(Tensor(each.name, each.shape, each.datatype, each.data))
            continue
        left = len(values) - at
        if type(size) is not int or not 0 <= size <= left:
            raise RefusedError(
                "shape",
                f"input {shorten(each.name)} has {SIZE} {shorten(size)}, and {left} bytes are left "
                "of the body; expected the number of bytes of its values",
            )
        if each.data is not None:
            raise RefusedError(
                "value", f"input {shorten(each.name)} has {SIZE} and data too; expected one of them"
            )
        data = unpack(each.name, each.datatype, values[at : at + size])
        tensors.append(Tensor(each.name, each.shape, each.datatype, data))
        at += size
    if at != len(values):
        raise RefusedError(
            "shape",
            f"{len(values) - at} bytes follow the last input's values; expected none: "
            f"the sum of every {SIZE} is what follows the JSON",
        )
    return tensors


def _wanted_in_binary(request: _Request) -> list[bool]:
    """Return whether each output asked for is wanted in binary; one answer for all if none is."""
    everything = (request.parameters or {}).get("binary_data_output") is True
    if not request.outputs:
        return [everything]
    return [
        (output.parameters or {}).get("binary_data", everything) is True
        for output in request.outputs
    ]


def _to_binary(runtime: Runtime, answer: Answer, in_binary: dict[str, bool]) -> BinaryAnswer:
    result = answer.result
    heads, values = [], []
    for output in answer.outputs:
        if in_binary[output.name]:
            raw = output.raw(result)
            heads.append(output.json_head(result, len(raw)))
            values.append(raw)
        else:
            heads.append(output.json(result))
    head = runtime.json_of(answer, heads)
    return BinaryAnswer(b"".join([head, *values]), len(head), answer.request_id)
