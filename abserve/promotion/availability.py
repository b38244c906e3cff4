"""Whether the cluster serves a SeldonDeployment as it was last changed, by its status."""

from collections.abc import Mapping
from typing import Any

from abserve.errors import KubernetesError


def generation_of(document: Mapping[str, Any]) -> int:
    return int(document["metadata"].get("generation", 0))


def is_available(document: Mapping[str, Any], generation: int) -> bool:
    """Tell whether the cluster serves the object as of `generation`.

    An operator that reports no observed generation is taken at its word once it says Available.
    """
    return _says("Available", document, generation)


def has_failed(document: Mapping[str, Any], generation: int) -> bool:
    return _says("Failed", document, generation)


def serves(document: Mapping[str, Any], generation: int) -> bool:
    """Tell whether the cluster serves the object as of `generation`, or does not yet.

    Raises
    ------
    KubernetesError
        If it has failed to.
    """
    if has_failed(document, generation):
        raise KubernetesError(
            f"SeldonDeployment {document['metadata']['name']!r} failed: "
            f"{document['status'].get('description') or 'the operator does not say why'}"
        )
    return is_available(document, generation)


def progress(document: Mapping[str, Any]) -> str:
    """Return how far the cluster is with a SeldonDeployment, in its own words."""
    status = document.get("status") or {}
    told = [status.get("state") or "Creating", status.get("description") or ""]
    return f"{document['metadata']['name']}: {', '.join(filter(None, told))}"


def not_available(document: Mapping[str, Any], timeout_seconds: float) -> str:
    """Return what is to be said of an object that was not available in time."""
    name = document["metadata"]["name"]
    state = (document.get("status") or {}).get("state") or "unknown"
    found = "not Available as changed" if state == "Available" else f"{state}, not Available"
    return (
        f"SeldonDeployment {name!r} is {found}, after {timeout_seconds:g} s; "
        f"see 'kubectl describe sdep {name}'"
    )


def _says(state: str, document: Mapping[str, Any], generation: int) -> bool:
    status = document.get("status") or {}
    observed = status.get("observedGeneration", generation)
    return status.get("state") == state and int(observed) >= generation
