"""Changes as clients write them: JSON merge patches (RFC 7386) and JSON patches (RFC 6902)."""

import copy
from typing import Any

import jsonpatch

from abserve.cluster.api.kinds import SELDON_GROUP, Kind
from abserve.cluster.api.requests import parse_json
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.store import Document

_JSON = "application/json-patch+json"
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"


def apply_patch(kind: Kind, document: Document, content_type: str, body: bytes) -> Document:
    """Return `document` with the patch in `body` applied.

    A strategic merge patch differs from a merge patch in how lists are merged. The built-in kinds
    we keep, Secrets and ConfigMaps, hold maps only, so there both mean the same; a custom resource
    takes none, on Kubernetes as well.

    Raises
    ------
    ApiError
        415 for another content type, 400 for a malformed patch, 422 if it does not fit the object
        (a `test` failed, a path does not exist).
    """
    supported = (_JSON, _MERGE) if kind.group == SELDON_GROUP else (_JSON, _MERGE, _STRATEGIC)
    if content_type not in supported:
        raise ApiError(
            415,
            "the body of the request was in an unknown format - accepted media types include: "
            + ", ".join(supported),
        )
    patch = parse_json(body)
    patched = _json_patch(document, patch) if content_type == _JSON else merge(document, patch)
    if not isinstance(patched, dict):
        raise ApiError(400, f"the patch turns the {kind.name} into something that is no object")
    return patched


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


def _json_patch(document: Document, patch: Any) -> Any:
    # jsonpatch would take a string for a patch that is still to be parsed.
    if not isinstance(patch, list):
        raise ApiError(400, "expected a list of JSON patch operations")
    try:
        return jsonpatch.apply_patch(document, patch)
    except (jsonpatch.InvalidJsonPatch, TypeError, AttributeError, KeyError) as error:
        raise ApiError(400, f"expected a list of JSON patch operations: {error}") from error
    except jsonpatch.JsonPatchTestFailed as error:
        raise ApiError(422, f"the patch does not fit: a test failed: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise ApiError(422, f"the patch does not fit: {error}") from error
