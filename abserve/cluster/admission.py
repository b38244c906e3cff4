"""What may be stored: Seldon's rules and ours, answered as Kubernetes answers."""

from collections.abc import Sequence

from abserve.cluster.api.kinds import CONFIG_MAP, NAMESPACE, SECRET, SELDON_DEPLOYMENT, Kind
from abserve.cluster.api.status import ApiError, invalid
from abserve.cluster.api.store import Document
from abserve.cluster.secrets import normalised
from abserve.seldon import InvalidManifestError, SeldonDeployment, admit, supported


def admission(kind: Kind, document: Document) -> tuple[Document, Sequence[str]]:
    """Return the document to store, and warnings for whoever sent it.

    Raises
    ------
    ApiError
        If the document must not be stored; it names every fault with its field.
    """
    if kind is SECRET:
        return normalised(document), ()
    if kind is NAMESPACE:
        return {**document, "status": {"phase": "Active"}}, ()
    if kind is CONFIG_MAP:
        _check_config_map(document)
    if kind is not SELDON_DEPLOYMENT:
        return document, ()
    try:
        deployment = SeldonDeployment.parse(document)
        admit(deployment)
        return document, supported(deployment)
    except InvalidManifestError as error:
        causes = [
            {"reason": fault.kind, "field": fault.field, "message": fault.message}
            for fault in error.faults
        ]
        raise invalid(kind.name, kind.group, document["metadata"]["name"], causes) from error


def _check_config_map(document: Document) -> None:
    data = document.get("data") or {}
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise ApiError(422, "data of the ConfigMap must map strings to strings; quote its values")
