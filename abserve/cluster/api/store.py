"""Objects by kind, namespace and name, with a version for each change and a stream of changes.

The rules are those of Kubernetes: `resourceVersion` counts all changes, `generation` counts the
changes of `spec`, an update that names an old version is a conflict, and whoever watches from a
version on sees every later change in order. Everything runs on one event loop, so no change can
come between the lines of a method. A change is on disk before anybody is told of it, and one that
there is no room for is none; only what shows what runs changes all the same.
"""

import asyncio
import contextlib
import copy
import datetime
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from abserve.cluster.api.kinds import Kind
from abserve.cluster.api.status import ApiError, conflict, not_found
from abserve.cluster.state import State
from abserve.errors import ClusterError

Document = dict[str, Any]
Change = Literal["ADDED", "MODIFIED", "DELETED"]

# A client that lags further behind than this lists again, as it would on Kubernetes.
_REMEMBERED_CHANGES = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one object; `document` is how it was after (or, when deleted, before) it."""

    version: int
    change: Change
    kind: Kind
    document: Document


class Store:
    """The objects of one cluster.

    Parameters
    ----------
    now : callable
        Returns the time of a change, in UTC.
    state : State, optional
        Keeps them, and has those of an earlier cluster; by default nothing outlives the store.
    """

    def __init__(self, now: Callable[[], datetime.datetime], state: State | None = None) -> None:
        self._now = now
        self._state = state or State()
        self._objects: dict[tuple[str, str, str], Document] = dict(self._state.objects())
        self._version = self._state.version
        # Nobody can be told of the changes up to here.
        self._first_version = self._version
        self._changes: deque[Event] = deque(maxlen=_REMEMBERED_CHANGES)
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def version(self) -> int:
        """The number of the newest change."""
        return self._version

    def get(self, kind: Kind, namespace: str, name: str) -> Document:
        """Return a copy of an object.

        Raises
        ------
        ApiError
            404 if there is none of that name.
        """
        try:
            return copy.deepcopy(self._objects[_key(kind, namespace, name)])
        except KeyError:
            raise not_found(kind.plural, kind.group, name) from None

    def find(self, kind: Kind, namespace: str, name: str) -> Document | None:
        found = self._objects.get(_key(kind, namespace, name))
        return copy.deepcopy(found) if found is not None else None

    def list(self, kind: Kind, namespace: str | None = None) -> list[Document]:
        """Return copies of all objects of a kind, of one namespace or of all, by name."""
        found = [
            document
            for (plural, space, _), document in self._objects.items()
            if plural == kind.plural and namespace in {None, space}
        ]
        found.sort(key=_identity)
        return copy.deepcopy(found)

    def create(self, kind: Kind, document: Document, *, dry_run: bool = False) -> Document:
        """Store a new object and return it as stored.

        Raises
        ------
        ApiError
            409 if one of that name exists.
        """
        key = _key(kind, *_identity(document))
        if key in self._objects:
            raise ApiError(
                409,
                f'{kind.plural} "{key[2]}" already exists',
                reason="AlreadyExists",
                details={"name": key[2], "group": kind.group, "kind": kind.plural},
            )
        stored = copy.deepcopy(document)
        metadata = stored["metadata"]
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        if "spec" in stored:
            metadata["generation"] = 1
        return self._keep("ADDED", kind, key, stored, dry_run=dry_run)

    def update(self, kind: Kind, document: Document, *, dry_run: bool = False) -> Document:
        """Replace an object and return it as stored; nothing happens if nothing is different.

        Raises
        ------
        ApiError
            404 if there is none; 409 if `document` names a version that is not the newest.
        """
        key = _key(kind, *_identity(document))
        current = self._objects.get(key)
        if current is None:
            raise not_found(kind.plural, kind.group, key[2])
        stored = copy.deepcopy(document)
        seen = stored["metadata"].get("resourceVersion")
        if seen and seen != current["metadata"]["resourceVersion"]:
            raise conflict(
                kind.plural,
                kind.group,
                key[2],
                "the object has been modified; please apply your changes to the latest version "
                "and try again",
            )
        for field in ("uid", "creationTimestamp", "generation", "resourceVersion"):
            if field in current["metadata"]:
                stored["metadata"][field] = current["metadata"][field]
        if stored == current:
            return copy.deepcopy(current)
        if stored.get("spec") != current.get("spec"):
            stored["metadata"]["generation"] = current["metadata"].get("generation", 0) + 1
        return self._keep("MODIFIED", kind, key, stored, dry_run=dry_run)

    def delete(self, kind: Kind, namespace: str, name: str, *, dry_run: bool = False) -> Document:
        """Remove an object and return how it last was.

        Raises
        ------
        ApiError
            404 if there is none of that name.
        """
        document = self.get(kind, namespace, name)
        if not dry_run:
            key = _key(kind, namespace, name)
            self._keep_on_disk(kind, key, None)
            del self._objects[key]
            self._version += 1
            document["metadata"]["resourceVersion"] = str(self._version)
            self._announce(Event(self._version, "DELETED", kind, document))
        return document

    async def watch(self, kind: Kind, namespace: str | None, since: int) -> AsyncIterator[Event]:
        """Yield every change after version `since`, as it happens, for ever.

        Raises
        ------
        ApiError
            410 if the changes after `since` are no longer remembered, or stop being so because
            whoever watches is too slow.
        """
        while True:
            oldest = self._changes[0].version - 1 if self._changes else self._first_version
            if since < oldest:
                raise ApiError(
                    410, f"version {since} is too old; list again, then watch from there"
                )
            pending = [event for event in self._changes if event.version > since]
            for event in pending:
                since = event.version
                if event.kind is kind and namespace in {None, _identity(event.document)[0]}:
                    yield event
            async with self._changed:
                while self._version <= since:
                    await self._changed.wait()

    def _keep(
        self,
        change: Change,
        kind: Kind,
        key: tuple[str, str, str],
        stored: Document,
        *,
        dry_run: bool,
    ) -> Document:
        if not dry_run:
            stored["metadata"]["resourceVersion"] = str(self._version + 1)
            self._keep_on_disk(kind, key, stored)
            self._version += 1
            self._objects[key] = stored
            self._announce(Event(self._version, change, kind, copy.deepcopy(stored)))
        return copy.deepcopy(stored)

    def _keep_on_disk(self, kind: Kind, key: tuple[str, str, str], stored: Document | None) -> None:
        if not kind.derived:
            self._state.keep(key, stored, self._version + 1)
            return
        # Of what is made anew at each start only the number of the change is kept.
        with contextlib.suppress(ClusterError):
            self._state.keep(key, None, self._version + 1)

    def _announce(self, event: Event) -> None:
        self._changes.append(event)
        task = asyncio.get_running_loop().create_task(self._wake())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _key(kind: Kind, namespace: str, name: str) -> tuple[str, str, str]:
    return (kind.plural, namespace if kind.namespaced else "", name)


def _identity(document: Document) -> tuple[str, str]:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
