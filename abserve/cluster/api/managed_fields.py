"""Who owns which field: the arithmetic behind server-side apply.

::

    applied before {a, b}     applied now {a, c}     everybody else {c}
            │                        │                      │
            │   b: not sent again,   │  a: still owned      │  c: a conflict if the value is
            └── nobody else's: gone  │                      │     another one, unless forced
                                     └── becomes what the applier owns

A field is named by its path from the root of the object. Maps are granular, every key a field of
its own; lists are atomic, as they are in a custom resource whose schema names no keys for them.
The rules are those of Kubernetes' structured-merge-diff, for one version of each kind.

Nothing here knows of requests, clocks or kinds: values in, values out.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Path = tuple[str, ...]
FieldSet = frozenset[Path]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Manager:
    """Whoever writes fields: what tells one entry of `metadata.managedFields` from another."""

    operation: Literal["Apply", "Update"]
    name: str
    api_version: str
    subresource: str = ""

    def __str__(self) -> str:
        """Return the manager as Kubernetes names it in a conflict."""
        quoted = json.dumps(self.name, ensure_ascii=False)
        if self.subresource:
            quoted += f' with subresource "{self.subresource}"'
        return quoted if self.operation == "Apply" else f"{quoted} using {self.api_version}"


Owners = Mapping[Manager, FieldSet]
"""What each manager owns; nobody is listed with nothing."""


class FieldConflictError(Exception):
    """An apply would change fields that others own; `fields` says whose."""

    def __init__(self, fields: Owners) -> None:
        super().__init__(f"{sum(map(len, fields.values()))} fields are owned by others")
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Comparison:
    """The fields in which two objects differ, parents of what came or went included."""

    added: FieldSet
    removed: FieldSet
    modified: FieldSet


def compare(old: Any, new: Any) -> Comparison:
    added: set[Path] = set()
    removed: set[Path] = set()
    modified: set[Path] = set()

    def visit(path: Path, old: Any, new: Any) -> None:
        if isinstance(old, dict) and isinstance(new, dict):
            for key in old.keys() | new.keys():
                below = (*path, key)
                if key not in old:
                    added.update(_nodes(new[key], below))
                elif key not in new:
                    removed.update(_nodes(old[key], below))
                else:
                    visit(below, old[key], new[key])
        elif old != new:
            modified.add(path)
            # Where a map gives way to a value, or a value to a map.
            removed.update(set(_nodes(old, path)) - {path})
            added.update(set(_nodes(new, path)) - {path})

    visit((), old, new)
    return Comparison(frozenset(added), frozenset(removed), frozenset(modified))


def fields_of(value: Any) -> FieldSet:
    """Return the fields that an applied object states: all that have no fields below them."""
    nodes = set(_nodes(value, ()))
    return frozenset(nodes - {path[:-1] for path in nodes} - {()})


def update(live: Document, new: Document, owners: Owners, manager: Manager) -> Owners:
    """Return who owns what after `manager` replaced `live` by `new`.

    Whoever changes a field owns it, and alone; a field that is gone has no owner.
    """
    difference = compare(live, new)
    changed = difference.added | difference.modified
    left = {other: fields - changed - difference.removed for other, fields in owners.items()}
    left[manager] = left.get(manager, frozenset()) | changed
    return _without_empty(left)


def apply(
    live: Document,
    configuration: Document,
    owners: Owners,
    manager: Manager,
    *,
    force: bool,
) -> tuple[Document, Owners]:
    """Return the object with `configuration` applied by `manager`, and who owns what then.

    The manager owns what it states, together with others who own it already. What it stated the
    last time, no longer states, and nobody else owns is removed.

    Raises
    ------
    FieldConflictError
        If it would change a field that somebody else owns, unless `force` takes it from them.
    """
    before = owners.get(manager, frozenset())
    claimed = {**owners, manager: fields_of(configuration)}
    owned = _with_parents(frozenset().union(*claimed.values()))
    merged = merge(live, configuration)
    applied = _without(merged, _with_parents(before) - owned)
    difference = compare(live, applied)
    # What others own is removed only where a value would take the place of a map of theirs.
    changed = difference.added | difference.modified | difference.removed
    conflicts = {
        other: fields & changed
        for other, fields in claimed.items()
        if other != manager and fields & changed
    }
    if conflicts and not force:
        raise FieldConflictError(conflicts)
    left = {
        other: fields if other == manager else fields - changed for other, fields in claimed.items()
    }
    return applied, _without_empty(left)


def merge(live: Any, configuration: Any) -> Any:
    """Return `live` with what `configuration` states; a null or an empty map empties no map."""
    if isinstance(live, dict) and live and (isinstance(configuration, dict | None)):
        merged = dict(live)
        for key, value in (configuration or {}).items():
            merged[key] = merge(live.get(key), value)
        return merged
    return copy.deepcopy(configuration)


def encode(fields: FieldSet) -> Document:
    """Return a set of fields in the form of `fieldsV1`: ``{"f:spec": {"f:replicas": {}}}``."""
    root: Document = {}
    for path in sorted(fields):
        below = root
        for name in path:
            below = below.setdefault(f"f:{name}", {})
    # A field with others below it is owned itself only where a dot says so.
    for path in fields:
        below = root
        for name in path:
            below = below[f"f:{name}"]
        if below:
            below["."] = {}
    return root


def decode(fields: Any) -> FieldSet:
    """Return the set that `encode` wrote.

    Raises
    ------
    ValueError, TypeError
        If it is none, or names entries of lists: lists are atomic here.
    """
    found: set[Path] = set()

    def visit(below: Any, path: Path) -> None:
        if not isinstance(below, dict):
            raise TypeError(f"fieldsV1 holds a {type(below).__name__}, expected an object")
        if path and (not below or "." in below):
            found.add(path)
        for key, value in below.items():
            if key.startswith("f:"):
                visit(value, (*path, key.removeprefix("f:")))
            elif key != ".":
                raise ValueError(f"fieldsV1 holds {key!r}, expected names that begin with 'f:'")

    visit(fields, ())
    return frozenset(found)


def _nodes(value: Any, path: Path) -> Iterator[Path]:
    """Yield the path of a value and those of all below it; a list has none below it."""
    yield path
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _nodes(below, (*path, key))


def _with_parents(fields: FieldSet) -> FieldSet:
    return frozenset(path[:n] for path in fields for n in range(1, len(path) + 1))


def _without(document: Document, fields: FieldSet, path: Path = ()) -> Document:
    return {
        key: _without(value, fields, (*path, key)) if isinstance(value, dict) else value
        for key, value in document.items()
        if (*path, key) not in fields
    }


def _without_empty(owners: Owners) -> Owners:
    return {manager: fields for manager, fields in owners.items() if fields}
