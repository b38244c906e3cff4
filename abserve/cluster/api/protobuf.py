"""Objects in Kubernetes' protobuf form, which is how kubectl sends the built-in kinds.

``kubectl create namespace`` and its like know nothing else. Field numbers are those of
Kubernetes' published ``generated.proto`` files; fields beyond those named here are none that
these commands send.
"""

import base64
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from abserve.cluster.api.status import ApiError

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_LENGTHS = {_FIXED64: 8, _FIXED32: 4}

# The fields of one message: number to values, as they stand on the wire.
_Fields = dict[int, list[Any]]


def decode(body: bytes) -> dict[str, Any]:
    """Return the object in `body`, as its JSON form would read.

    Raises
    ------
    ApiError
        400 if it is damaged, 415 if it is of a kind that is only read as JSON.
    """
    if not body.startswith(_MAGIC):
        raise ApiError(400, "the body is not in Kubernetes' protobuf form")
    try:
        envelope = _fields(body[len(_MAGIC) :])
        type_meta = _fields(envelope[1][0])
        kind = _text(type_meta[2])
        convert = _KINDS.get(kind)
        if convert is None:
            raise ApiError(415, f"kind {kind!r} is read as application/json only")
        message = _fields(envelope[2][0])
        return {
            "apiVersion": _text(type_meta[1]),
            "kind": kind,
            "metadata": _metadata(_fields(message[1][0])),
            **convert(message),
        }
    # A number where bytes belong has neither a length nor text.
    except (IndexError, KeyError, ValueError, TypeError, AttributeError) as error:
        # The error's own text may repeat the body, which may hold what is secret.
        raise ApiError(400, f"the body is damaged protobuf: {type(error).__name__}") from error


def _metadata(fields: _Fields) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        name: _text(fields[number])
        for number, name in (
            (1, "name"),
            (2, "generateName"),
            (3, "namespace"),
            (5, "uid"),
            (6, "resourceVersion"),
        )
        if _text(fields[number])
    }
    for number, name in ((11, "labels"), (12, "annotations")):
        if fields[number]:
            metadata[name] = _map(fields[number], bytes.decode)
    return metadata


def _secret(fields: _Fields) -> dict[str, Any]:
    secret: dict[str, Any] = {
        "data": _map(fields[2], lambda value: base64.b64encode(value).decode()),
        "stringData": _map(fields[4], bytes.decode),
    }
    return {**secret, "type": _text(fields[3])} if _text(fields[3]) else secret


def _config_map(fields: _Fields) -> dict[str, Any]:
    return {"data": _map(fields[2], bytes.decode)}


def _access_review(fields: _Fields) -> dict[str, Any]:
    spec = _fields(fields[2][0])
    names = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
    found = {
        name: _texts(_fields(spec[number][0]), each)
        for number, name, each in (
            (1, "resourceAttributes", names),
            (2, "nonResourceAttributes", ("path", "verb")),
        )
        if spec[number]
    }
    return {"spec": found}


def _rules_review(fields: _Fields) -> dict[str, Any]:
    return {"spec": _texts(_fields(fields[2][0]), ("namespace",))}


def _nothing(_: _Fields) -> dict[str, Any]:
    return {}


_KINDS: dict[str, Callable[[_Fields], dict[str, Any]]] = {
    "Namespace": _nothing,
    "Secret": _secret,
    "ConfigMap": _config_map,
    "SelfSubjectReview": _nothing,
    "SelfSubjectAccessReview": _access_review,
    "SelfSubjectRulesReview": _rules_review,
}


def _map(entries: list[bytes], convert: Callable[[bytes], str]) -> dict[str, str]:
    pairs = (_fields(entry) for entry in entries)
    return {_text(pair[1]): convert(pair[2][0] if pair[2] else b"") for pair in pairs}


def _texts(fields: _Fields, names: Sequence[str]) -> dict[str, str]:
    """Return the texts of a message whose fields are numbered in the order of `names`."""
    return {name: _text(fields[number]) for number, name in enumerate(names, start=1)}


def _text(values: list[bytes]) -> str:
    return values[-1].decode() if values else ""


def _fields(message: bytes) -> _Fields:
    """Split a message into its fields; raise IndexError or ValueError if it is cut short."""
    found: _Fields = defaultdict(list)
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        wire = key & 7
        value: Any
        if wire == _VARINT:
            value, position = _varint(message, position)
        else:
            if wire == _BYTES:
                length, position = _varint(message, position)
            elif wire in _FIXED_LENGTHS:
                length = _FIXED_LENGTHS[wire]
            else:
                raise ValueError(f"wire type {wire}")
            value, position = message[position : position + length], position + length
        if position > len(message):
            raise ValueError("cut short")
        found[key >> 3].append(value)
    return found


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if not byte & 0x80:
            return value, position
