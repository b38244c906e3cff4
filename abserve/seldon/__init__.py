"""SeldonDeployments as values: what Seldon's operator would make of one, without an operator.

::

    document ──parse──> SeldonDeployment ──admit──> would Seldon's webhook take it?
                              │        └──supported──> can one machine run it?
                              ▼
                        with_defaults ──> naming, container_environment ──> what to start, and how
                                                                                      │
    document <──json patch── shift_all, adopt, finish        status <──build_status───┘

Nothing here starts, stops or asks anything: documents in, values out.
"""

from abserve.seldon.faults import Fault, FaultKind, InvalidManifestError
from abserve.seldon.resource import Container, Predictor, SeldonDeployment

__all__ = [
    "Container",
    "Fault",
    "FaultKind",
    "InvalidManifestError",
    "Predictor",
    "SeldonDeployment",
]
