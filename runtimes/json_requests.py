"""Plain inference requests in JSON: most of them, read without a model of the whole protocol.

A request is plain if it holds an id, tensors of lists, and perhaps names of outputs, each of the
type the protocol gives it. Whatever holds more than that, or something else, is no fault: it is
left to MLServer, which knows the whole protocol and how to say what is wrong.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

_REQUEST_KEYS = frozenset({"id", "inputs", "outputs", "parameters"})
_INPUT_KEYS = frozenset({"name", "shape", "datatype", "data", "parameters"})
_OUTPUT_KEYS = frozenset({"name", "parameters"})


class Tensor(NamedTuple):
    """One input of a request, as the client sent it: what it holds is not checked yet."""

    name: str
    shape: list[int]
    datatype: str
    data: Any


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """What a plain request says; `outputs` are the names asked for, none meaning all."""

    request_id: str | None
    inputs: list[Tensor]
    outputs: list[str]


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """A response as it goes over the wire, and what its headers say."""

    body: bytes
    request_id: str
    version: str


def parse_request(body: bytes) -> PlainRequest | None:
    """Return what `body` says, or None if it is no plain request."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(request) is not dict or not request.keys() <= _REQUEST_KEYS:
        return None
    request_id = request.get("id")
    inputs = _parse_inputs(request.get("inputs"))
    outputs = _parse_outputs(request.get("outputs"))
    if (
        (request_id is not None and type(request_id) is not str)
        or inputs is None
        or outputs is None
        or request.get("parameters")
    ):
        return None
    return PlainRequest(request_id, inputs, outputs)


def _parse_inputs(value: Any) -> list[Tensor] | None:
    if type(value) is not list:
        return None
    inputs = []
    for each in value:
        if type(each) is not dict or not each.keys() <= _INPUT_KEYS or each.get("parameters"):
            return None
        name, shape = each.get("name"), each.get("shape")
        datatype, data = each.get("datatype"), each.get("data")
        if (
            type(name) is not str
            or type(datatype) is not str
            or type(shape) is not list
            or type(data) is not list
            or not all(type(length) is int for length in shape)
        ):
            return None
        inputs.append(Tensor(name, shape, datatype, data))
    return inputs


def _parse_outputs(value: Any) -> list[str] | None:
    if value is None:
        return []
    if type(value) is not list:
        return None
    names = []
    for each in value:
        if type(each) is not dict or not each.keys() <= _OUTPUT_KEYS or each.get("parameters"):
            return None
        name = each.get("name")
        if type(name) is not str:
            return None
        names.append(name)
    return names
