"""Inference requests over REST, whatever they hold: JSON, and the protocol's binary tensors.

::

    inference-header-content-length: 120
    { "inputs": [{"name": "features", ..., "parameters": {"binary_data_size": 16}}], ... } 16 bytes

A request begins with its JSON - all of it is, where no header says how long that is - and goes on
with the values of those inputs that name a size, in their order. A response has the same form, for
the outputs that are wanted in binary: each that says ``"parameters": {"binary_data": true}``, or
all of them with ``"binary_data_output": true`` in the request's parameters.

The first fault ends the reading: a request with a million of them costs no more than one.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from runtimes.inference import Request, Tensor
from runtimes.opened import Answer
from runtimes.raw_tensors import unpack
from runtimes.refusals import RefusedError, check_n_inputs
from runtimes.runtime import Runtime
from runtimes.texts import shorten

HEADER_LENGTH = b"inference-header-content-length"
SIZE = "binary_data_size"

_MAX_DIGITS = 12


class RestAnswer(msgspec.Struct, gc=False):
    """A response as it goes over the wire; `header_length` is that of its JSON, None if all is."""

    body: bytes
    header_length: int | None
    request_id: str

    def lines(self) -> bytes:
        """Return the header lines of tensors in binary; none if there are none."""
        if self.header_length is None:
            return b""
        return (
            b"content-type: application/octet-stream\r\n"
            b"inference-header-content-length: %d\r\n" % self.header_length
        )


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


def answer_rest(
    runtime: Runtime, body: bytes, header_length: bytes | None, *, first_exposure: bool = True
) -> RestAnswer:
    """Answer a request.

    Parameters
    ----------
    runtime : Runtime
        Answers.
    body : bytes
        JSON, and the values behind it.
    header_length : bytes or None
        What the header says of the JSON's length; None if there is no header.
    first_exposure : bool, optional
        Whether it is the first request of its unit.

    Raises
    ------
    RefusedError
        If the request is at fault; it is counted.
    """
    with runtime.refusals_counted():
        found, values = _split(body, header_length)
        check_n_inputs(len(found.inputs))
        runtime.check_content_type("the request", found.parameters)
        for each in found.inputs:
            runtime.check_content_type(f"input {shorten(each.name)}", each.parameters)
        request = Request(
            found.id, _tensors(found.inputs, values), [each.name for each in found.outputs or ()]
        )
    answer = runtime.infer(request, first_exposure=first_exposure)
    return _to_rest(runtime, answer, _wanted_in_binary(found, answer))


def check_form(body: bytes) -> None:
    """Refuse a request in JSON that has not the protocol's form, at its first fault.

    Raises
    ------
    RefusedError
        With what is wrong.
    """
    check_n_inputs(len(_split(body, None)[0].inputs))


def _split(body: bytes, header_length: bytes | None) -> tuple[_Request, memoryview]:
    n_bytes = len(body)
    what = "the body is"
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
        what = f"the first {n_bytes} bytes of the body are"
    view = memoryview(body)
    try:
        return _decode(view[:n_bytes]), view[n_bytes:]
    except msgspec.ValidationError as error:
        raise RefusedError("other", f"the request cannot be read: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError("other", f"{what} not JSON: {error}") from error
    except RecursionError as error:
        raise RefusedError("other", f"{what} JSON that is nested too deeply") from error


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
        data = unpack(each.name, each.datatype, each.shape, values[at : at + size])
        tensors.append(Tensor(each.name, each.shape, each.datatype, data))
        at += size
    if at != len(values):
        raise RefusedError(
            "shape",
            f"{len(values) - at} bytes follow the last input's values; expected none: "
            f"the sum of every {SIZE} is what follows the JSON",
        )
    return tensors


def _wanted_in_binary(request: _Request, answer: Answer) -> dict[str, bool]:
    """Return whether each output of the answer is wanted in binary."""
    everything = (request.parameters or {}).get("binary_data_output") is True
    if not request.outputs:
        return {output.name: everything for output in answer.outputs}
    return {
        output.name: (output.parameters or {}).get("binary_data", everything) is True
        for output in request.outputs
    }


def _to_rest(runtime: Runtime, answer: Answer, in_binary: dict[str, bool]) -> RestAnswer:
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
    header_length = len(head) if any(in_binary.values()) else None
    return RestAnswer(b"".join([head, *values]), header_length, answer.request_id)
