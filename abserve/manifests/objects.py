"""What every object needs, whatever its kind: a kind, a name that is one, and no secret in git."""

import re
from collections.abc import Iterator
from typing import Any

from abserve.manifests.documents import Document, dig, group_of, kind_of, mapping

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)
# Whose names become host names or labels.
_NAMED_BY_LABEL = ("Namespace", "Service", "SeldonDeployment", "Certificate")
# RBAC's names stand in paths only.
_ANY_NAME = "rbac.authorization.k8s.io"


def object_faults(document: Any) -> Iterator[str]:
    """Yield what keeps a document from being an object of Kubernetes."""
    if not isinstance(document, dict):
        yield f"found {type(document).__name__}, expected an object with apiVersion and kind"
        return
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str):
            yield f"{field}: found {document.get(field)!r}, expected a string; add it"
    name = dig(document, "metadata", "name")
    if name is None and dig(document, "metadata", "generateName"):
        return
    if not isinstance(name, str):
        yield f"metadata.name: found {name!r}, expected a name; add it"
    elif group_of(document) != _ANY_NAME and "${" not in name:  # which Flux fills in
        label = kind_of(document) in _NAMED_BY_LABEL
        if not (_LABEL if label else _SUBDOMAIN).fullmatch(name):
            expected = "at most 63 of" if label else "'.',"
            yield (
                f"metadata.name: found {name!r}, expected {expected} lower-case letters, digits "
                "and '-', beginning and ending with a letter or digit; rename it"
            )


def secret_faults(document: Document, environment: str | None) -> Iterator[str]:
    """Yield why a Secret must not be rendered from files that everybody can read."""
    if kind_of(document) != "Secret" or environment == "local" or "sops" in document:
        return
    keys = [key for field in ("data", "stringData") for key in mapping(document, field)]
    if keys:
        yield (
            f"found values of {', '.join(keys)} in git, expected none; let an ExternalSecret make "
            "it, and change what was committed"
        )
