"""Secrets: how Kubernetes writes them, and the ones every namespace of a local cluster has."""

import base64
import binascii
from collections.abc import Mapping

from abserve.cluster.api.kinds import SECRET
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.store import Document

MODEL_REPOSITORY = "model-repository"
FEEDBACK_KEY = "feedback-key"


def secret(namespace: str, name: str, values: Mapping[str, str]) -> Document:
    """Return a Secret that holds `values`."""
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def decoded(document: Document) -> dict[str, str]:
    """Return the values of a Secret that `normalised` let pass."""
    data = document.get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def normalised(document: Document) -> Document:
    """Return a Secret with its `stringData` moved into `data`, as the API stores it.

    Raises
    ------
    ApiError
        422 if a value is not base64 of text, or one of `stringData` no text.
    """
    data = _strings(document, "data")
    for key, value in _strings(document, "stringData").items():
        data[key] = base64.b64encode(value.encode()).decode()
    for key, value in data.items():
        try:
            base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise ApiError(
                422, f"data[{key}] of the Secret is no base64 of text; write it in stringData"
            ) from error
    rest = {key: value for key, value in document.items() if key != "stringData"}
    return {"type": "Opaque", **rest, "data": data}


def _strings(document: Document, field: str) -> dict[str, str]:
    entries = document.get(field) or {}
    if not isinstance(entries, dict) or not all(isinstance(v, str) for v in entries.values()):
        raise ApiError(422, f"{field} of the Secret must map strings to strings; quote its values")
    return dict(entries)
