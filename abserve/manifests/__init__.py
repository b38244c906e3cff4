"""Manifests as what they will do, before anything of them is applied.

::

    manifests/ ──kubectl kustomize──> documents ──rules──> findings: file, object, rule, sentence

`checking` has the order of the rules, ``docs/checks.md`` a table of them. Nothing here asks a
cluster, and only `Versions` asks the model repository.
"""

from abserve.manifests.checking import Checked, Rules, check
from abserve.manifests.findings import Finding, Severity
from abserve.manifests.schemas import KUBERNETES, Schemas
from abserve.manifests.versions import Versions

__all__ = [
    "KUBERNETES",
    "Checked",
    "Finding",
    "Rules",
    "Schemas",
    "Severity",
    "Versions",
    "check",
]
