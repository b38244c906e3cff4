"""Inference requests and responses of gRPC, without MLServer's types in between.

::

    ModelInferRequest ──> Request ──> (one of our runtimes) ──> Answer ──> ModelInferResponse
                             └──> MLServer's InferenceRequest ──> (any other model)

What does not fit is refused here, whichever model it is for: MLServer takes values from any field
of ``contents`` for any datatype, and calls bytes that are cut short a fault of its own.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.converters import ParametersConverter
from mlserver.types import InferenceRequest, RequestInput, RequestOutput
from numpy.typing import NDArray
from pydantic import ValidationError

from abserve import __version__
from runtimes.inference import Request, Tensor
from runtimes.opened import Answer, check_request_id
from runtimes.outputs import Output
from runtimes.raw_tensors import BYTES, unpack
from runtimes.refusals import RefusedError
from runtimes.texts import shorten

_PACKED = 2  # what the tag of a field says of its form, in three bits
_TAG_BITS = 3
_VARINT_BITS = 7


class _Contents(NamedTuple):
    """Where the typed values of a datatype are: a field of InferTensorContents, and its number."""

    field: str
    number: int
    dtype: np.dtype[Any]


_INT = _Contents("int_contents", 2, np.dtype(np.int32))
_UINT = _Contents("uint_contents", 4, np.dtype(np.uint32))
# FP16 has no typed values; it is sent raw.
_CONTENTS = {
    "BOOL": _Contents("bool_contents", 1, np.dtype(np.bool_)),
    "INT8": _INT,
    "INT16": _INT,
    "INT32": _INT,
    "INT64": _Contents("int64_contents", 3, np.dtype(np.int64)),
    "UINT8": _UINT,
    "UINT16": _UINT,
    "UINT32": _UINT,
    "UINT64": _Contents("uint64_contents", 5, np.dtype(np.uint64)),
    "FP32": _Contents("fp32_contents", 6, np.dtype("<f4")),
    "FP64": _Contents("fp64_contents", 7, np.dtype("<f8")),
    BYTES: _Contents("bytes_contents", 8, np.dtype(np.object_)),
}
# Those whose values have a fixed width on the wire; the others' are as long as each needs.
_FIXED_WIDTH = frozenset({"FP32", "FP64"})


def read_request(request: pb.ModelInferRequest) -> Request:
    """Return what a request says.

    Raises
    ------
    RefusedError
        If its values are not where the protocol has them, or raw ones are cut short.
    """
    inputs, raw = request.inputs, request.raw_input_contents
    if raw and len(raw) != len(inputs):
        raise RefusedError(
            "inputs",
            f"the request has {len(inputs)} inputs and {len(raw)} raw_input_contents; expected one "
            "for each input, or none at all",
        )
    tensors = []
    for index, tensor in enumerate(inputs):
        name, datatype = tensor.name, tensor.datatype
        if not name:
            raise RefusedError("inputs", f"input number {index} (from 0) has no name; expected one")
        values: Any
        if raw:
            _check_no_contents(tensor)
            values = unpack(name, datatype, tensor.shape[:], raw[index])
        else:
            values = _read_contents(tensor)
        tensors.append(Tensor(name, tensor.shape[:], datatype, values))
    return Request(request.id, tensors, [output.name for output in request.outputs])


def parameters_of(request: pb.ModelInferRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parameters of a request and of its inputs, where there are any, and whose."""
    if request.parameters:
        yield "the request", _values_of(request.parameters)
    for tensor in request.inputs:
        if tensor.parameters:
            yield f"input {shorten(tensor.name)}", _values_of(tensor.parameters)


def to_inference_request(request: pb.ModelInferRequest) -> InferenceRequest:
    """Return a request in MLServer's types.

    Raises
    ------
    RefusedError
        As `read_request` does; if numbers are more or fewer than the shape says; or if a parameter
        has a value that MLServer does not take.
    """
    found = read_request(request)
    for tensor in found.inputs:
        _check_count(tensor)
    to_parameters = ParametersConverter.to_types
    try:
        return InferenceRequest(
            # gRPC has no absent id, only an empty one; MLServer makes one where there is none.
            id=check_request_id(request.id) if request.id else None,
            parameters=to_parameters(request.parameters),
            inputs=[
                RequestInput(
                    name=tensor.name,
                    shape=tensor.shape,
                    datatype=tensor.datatype,
                    parameters=to_parameters(sent.parameters),
                    data=tensor.data if isinstance(tensor.data, list) else tensor.data.tolist(),
                )
                for sent, tensor in zip(request.inputs, found.inputs, strict=True)
            ],
            outputs=[
                RequestOutput(name=sent.name, parameters=to_parameters(sent.parameters))
                for sent in request.outputs
            ]
            or None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RefusedError("other", f"parameter {where} cannot be read: {first['msg']}") from error


class ResponseWriter:
    """Writes the responses of one version.

    Parameters
    ----------
    name, version : str
        Of the model.
    """

    def __init__(self, name: str, version: str) -> None:
        # What is the same in each response is written once, and merged into it.
        head = pb.ModelInferResponse(model_name=name, model_version=version)
        head.parameters["service_version"].string_param = __version__
        self._head = head.SerializeToString()
        self._tensors: dict[str, bytes] = {}

    def write(self, answer: Answer, *, raw: bool) -> bytes:
        """Return the response, its values raw or typed."""
        result = answer.result
        n_rows = len(result[0])
        response = pb.ModelInferResponse.FromString(self._head)
        response.id = answer.request_id
        response.parameters["feedback_token"].string_param = answer.token
        for output in answer.outputs:
            tensor = response.outputs.add()
            head = self._tensors.get(output.name)
            if head is None:
                head = self._tensors[output.name] = _write_head(output)
            tensor.MergeFromString(head)
            tensor.shape.extend((n_rows, output.width))
            if raw:
                response.raw_output_contents.append(output.raw(result))
            else:
                _write_contents(tensor.contents, output, result)
        written: bytes = response.SerializeToString()
        return written


def to_parameter(value: Any) -> pb.InferParameter:
    """Return a parameter; what gRPC has no type for, such as a list, becomes JSON in a string."""
    match value:
        case bool():
            return pb.InferParameter(bool_param=value)
        case int():
            return pb.InferParameter(int64_param=value)
        case str():
            return pb.InferParameter(string_param=value)
        case _:
            return pb.InferParameter(string_param=orjson.dumps(value).decode())


def _read_contents(tensor: pb.ModelInferRequest.InferInputTensor) -> NDArray[Any] | list[bytes]:
    name, datatype, contents = tensor.name, tensor.datatype, tensor.contents
    wanted = _CONTENTS.get(datatype)
    if wanted is None:
        expected = (
            "its values in raw_input_contents"
            if datatype == "FP16"
            else f"one of {', '.join(_CONTENTS)}"
        )
        raise RefusedError(
            "datatype",
            f"input {shorten(name)} has datatype {shorten(datatype)} and no raw_input_contents; "
            f"expected {expected}",
        )
    fields = contents.ListFields()
    if not fields:
        return [] if datatype == BYTES else np.empty(0, wanted.dtype)
    field, values = fields[0]
    if len(fields) > 1 or field.name != wanted.field:
        found = " and ".join([field.name for field, _ in fields])
        raise RefusedError(
            "datatype",
            f"input {shorten(name)} has datatype {datatype} and values in {found}; expected them "
            f"in {wanted.field}",
        )
    if datatype == BYTES:
        strings: list[bytes] = values[:]
        return strings
    if datatype in _FIXED_WIDTH:
        # On the wire they are an array already, behind a tag and their length. Asked one by one,
        # they would become as many objects.
        n_values = len(values)
        head = len(_head_of(wanted.number, n_values * wanted.dtype.itemsize))
        return np.frombuffer(contents.SerializeToString(), wanted.dtype, n_values, head)
    return np.fromiter(values, wanted.dtype, len(values))


def _check_no_contents(tensor: pb.ModelInferRequest.InferInputTensor) -> None:
    fields = [field.name for field, _ in tensor.contents.ListFields()]
    if fields:
        raise RefusedError(
            "inputs",
            f"input {shorten(tensor.name)} has values in {' and '.join(fields)}, and the request "
            "has raw_input_contents; expected one of them",
        )


def _check_count(tensor: Tensor) -> None:
    """Refuse numbers that do not fill their shape. How strings do is for their codec to say."""
    fits = tensor.datatype == BYTES or (
        min(tensor.shape, default=0) >= 0 and math.prod(tensor.shape) == len(tensor.data)
    )
    if not fits:
        raise RefusedError(
            "shape",
            f"input {shorten(tensor.name)} has shape {shorten(tensor.shape)} and "
            f"{len(tensor.data)} values; expected as many values as the shape says",
        )


def _write_contents(contents: pb.InferTensorContents, output: Output, result: Any) -> None:
    field, number, _ = _CONTENTS[output.datatype]
    if output.datatype in _FIXED_WIDTH:
        raw = output.raw(result)
        contents.MergeFromString(_head_of(number, len(raw)) + raw)
    else:
        getattr(contents, field).extend(output.values(result))


def _write_head(output: Output) -> bytes:
    """Return what is the same in an output of each response: name, datatype, parameters."""
    tensor = pb.ModelInferResponse.InferOutputTensor(name=output.name, datatype=output.datatype)
    for key, value in (output.parameters or {}).items():
        tensor.parameters[key].CopyFrom(to_parameter(value))
    written: bytes = tensor.SerializeToString()
    return written


def _head_of(number: int, size_bytes: int) -> bytes:
    """Return what is in front of a field's values on the wire: its tag, and their length."""
    head = bytearray((number << _TAG_BITS | _PACKED,))
    while size_bytes >> _VARINT_BITS:
        head.append(size_bytes & 0x7F | 0x80)
        size_bytes >>= _VARINT_BITS
    head.append(size_bytes)
    return bytes(head)


def _values_of(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    """Return parameters by name; None for one without a value."""
    values = {}
    for key, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        values[key] = getattr(parameter, choice) if choice else None
    return values
