"""How kubectl shows objects: one row each, with the columns that tell whether all is well."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from abserve.cluster.api.kinds import EVENT, NAMESPACE, POD, SELDON_DEPLOYMENT, Kind
from abserve.cluster.api.store import Document

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400

# A column: its title, whether only `-o wide` shows it, and its cell for an object.
_Column = tuple[str, bool, Callable[[Document], str]]


def table(kind: Kind, documents: Sequence[Document], now: datetime.datetime) -> dict[str, Any]:
    """Return the rows of `documents` as a Table object."""
    columns: list[_Column] = [
        ("Name", False, lambda document: str(document["metadata"]["name"])),
        *_COLUMNS.get(kind.plural, ()),
        ("Age", False, lambda document: age(document["metadata"].get("creationTimestamp"), now)),
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [
            {
                "name": title,
                "type": "string",
                "format": "name" if title == "Name" else "",
                "description": title,
                "priority": int(wide),
            }
            for title, wide, _ in columns
        ],
        "rows": [
            {
                "cells": [cell(document) for _, _, cell in columns],
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": document["metadata"],
                },
            }
            for document in documents
        ],
    }


def age(timestamp: str | None, now: datetime.datetime) -> str:
    """Return how long ago `timestamp` was, in the largest unit that fits: ``45s``, ``3m``."""
    if timestamp is None:
        return "<unknown>"
    seconds = max(0, int((now - datetime.datetime.fromisoformat(timestamp)).total_seconds()))
    for unit, letter in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if seconds >= 2 * unit:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def _predictors(document: Document) -> str:
    predictors = document["spec"]["predictors"]
    n_variants = sum(not predictor.get("shadow") for predictor in predictors)
    return ", ".join(
        f"{predictor['name']} {_weight(predictor, n_variants)}" for predictor in predictors
    )


def _weight(predictor: dict[str, Any], n_variants: int) -> str:
    if predictor.get("shadow"):
        return f"shadow {predictor.get('traffic') or 100}%"
    return f"{predictor.get('traffic', 0) if n_variants > 1 else 100}%"


def _status(field: str) -> Callable[[Document], str]:
    return lambda document: str((document.get("status") or {}).get(field) or "")


def _container(document: Document) -> dict[str, Any]:
    statuses = document["status"].get("containerStatuses") or [{}]
    return dict(statuses[0])


_COLUMNS: dict[str, Sequence[_Column]] = {
    SELDON_DEPLOYMENT.plural: (
        ("State", False, _status("state")),
        ("Predictors", False, _predictors),
        ("Message", True, _status("description")),
    ),
    POD.plural: (
        ("Ready", False, lambda document: f"{int(bool(_container(document).get('ready')))}/1"),
        ("Status", False, lambda document: str(document["status"].get("reason") or "Pending")),
        ("Restarts", False, lambda document: str(_container(document).get("restartCount", 0))),
        ("Message", True, _status("message")),
    ),
    NAMESPACE.plural: (("Status", False, _status("phase")),),
    EVENT.plural: (
        ("Type", False, lambda document: str(document["type"])),
        ("Reason", False, lambda document: str(document["reason"])),
        (
            "Object",
            False,
            lambda document: (
                f"{document['involvedObject']['kind'].lower()}/{document['involvedObject']['name']}"
            ),
        ),
        ("Message", False, lambda document: str(document["message"])),
    ),
}
