"""How kubectl shows objects: one row each, with the columns that tell whether all is well."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from abserve.cluster.api.kinds import (
    CONFIG_MAP,
    EVENT,
    LEASE,
    NAMESPACE,
    POD,
    SECRET,
    SELDON_DEPLOYMENT,
    SERVICE,
    Kind,
)
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.store import Document
from abserve.seldon import SeldonDeployment, deployment_name, with_defaults

Include = Literal["Metadata", "Object", "None"]

# Up to how many seconds an age is told in which unit, and in which smaller one besides; as kubectl
# tells it.
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "y": 365 * 86_400}
_AGES = (
    (2 * _SECONDS["m"], "s", ""),
    (10 * _SECONDS["m"], "m", "s"),
    (3 * _SECONDS["h"], "m", ""),
    (8 * _SECONDS["h"], "h", "m"),
    (2 * _SECONDS["d"], "h", ""),
    (8 * _SECONDS["d"], "d", "h"),
    (2 * _SECONDS["y"], "d", ""),
    (8 * _SECONDS["y"], "y", "d"),
)


class _Column(NamedTuple):
    """A column: its title, its cell for an object, and whether only ``-o wide`` shows it."""

    title: str
    cell: Callable[[Document, datetime.datetime], str]
    wide: bool = False


def table(
    kind: Kind,
    documents: Sequence[Document],
    now: datetime.datetime,
    include: Include = "Metadata",
) -> dict[str, Any]:
    """Return the rows of `documents` as a Table object.

    `include` is how much of its object each row holds besides the cells.
    """
    columns = _COLUMNS[kind]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [
            {
                "name": column.title,
                "type": "string",
                "format": "name" if column.title == "Name" else "",
                "description": column.title,
                "priority": int(column.wide),
            }
            for column in columns
        ],
        "rows": [
            {
                "cells": [column.cell(document, now) for column in columns],
                **_attached(document, include),
            }
            for document in documents
        ],
    }


def age(timestamp: str | None, now: datetime.datetime) -> str:
    """Return how long ago `timestamp` was, as kubectl says it: ``45s``, ``3m12s``, ``5h``."""
    if timestamp is None:
        return "<unknown>"
    seconds = max(0, int((now - datetime.datetime.fromisoformat(timestamp)).total_seconds()))
    unit, smaller = next((units for limit, *units in _AGES if seconds < limit), ("y", ""))
    whole, rest = divmod(seconds, _SECONDS[unit])
    rest = rest // _SECONDS[smaller] if smaller else 0
    return f"{whole}{unit}" + f"{rest}{smaller}" * bool(rest)


def included(text: str) -> Include:
    """Return what ``includeObject`` of a request says: by default the metadata.

    Raises
    ------
    ApiError
        400 if it says something else.
    """
    match text:
        case "" | "Metadata":
            return "Metadata"
        case "Object" | "None":
            return text
    raise ApiError(400, f"includeObject is {text!r}; expected Metadata, Object or None")


def _attached(document: Document, include: Include) -> dict[str, Any]:
    match include:
        case "Metadata":
            metadata = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": document["metadata"],
            }
            return {"object": metadata}
        case "Object":
            return {"object": document}
        case "None":
            return {}


def _text(*path: str) -> Callable[[Document, datetime.datetime], str]:
    """Return the cell that shows the field at `path`, empty where there is none."""

    def cell(document: Document, _: datetime.datetime) -> str:
        value: Any = document
        for step in path:
            value = (value or {}).get(step)
        return str(value or "")

    return cell


def _age(*path: str) -> Callable[[Document, datetime.datetime], str]:
    when = _text(*path)
    return lambda document, now: age(when(document, now) or None, now)


def _count(*fields: str) -> Callable[[Document, datetime.datetime], str]:
    """Return the cell that shows how many entries the maps in `fields` have together."""
    return lambda document, _: str(sum(len(document.get(field) or {}) for field in fields))


# SeldonDeployments. The cells list the predictors in the order of the spec.


def _predictors(document: Document, _: datetime.datetime) -> str:
    predictors = document["spec"]["predictors"]
    n_variants = sum(not predictor.get("shadow") for predictor in predictors)
    return ", ".join(
        f"{predictor['name']} {_weight(predictor, n_variants)}" for predictor in predictors
    )


def _weight(predictor: dict[str, Any], n_variants: int) -> str:
    if predictor.get("shadow"):
        return f"shadow {predictor.get('traffic') or 100}%"
    return f"{predictor.get('traffic', 0) if n_variants > 1 else 100}%"


def _versions(document: Document, _: datetime.datetime) -> str:
    uris = (each["graph"].get("modelUri") or "" for each in document["spec"]["predictors"])
    return ", ".join(uri.rstrip("/").rpartition("/")[2] or "<none>" for uri in uris)


def _replicas(document: Document, _: datetime.datetime) -> str:
    deployment = with_defaults(SeldonDeployment.parse(document))
    reported = (document.get("status") or {}).get("deploymentStatus") or {}
    ready = (
        reported.get(deployment_name(deployment, each, 0), {}).get("availableReplicas", 0)
        for each in deployment.spec.predictors
    )
    return ", ".join(
        f"{n_ready}/{each.replicas}"
        for n_ready, each in zip(ready, deployment.spec.predictors, strict=True)
    )


# What only the cluster writes.


def _statuses(document: Document, field: str = "containerStatuses") -> Sequence[Document]:
    return (document.get("status") or {}).get(field) or ()


def _ready(document: Document, _: datetime.datetime) -> str:
    statuses = _statuses(document)
    return f"{sum(bool(each.get('ready')) for each in statuses)}/{len(statuses) or 1}"


def _pod_status(document: Document, _: datetime.datetime) -> str:
    """Return what kubectl calls the status: the reason of whichever container holds the pod up."""
    if document["metadata"].get("deletionTimestamp"):
        return "Terminating"
    initial = _statuses(document, "initContainerStatuses")
    for n_done, each in enumerate(initial):
        state = each.get("state") or {}
        if "terminated" in state and state["terminated"].get("exitCode") == 0:
            continue
        reason = _reason(state)
        told = reason and reason != "PodInitializing"
        return f"Init:{reason}" if told else f"Init:{n_done}/{len(initial)}"
    reasons = (_reason(each.get("state") or {}) for each in _statuses(document))
    status = document.get("status") or {}
    return next(filter(None, reasons), str(status.get("phase") or "Pending"))


def _reason(state: Mapping[str, Any]) -> str:
    """Return why a container does not run; nothing if it does."""
    return str((state.get("waiting") or state.get("terminated") or {}).get("reason") or "")


def _restarts(document: Document, now: datetime.datetime) -> str:
    statuses = _statuses(document)
    n_restarts = sum(each.get("restartCount", 0) for each in statuses)
    ends = [
        ended["finishedAt"]
        for each in statuses
        if (ended := (each.get("lastState") or {}).get("terminated")) and "finishedAt" in ended
    ]
    return f"{n_restarts} ({age(max(ends), now)} ago)" if n_restarts and ends else str(n_restarts)


def _ports(document: Document, _: datetime.datetime) -> str:
    containers = (document.get("spec") or {}).get("containers") or []
    ports = [port for each in containers for port in each.get("ports") or ()]
    return ", ".join(f"{port['name']} {port['containerPort']}" for port in ports) or "<none>"


def _external_names(document: Document, _: datetime.datetime) -> str:
    return ", ".join(each["hostname"] for each in document["status"]["loadBalancer"]["ingress"])


def _open_ports(document: Document, _: datetime.datetime) -> str:
    return ", ".join(f"{each['port']}/{each['protocol']}" for each in document["spec"]["ports"])


def _object(document: Document, _: datetime.datetime) -> str:
    about = document["involvedObject"]
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


_NAME = _Column("Name", _text("metadata", "name"))
_AGE = _Column("Age", _age("metadata", "creationTimestamp"))

_COLUMNS: Mapping[Kind, Sequence[_Column]] = {
    SELDON_DEPLOYMENT: (
        _NAME,
        _Column("State", _text("status", "state")),
        _Column("Predictors", _predictors),
        _AGE,
        _Column("Replicas", _replicas, wide=True),
        _Column("Versions", _versions, wide=True),
        _Column("Message", _text("status", "description"), wide=True),
    ),
    POD: (
        _NAME,
        _Column("Ready", _ready),
        _Column("Status", _pod_status),
        _Column("Restarts", _restarts),
        _AGE,
        # The predictor's name, unless its own labels say otherwise.
        _Column("Predictor", _text("metadata", "labels", "version"), wide=True),
        _Column("Ports", _ports, wide=True),
        _Column("Message", _text("status", "message"), wide=True),
    ),
    SERVICE: (
        _NAME,
        _Column("Type", _text("spec", "type")),
        _Column("External-IP", _external_names),
        _Column("Port(s)", _open_ports),
        _AGE,
    ),
    NAMESPACE: (_NAME, _Column("Status", _text("status", "phase")), _AGE),
    SECRET: (_NAME, _Column("Type", _text("type")), _Column("Data", _count("data")), _AGE),
    CONFIG_MAP: (_NAME, _Column("Data", _count("data", "binaryData")), _AGE),
    LEASE: (_NAME, _Column("Holder", _text("spec", "holderIdentity")), _AGE),
    EVENT: (
        _Column("Last Seen", _age("lastTimestamp")),
        _Column("Type", _text("type")),
        _Column("Reason", _text("reason")),
        _Column("Object", _object),
        _Column("Source", _text("source", "component"), wide=True),
        _Column("Message", _text("message")),
        _Column("First Seen", _age("firstTimestamp"), wide=True),
        _Column("Count", _text("count"), wide=True),
        _NAME._replace(wide=True),
    ),
}
