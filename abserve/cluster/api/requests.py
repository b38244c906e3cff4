"""Who may ask, and how an object must look that is sent to a path."""

import hmac
import re
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from abserve.cluster.api.bodies import check_depth
from abserve.cluster.api.kinds import NAMESPACE, Kind
from abserve.cluster.api.status import ApiError, invalid
from abserve.cluster.api.store import Document

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

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


def check_document(kind: Kind, document: Document, namespace: str, name: str | None) -> Document:
    """Return `document` with its namespace filled in, once it fits the path it was sent to."""
    check_depth(document)  # patches can make deep what was not
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
    if kind.namespaced and (metadata.get("namespace") or namespace) != namespace:
        raise ApiError(
            400, f"the object is of namespace {metadata['namespace']!r}, the path of {namespace!r}"
        )
    # A field that holds nothing says no more than one that is left out, and Kubernetes keeps none.
    metadata = {
        field: value for field, value in metadata.items() if value is not None and value != {}
    }
    _check_maps(metadata)
    placed = {"namespace": namespace} if kind.namespaced else {}
    return {
        **document,
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {**metadata, **placed},
    }


def _check_maps(metadata: dict[str, Any]) -> None:
    for field in ("labels", "annotations"):
        entries = metadata.get(field, {})
        if not isinstance(entries, dict) or not all(isinstance(v, str) for v in entries.values()):
            raise ApiError(400, f"metadata.{field} must map strings to strings; quote its values")
