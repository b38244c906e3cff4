"""Create, replace, patch, apply and delete: every change that a client makes.

::

    body ──> what the client states ──> the object as it would be ──> admitted ──> stored
             of the part it names       the rest of it untouched

Between the last read of an object and its being stored nothing else can happen: everything after
the body has arrived runs without a pause on one event loop.
"""

import datetime
import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from abserve.cluster.api.bodies import (
    LARGEST_BODY_BYTES,
    Body,
    content_type,
    parse,
    parse_yaml,
    read_body,
)
from abserve.cluster.api.field_managers import managed_apply, managed_update
from abserve.cluster.api.field_validation import validate_fields
from abserve.cluster.api.kinds import NAMESPACE, OWN_NAMESPACES, SELDON_GROUP, Kind
from abserve.cluster.api.managed_fields import Manager
from abserve.cluster.api.options import DeleteOptions, WriteOptions
from abserve.cluster.api.parts import SCALE, STATUS, WHOLE, Part
from abserve.cluster.api.patches import APPLY, apply_patch
from abserve.cluster.api.reading import list_of, namespace_of, selected
from abserve.cluster.api.requests import check_document
from abserve.cluster.api.status import ApiError, conflict, deleted, invalid, not_found
from abserve.cluster.api.store import Document, Store

Admit = Callable[[Kind, Document], tuple[Document, Sequence[str]]]

# An object may grow by what Kubernetes notes in it, and by patches, but not without end.
_LARGEST_OBJECT_BYTES = 2 * LARGEST_BODY_BYTES

# Clients refuse to read headers of any length.
_LONGEST_WARNING = 1000

# Letters that spell no words, as Kubernetes appends them to `generateName`.
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_LONGEST_GENERATED = 63


class Writer:
    """Answers requests that change objects.

    Parameters
    ----------
    store : Store
        The objects.
    admit : callable
        Called with kind and document before anything is stored; returns the document to store
        and warnings, raises ApiError to refuse.
    now : callable
        The time, in UTC.
    """

    def __init__(self, store: Store, admit: Admit, now: Callable[[], datetime.datetime]) -> None:
        self._store = store
        self._admit = admit
        self._now = now

    async def create(self, kind: Kind, request: Request) -> Response:
        options = WriteOptions.of(request)
        body = parse(content_type(request), await read_body(request))
        namespace = namespace_of(request)
        stated, warnings = self._stated(kind, WHOLE, body, options)
        if _metadata(stated).get("resourceVersion"):
            raise ApiError(400, "resourceVersion should not be set on objects to be created")
        named = self._named(kind, namespace, stated)
        document = check_document(kind, named, namespace, None)
        manager = options.manager_of(kind, "Update")
        return self._write(kind, WHOLE, None, document, options, warnings, manager)

    async def replace(self, kind: Kind, part: Part, request: Request) -> Response:
        options = WriteOptions.of(request)
        body = parse(content_type(request), await read_body(request))
        live = self._store.get(kind, namespace_of(request), request.path_params["name"])
        # Kubernetes lets nobody replace a custom resource unseen; its own kinds it does.
        unseen = not _metadata(body.document).get("resourceVersion")
        if unseen and kind.group == SELDON_GROUP and part is not SCALE:
            cause = {
                "reason": "FieldValueInvalid",
                "field": "metadata.resourceVersion",
                "message": "Invalid value: 0: must be specified for an update",
            }
            raise invalid(kind.name, kind.group, live["metadata"]["name"], [cause])
        return self._update(kind, part, live, body, options)

    async def patch(self, kind: Kind, part: Part, request: Request) -> Response:
        media_type = content_type(request)
        options = WriteOptions.of(request, apply=media_type == APPLY)
        body = await read_body(request)
        if media_type == APPLY:
            return self._apply(kind, part, request, parse_yaml(body), options)
        live = self._store.get(kind, namespace_of(request), request.path_params["name"])
        patched = apply_patch(kind, part.patched_from(live), media_type, body)
        return self._update(kind, part, live, patched, options)

    async def delete(self, kind: Kind, request: Request) -> Response:
        options = await _delete_options(request)
        namespace, name = namespace_of(request), request.path_params["name"]
        if kind is NAMESPACE and name in OWN_NAMESPACES:
            raise ApiError(403, f"namespace {name!r} belongs to the cluster and stays")
        gone = self._delete(kind, self._store.get(kind, namespace, name), options)
        return JSONResponse(deleted(kind.plural, kind.group, name, gone["metadata"]["uid"]))

    async def delete_all(self, kind: Kind, request: Request) -> Response:
        """Delete what a list of the same request would show."""
        options = await _delete_options(request)
        found = selected(self._store, kind, request)
        gone = [self._delete(kind, document, options) for document in found]
        return JSONResponse(list_of(kind, gone, self._store.version))

    def _update(
        self, kind: Kind, part: Part, live: Document, body: Body, options: WriteOptions
    ) -> Response:
        namespace, name = live["metadata"].get("namespace", ""), live["metadata"]["name"]
        stated, warnings = self._stated(kind, part, body, options)
        document = check_document(kind, part.changed(kind, live, stated), namespace, name)
        manager = options.manager_of(kind, "Update", part.subresource)
        return self._write(kind, part, live, document, options, warnings, manager)

    def _apply(
        self, kind: Kind, part: Part, request: Request, body: Body, options: WriteOptions
    ) -> Response:
        namespace, name = namespace_of(request), request.path_params["name"]
        live = self._store.find(kind, namespace, name)
        if live is None and part is not WHOLE:
            raise not_found(kind.plural, kind.group, name)
        if _metadata(body.document).get("managedFields"):
            raise ApiError(400, "metadata.managedFields must be nil")
        stated, warnings = self._stated(kind, part, body, options)
        configuration = check_document(kind, stated, namespace, name)
        for field in ("uid", "resourceVersion"):
            if live is None and field in configuration["metadata"]:
                raise conflict(
                    kind.plural,
                    kind.group,
                    name,
                    f"{field} mismatch: the provided object specified {field} "
                    f"{configuration['metadata'][field]}, and no existing object was found",
                )
        manager = options.manager_of(kind, "Apply", part.subresource)
        document = managed_apply(live, configuration, manager, self._now(), force=options.force)
        return self._write(kind, part, live, document, options, warnings)

    def _stated(
        self, kind: Kind, part: Part, body: Body, options: WriteOptions
    ) -> tuple[Document, Sequence[str]]:
        """Return what a body states of a part of an object, and what is to be said of that."""
        stated = part.stated(kind, body.document)
        if part is not WHOLE:
            return stated, ()
        return validate_fields(kind, stated, body.repeated, options.validation)

    def _write(
        self,
        kind: Kind,
        part: Part,
        live: Document | None,
        document: Document,
        options: WriteOptions,
        warnings: Sequence[str],
        manager: Manager | None = None,
    ) -> Response:
        """Admit and store an object; `manager` is who changed it, unless it was applied."""
        if live is not None:
            _check_uid(kind, live, document["metadata"].get("uid"))
        elif kind.namespaced:
            self._store.get(NAMESPACE, "", document["metadata"]["namespace"])
        if part is not STATUS:
            document, told = self._admit(kind, document)
            warnings = (*warnings, *told)
        if manager is not None:
            document = managed_update(live, document, manager, self._now())
        _check_size(document)
        write = self._store.create if live is None else self._store.update
        stored = write(kind, document, dry_run=options.dry_run)
        response = JSONResponse(part.shown(stored), 201 if live is None else 200)
        for warning in warnings:
            response.headers.append("warning", f'299 - "{_quotable(warning)}"')
        return response

    def _named(self, kind: Kind, namespace: str, document: Document) -> Document:
        """Return the document with a name that is still free, if it leaves that to the server."""
        metadata = _metadata(document)
        prefix = metadata.get("generateName")
        if metadata.get("name") or not isinstance(prefix, str) or not prefix:
            return document
        while True:
            suffix = "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(_SUFFIX_LENGTH))
            name = prefix[: _LONGEST_GENERATED - _SUFFIX_LENGTH] + suffix
            if self._store.find(kind, namespace, name) is None:
                return {**document, "metadata": {**metadata, "name": name}}

    def _delete(self, kind: Kind, document: Document, options: DeleteOptions) -> Document:
        options.check(kind, document)
        metadata = document["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        return self._store.delete(kind, namespace, name, dry_run=options.dry_run)


async def _delete_options(request: Request) -> DeleteOptions:
    body = await read_body(request)
    sent = parse(content_type(request), body).document if body else {}
    return DeleteOptions.of(request, sent)


def _metadata(document: Document) -> dict[str, Any]:
    """Return the metadata; `check_document` refuses what is none."""
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _check_uid(kind: Kind, live: Document, uid: Any) -> None:
    metadata = live["metadata"]
    if uid is not None and uid != metadata["uid"]:
        raise conflict(
            kind.plural,
            kind.group,
            metadata["name"],
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
            f"{metadata['uid']}",
        )


def _check_size(document: Document) -> None:
    size = len(json.dumps(document))
    if size > _LARGEST_OBJECT_BYTES:
        raise ApiError(
            413, f"the object would be {size} bytes large; at most {_LARGEST_OBJECT_BYTES} are kept"
        )


def _quotable(warning: str) -> str:
    # It repeats names from the document, which may hold what a header must not.
    text = "".join(
        letter if letter.isascii() and letter.isprintable() else f"\\u{ord(letter):04x}"
        for letter in warning[:_LONGEST_WARNING]
    )
    return text.replace("\\", "\\\\").replace('"', '\\"')
