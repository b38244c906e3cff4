"""What a client may send: who it is, how large, and how its objects must look."""

import hmac
import json
import re
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from abserve.cluster.api import protobuf
from abserve.cluster.api.kinds import NAMESPACE, Kind
from abserve.cluster.api.status import ApiError, invalid
from abserve.cluster.api.store import Document

# What etcd, and so Kubernetes, takes at most for one object.
_LARGEST_BODY_BYTES = 1_572_864

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

# Far deeper than any object of ours, and far from where Python's own recursion ends.
_DEEPEST = 100

_HOSTS = frozenset({"localhost", "127.0.0.1"})


def authorize(request: Request, token: str) -> None:
    """Let a request pass only with the token, and only if it was sent to this machine's name.

    The name is checked because a web page may make a browser send requests to 127.0.0.1 under a
    name of its own.
    """
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:  # such as half of an IPv6 address
        host = None
    if host not in _HOSTS:
        raise ApiError(403, f"host {host!r} is not served here; expected localhost or 127.0.0.1")
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise ApiError(401, "Unauthorized: use the kubeconfig that 'abserve up' wrote")


async def read_body(request: Request) -> bytes:
    """Return the request's body, unless it is larger than an object may be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY_BYTES:
            raise ApiError(
                413, f"the body is larger than {_LARGEST_BODY_BYTES} bytes, an object's limit"
            )
    return body


def parse_document(content_type: str, body: bytes) -> Document:
    """Return the object in a request's body.

    Raises
    ------
    ApiError
        400 if it is malformed, 415 if it is neither JSON nor Kubernetes' protobuf.
    """
    if content_type == protobuf.CONTENT_TYPE:
        return protobuf.decode(body)
    if content_type not in {"application/json", ""}:
        raise ApiError(415, f"content type {content_type!r} is not read; send application/json")
    document = parse_json(body)
    if not isinstance(document, dict):
        raise ApiError(400, f"the body is no JSON object but a {type(document).__name__}")
    return document


def parse_json(body: bytes) -> Any:
    """Return the JSON value in `body`.

    Raises
    ------
    ApiError
        400 if it is none, is nested too deeply, or holds what no answer could repeat: NaN,
        infinity, half of a surrogate pair.
    """
    try:
        value = json.loads(body)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON: {error}") from error
    if isinstance(value, dict | list):
        _check_depth(value)
    return value


def check_document(kind: Kind, document: Document, namespace: str, name: str | None) -> Document:
    """Return `document` with its namespace filled in, once it fits the path it was sent to."""
    _check_depth(document)  # patches can make deep what was not
    for field, expected in (("kind", kind.name), ("apiVersion", kind.api_version)):
        if document.get(field, expected) != expected:
            raise ApiError(400, f"{field} is {document.get(field)!r}; this path takes {expected!r}")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise ApiError(400, "metadata is missing; an object needs metadata.name")
    found = metadata.get("name")
    pattern = _LABEL if kind is NAMESPACE else _SUBDOMAIN
    if not isinstance(found, str) or not pattern.fullmatch(found):
        raise invalid(
            kind.name,
            kind.group,
            str(found),
            [
                {
                    "reason": "FieldValueInvalid",
                    "field": "metadata.name",
                    "message": (
                        f"found {found!r}, expected lower-case letters, digits and '-', "
                        "beginning and ending with a letter or digit"
                    ),
                }
            ],
        )
    if name is not None and found != name:
        raise ApiError(400, f"the object is named {found!r}, the path {name!r}")
    if kind.namespaced and metadata.get("namespace", namespace) != namespace:
        raise ApiError(
            400, f"the object is of namespace {metadata['namespace']!r}, the path of {namespace!r}"
        )
    _check_maps(metadata)
    placed = {"namespace": namespace} if kind.namespaced else {}
    return {
        **document,
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {**metadata, **placed},
    }


def _check_depth(value: Any, left: int = _DEEPEST) -> None:
    if left == 0:
        raise ApiError(400, f"the body is nested more than {_DEEPEST} levels deep")
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, dict | list):
            _check_depth(child, left - 1)


def _check_maps(metadata: dict[str, Any]) -> None:
    for field in ("labels", "annotations"):
        entries = metadata.get(field) or {}
        if not isinstance(entries, dict) or not all(isinstance(v, str) for v in entries.values()):
            raise ApiError(400, f"metadata.{field} must map strings to strings; quote its values")
