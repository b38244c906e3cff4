"""What a write leaves in ``metadata.managedFields``, and what an apply makes of an object.

The arithmetic is in `managed_fields`; here are Kubernetes' rules about the entries:

* a client that sends none keeps those there are, one that sends ``[{}]`` clears them, and one that
  sends entries replaces them: so does kubectl, to turn what it applied itself into what it lets
  the server apply. Entries that cannot be read count as none, and those of a subresource as well;
* an object without entries gets none from an update. The first apply notes what was there before
  it as owned by ``before-first-apply``;
* what kubectl applied itself, and noted in an annotation, is no conflict when kubectl applies it
  with the server, and the annotation is kept up to date, so that one can go back;
* an entry keeps its time while it and the object stay as they are, so that applying the same again
  is no change.
"""

import contextlib
import copy
import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abserve.cluster.api.bodies import parse_json
from abserve.cluster.api.managed_fields import (
    Document,
    FieldConflictError,
    FieldSet,
    Manager,
    Owners,
    apply,
    compare,
    decode,
    encode,
    fields_of,
    update,
)
from abserve.cluster.api.status import ApiError

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_KUBECTL = "kubectl"
_BEFORE_FIRST_APPLY = "before-first-apply"
_TIME = "%Y-%m-%dT%H:%M:%SZ"

# What Kubernetes itself writes, or what names the object: nobody owns it.
_UNOWNED: FieldSet = frozenset(
    {
        ("apiVersion",),
        ("kind",),
        ("metadata",),
        *(
            ("metadata", name)
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        ),
    }
)


@dataclass(frozen=True, slots=True)
class _Managed:
    """The entries of one object: who owns what, and since when."""

    owners: Owners
    times: Mapping[Manager, str]


_NOBODY = _Managed({}, {})


def managed_update(
    live: Document | None, new: Document, manager: Manager, now: datetime.datetime
) -> Document:
    """Return `new` with the entries it gets when `manager` replaces `live` by it."""
    managed = _sent_or_live(live, new, manager)
    bare = _without_entries(new)
    if live is not None and not managed.owners:
        return bare
    before = _without_entries(live or {})
    owners = _owned(update(before, bare, managed.owners, manager))
    difference = compare(before, bare)
    took = (difference.added | difference.modified) - _UNOWNED
    times = {**managed.times, manager: _as_time(now)} if took else managed.times
    return _with_entries(bare, _Managed(owners, times))


def managed_apply(
    live: Document | None,
    configuration: Document,
    manager: Manager,
    now: datetime.datetime,
    *,
    force: bool,
) -> Document:
    """Return the object, with its entries, once `manager` has applied `configuration` to `live`.

    Raises
    ------
    ApiError
        409 if it would change what others own, and `force` does not take that from them.
    """
    before = _without_entries(live or {})
    managed = _entries_of(live) if live else _NOBODY
    if live is not None and not managed.owners:
        managed = _before_first_apply(before, manager, now)
    try:
        applied, owners = apply(before, configuration, managed.owners, manager, force=force)
    except FieldConflictError as error:
        conflicts = error.fields
        if manager.name == _KUBECTL:
            conflicts = _without_last_applied(conflicts, before)
        if conflicts:
            raise _conflict(conflicts) from error
        applied, owners = apply(before, configuration, managed.owners, manager, force=True)
    if manager.name == _KUBECTL:
        _sync_last_applied(applied, configuration)
    owners = _owned(owners)
    unchanged = applied == before and owners.get(manager) == managed.owners.get(manager)
    times = managed.times if unchanged else {**managed.times, manager: _as_time(now)}
    return _with_entries(applied, _Managed(owners, times))


# Entries.


def _sent_or_live(live: Document | None, new: Document, manager: Manager) -> _Managed:
    sent = new["metadata"].get("managedFields")
    if sent == [{}]:
        return _NOBODY
    if sent and not manager.subresource:
        with contextlib.suppress(ValueError, TypeError, KeyError):  # none that can be read
            return _decoded(sent)
    return _entries_of(live) if live else _NOBODY


def _entries_of(live: Document) -> _Managed:
    return _decoded(live["metadata"].get("managedFields") or [])


def _decoded(entries: list[dict[str, Any]]) -> _Managed:
    owners: dict[Manager, FieldSet] = {}
    times: dict[Manager, str] = {}
    for entry in entries:
        if entry["operation"] not in {"Apply", "Update"} or entry["fieldsType"] != "FieldsV1":
            raise ValueError("an entry's operation or fieldsType is not one that is known")
        texts = (entry["manager"], entry["apiVersion"], entry.get("subresource", ""))
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("an entry holds what is no text where text belongs")
        manager = Manager(entry["operation"], *texts)
        owners[manager] = owners.get(manager, frozenset()) | decode(entry["fieldsV1"])
        # A time that clients cannot read would keep them from reading the object.
        datetime.datetime.strptime(entry["time"], _TIME).replace(tzinfo=datetime.UTC)
        times[manager] = entry["time"]
    return _Managed(owners, times)


def _with_entries(document: Document, managed: _Managed) -> Document:
    # Sorted as Kubernetes sorts them.
    managers = sorted(
        managed.owners,
        key=lambda each: (
            each.operation,
            managed.times[each],
            each.name,
            each.api_version,
            each.subresource,
        ),
    )
    entries = [
        {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": managed.times[manager],
            "fieldsType": "FieldsV1",
            "fieldsV1": encode(managed.owners[manager]),
            **({"subresource": manager.subresource} if manager.subresource else {}),
        }
        for manager in managers
    ]
    if not entries:
        return document
    return {**document, "metadata": {**document["metadata"], "managedFields": entries}}


def _without_entries(document: Document) -> Document:
    metadata = document.get("metadata", {})
    if "managedFields" not in metadata:
        return document
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return {**document, "metadata": kept}


def _owned(owners: Owners) -> Owners:
    left = {manager: fields - _UNOWNED for manager, fields in owners.items()}
    return {manager: fields for manager, fields in left.items() if fields}


def _before_first_apply(live: Document, applier: Manager, now: datetime.datetime) -> _Managed:
    manager = Manager("Update", _BEFORE_FIRST_APPLY, applier.api_version)
    return _Managed(_owned(update({}, live, {}, manager)), {manager: _as_time(now)})


def _as_time(now: datetime.datetime) -> str:
    return now.strftime(_TIME)


# What kubectl applied itself.


def _without_last_applied(conflicts: Owners, live: Document) -> Owners:
    """Leave out the fields that kubectl applied itself, and that still are as it applied them."""
    try:
        applied = parse_json(live["metadata"]["annotations"][LAST_APPLIED]).value
        if applied["apiVersion"] != live["apiVersion"]:
            return conflicts
    except (KeyError, TypeError, ApiError):  # no such annotation, or none that kubectl wrote
        return conflicts
    difference = compare(applied, live)
    own = fields_of(applied) - difference.added - difference.modified - difference.removed
    left = {manager: fields - own for manager, fields in conflicts.items()}
    return {manager: fields for manager, fields in left.items() if fields}


def _sync_last_applied(applied: Document, configuration: Document) -> None:
    annotations = applied["metadata"].get("annotations") or {}
    if LAST_APPLIED not in annotations:
        return
    noted = copy.deepcopy(configuration)
    noted["metadata"].get("annotations", {}).pop(LAST_APPLIED, None)
    text = json.dumps(noted, separators=(",", ":"), sort_keys=True) + "\n"
    applied["metadata"] = {
        **applied["metadata"],
        "annotations": {**annotations, LAST_APPLIED: text},
    }


# Conflicts.


def _conflict(conflicts: Owners) -> ApiError:
    """Return the refusal, in the words that kubectl reads."""
    listed = [
        (manager, "".join(f".{name}" for name in path))
        for manager in sorted(conflicts, key=str)
        for path in sorted(conflicts[manager])
    ]
    if len(listed) == 1:
        [(manager, path)] = listed
        message = f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    else:
        lines: list[str] = []
        for manager in sorted(conflicts, key=str):
            lines.append(f"conflicts with {manager}:")
            lines.extend(f"- {path}" for other, path in listed if other == manager)
        message = f"Apply failed with {len(listed)} conflicts: " + "\n".join(lines)
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, path in listed
    ]
    return ApiError(409, message, details={"causes": causes})
