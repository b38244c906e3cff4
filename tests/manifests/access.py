"""What the overlays of access render."""

from typing import Any

from tests.manifests.rendering import MANIFESTS, rendered

ENVIRONMENTS = ["staging", "production"]

Documents = dict[tuple[str, str, str], dict[str, Any]]


def documents(environment: str) -> Documents:
    """Return what an overlay renders, by kind, namespace and name."""
    found = rendered(MANIFESTS / f"overlays/{environment}/access")
    by_name = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in found
    }
    assert len(by_name) == len(found)
    return by_name


def of_kind(access: Documents, kind: str) -> dict[str, dict[str, Any]]:
    return {name: each for (found, _, name), each in access.items() if found == kind}
