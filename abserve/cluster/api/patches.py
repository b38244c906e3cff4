"""Changes as clients write them: JSON merge patches (RFC 7386) and JSON patches (RFC 6902)."""

import copy
import json
from typing import Any

import jsonpatch
import jsonpointer

from abserve.cluster.api.bodies import LARGEST_BODY_BYTES, Body, check_depth, parse_json
from abserve.cluster.api.kinds import SELDON_GROUP, Kind
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.store import Document

APPLY = "application/apply-patch+yaml"
"""The content type of a server-side apply, which is no patch but what somebody wants to be so."""

_JSON = "application/json-patch+json"
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"

# As many as Kubernetes takes.
_MOST_OPERATIONS = 10_000


def media_types(kind: Kind) -> tuple[str, ...]:
    """Return the content types of the patches that objects of a kind take."""
    merging = (_MERGE,) if kind.group == SELDON_GROUP else (_MERGE, _STRATEGIC)
    return (_JSON, *merging, APPLY)


def apply_patch(kind: Kind, document: Document, content_type: str, body: bytes) -> Body:
    """Return `document` with the patch in `body` applied, and what the patch says twice.

    A strategic merge patch differs from a merge patch in how lists are merged. The built-in kinds
    that clients write hold maps only, so there both mean the same; a custom resource takes none, on
    Kubernetes as well.

    Raises
    ------
    ApiError
        415 for another content type, 400 for a malformed patch, 413 for one that does too much,
        422 if it does not fit the object (a `test` failed, a path does not exist).
    """
    supported = media_types(kind)
    if content_type not in supported:
        raise ApiError(
            415,
            "the body of the request was in an unknown format - accepted media types include: "
            + ", ".join(supported),
        )
    sent = parse_json(body)
    if content_type == _JSON:
        patched = _json_patch(document, sent.value)
    else:
        if content_type == _STRATEGIC:
            _check_directives(sent.value)
        patched = merge(document, sent.value)
    if not isinstance(patched, dict):
        raise ApiError(400, f"the patch turns the {kind.name} into something that is no object")
    check_depth(patched)
    return Body(patched, sent.repeated)


def merge(target: Any, patch: Any) -> Any:
    """Return `target` with a merge patch applied: null removes, maps merge, all else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _check_directives(patch: Any) -> None:
    for key, value in patch.items() if isinstance(patch, dict) else ():
        if key.startswith("$"):
            raise ApiError(
                400, f"directive {key!r} of a strategic merge patch is not read; send a merge patch"
            )
        _check_directives(value)


def _json_patch(document: Document, operations: Any) -> Any:
    # jsonpatch would take a string for a patch that is still to be parsed.
    if not isinstance(operations, list):
        raise ApiError(400, "expected a list of JSON patch operations")
    if len(operations) > _MOST_OPERATIONS:
        raise ApiError(
            413,
            f"the patch has {len(operations)} operations; at most {_MOST_OPERATIONS} are taken",
        )
    patched = copy.deepcopy(document)
    copied_bytes = 0
    for index, operation in enumerate(operations):
        try:
            copied_bytes += _copied_bytes(patched, operation)
            patched = _operate(patched, operation, index)
        except RecursionError as error:
            raise ApiError(400, f"operation {index} nests the object too deeply") from error
        if copied_bytes > LARGEST_BODY_BYTES:
            raise ApiError(413, f"the patch copies more than {LARGEST_BODY_BYTES} bytes")
    return patched


def _operate(document: Document, operation: Any, index: int) -> Any:
    # The library's own words repeat what the document holds, which may be secret.
    path = operation.get("path") if isinstance(operation, dict) else None
    try:
        return jsonpatch.apply_patch(document, [operation], in_place=True)
    except (jsonpatch.InvalidJsonPatch, TypeError, AttributeError, KeyError) as error:
        raise ApiError(
            400,
            f"operation {index} is none of JSON patch; expected an op of add, copy, move, remove, "
            "replace or test, with its path, and value or from",
        ) from error
    except jsonpatch.JsonPatchTestFailed as error:
        raise ApiError(
            422, f"the patch does not fit: a test failed: {path} holds another value, or none"
        ) from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise ApiError(
            422,
            f"the patch does not fit: operation {index}, {operation['op']} of {path}, names a path "
            "that does not exist",
        ) from error


def _copied_bytes(document: Document, operation: Any) -> int:
    """Return how many bytes an operation copies: a few of them could double an object each."""
    if not isinstance(operation, dict) or operation.get("op") != "copy":
        return 0
    try:
        copied = jsonpointer.resolve_pointer(document, operation["from"], None)
    except (jsonpointer.JsonPointerException, KeyError, TypeError, AttributeError):
        return 0  # whoever applies it says what is wrong
    return len(json.dumps(copied))
