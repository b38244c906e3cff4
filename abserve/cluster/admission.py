"""What may be stored: Seldon's rules and ours, answered as Kubernetes answers."""

from collections.abc import Sequence

from abserve.cluster.api.kinds import NAMESPACE, SECRET, SELDON_DEPLOYMENT, Kind
from abserve.cluster.api.schemas import faults
from abserve.cluster.api.status import ApiError, invalid
from abserve.cluster.api.store import Document
from abserve.cluster.secrets import normalised
from abserve.seldon import Fault, InvalidManifestError, SeldonDeployment, admit, supported


def admission(kind: Kind, document: Document) -> tuple[Document, Sequence[str]]:
    """Return the document to store, and warnings for whoever sent it.

    Raises
    ------
    ApiError
        If the document must not be stored; it names every fault with its field.
    """
    if kind is SELDON_DEPLOYMENT:
        return _seldon_deployment(document)
    if kind is SECRET:
        # First, because other refusals repeat the values that they refuse.
        document = normalised(document)
    if found := faults(kind, document):
        raise _refusal(kind, document, found)
    if kind is NAMESPACE:
        return {**document, "status": {"phase": "Active"}}, ()
    return document, ()


def _seldon_deployment(document: Document) -> tuple[Document, Sequence[str]]:
    try:
        deployment = SeldonDeployment.parse(document)
        admit(deployment)
        return document, supported(deployment)
    except InvalidManifestError as error:
        raise _refusal(SELDON_DEPLOYMENT, document, error.faults) from error


def _refusal(kind: Kind, document: Document, found: Sequence[Fault]) -> ApiError:
    causes = [
        {"reason": fault.kind, "field": fault.field, "message": fault.message} for fault in found
    ]
    return invalid(kind.name, kind.group, document["metadata"]["name"], causes)
