"""What of an object a path shows and changes: all but the status, the status, or its scale.

A write to one part never changes another: whoever sets the weights cannot forge a status, and who
scales cannot set weights.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from abserve.cluster.api.kinds import SCALE as SCALE_KIND
from abserve.cluster.api.kinds import SELDON_DEPLOYMENT, Kind
from abserve.cluster.api.status import ApiError, invalid
from abserve.cluster.api.store import Document
from abserve.seldon.reading import fault_of, shown
from abserve.seldon.status_fields import SeldonDeploymentStatus

_STATUS_MODELS: Mapping[Kind, type[BaseModel]] = {SELDON_DEPLOYMENT: SeldonDeploymentStatus}

_SCALE_VERSION = f"{SCALE_KIND['group']}/{SCALE_KIND['version']}"
_SCALE_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_MOST_REPLICAS = 2**31 - 1


class Part:
    """All of an object but its status; base of the parts that have a path of their own."""

    subresource = ""
    has_table = True

    def shown(self, document: Document) -> Document:
        """Return what a client sees of a stored object."""
        return document

    def patched_from(self, document: Document) -> Document:
        """Return what a patch begins with."""
        return self.shown(document)

    def stated(self, kind: Kind, sent: Document) -> Document:
        """Return what a client states of the object by what it sends, and nothing else.

        Raises
        ------
        ApiError
            400 or 422 if what was sent cannot be that part.
        """
        if "status" not in kind.subresources:
            return sent
        return {key: value for key, value in sent.items() if key != "status"}

    def changed(self, kind: Kind, live: Document, stated: Document) -> Document:
        """Return the object with this part of it as stated."""
        if "status" in kind.subresources and "status" in live:
            return {**stated, "status": live["status"]}
        return stated


class _Status(Part):
    subresource = "status"

    def stated(self, kind: Kind, sent: Document) -> Document:
        identity = _identity(sent)
        if sent.get("status") is None:
            return {"metadata": identity}
        _check_status(kind, identity.get("name", ""), sent["status"])
        return {"metadata": identity, "status": sent["status"]}

    def changed(self, kind: Kind, live: Document, stated: Document) -> Document:
        kept = {key: value for key, value in live.items() if key != "status"}
        return {**kept, **stated, "metadata": {**live["metadata"], **stated["metadata"]}}


class _Scale(Part):
    """A SeldonDeployment as a number of replicas, which is what ``kubectl scale`` knows of it."""

    subresource = "scale"
    has_table = False

    def shown(self, document: Document) -> Document:
        if document["spec"].get("replicas") is None:
            name = document["metadata"]["name"]
            raise ApiError(
                404,
                f"{SELDON_DEPLOYMENT.name} {name!r} has no spec.replicas, and so no scale to be "
                f"read; 'kubectl scale sdep {name} --replicas=1' gives it one",
                details={"name": name, "group": SELDON_DEPLOYMENT.group, "kind": "scale"},
            )
        return self.patched_from(document)

    def patched_from(self, document: Document) -> Document:
        metadata, replicas = document["metadata"], document["spec"].get("replicas")
        return {
            "kind": SCALE_KIND["kind"],
            "apiVersion": _SCALE_VERSION,
            "metadata": {field: metadata[field] for field in _SCALE_METADATA},
            "spec": {} if replicas is None else {"replicas": replicas},
            "status": {"replicas": (document.get("status") or {}).get("replicas", 0)},
        }

    def stated(self, kind: Kind, sent: Document) -> Document:
        for field, expected in (("kind", SCALE_KIND["kind"]), ("apiVersion", _SCALE_VERSION)):
            if sent.get(field, expected) != expected:
                raise ApiError(400, f"{field} is {sent[field]!r}; this path takes {expected!r}")
        identity, spec = _identity(sent), sent.get("spec")
        replicas = spec.get("replicas") if isinstance(spec, dict) else None
        _check_replicas(identity.get("name", ""), replicas)
        return {"metadata": identity, "spec": {"replicas": replicas}}

    def changed(self, kind: Kind, live: Document, stated: Document) -> Document:
        return {
            **live,
            "metadata": {**live["metadata"], **stated["metadata"]},
            "spec": {**live["spec"], **stated["spec"]},
        }


WHOLE = Part()
STATUS = _Status()
SCALE = _Scale()


def _identity(sent: Document) -> dict[str, Any]:
    """Return what tells which object a client means, and in which version."""
    metadata = sent.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise ApiError(400, f"metadata is a {type(metadata).__name__}, expected an object")
    return {
        field: metadata[field]
        for field in ("name", "namespace", "uid", "resourceVersion")
        if metadata.get(field)
    }


def _check_status(kind: Kind, name: str, status: Any) -> None:
    model = _STATUS_MODELS[kind]
    try:
        model.model_validate(status)
    except ValidationError as error:
        faults = [fault_of(each, model) for each in error.errors(include_url=False)]
        causes = [
            {"reason": each.kind, "field": f"status.{each.field}", "message": each.message}
            for each in faults
        ]
        raise invalid(kind.name, kind.group, name, causes) from error


def _check_replicas(name: str, found: Any) -> None:
    if isinstance(found, bool) or not isinstance(found, int):
        message = f"found {shown(found)}, expected a whole number"
    elif not 0 <= found <= _MOST_REPLICAS:
        message = f"Invalid value: {found}: must be greater than or equal to 0"
    else:
        return
    cause = {"reason": "FieldValueInvalid", "field": "spec.replicas", "message": message}
    raise invalid(SCALE_KIND["kind"], SCALE_KIND["group"], name, [cause])
