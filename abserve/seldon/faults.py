"""What is wrong with a SeldonDeployment: every fault at once, each at its field."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from abserve.errors import ManifestError

FaultKind = Literal[
    "FieldValueInvalid",
    "FieldValueRequired",
    "FieldValueDuplicate",
    "FieldValueNotSupported",
    "FieldValueForbidden",
    "FieldValueTypeInvalid",
]
"""The causes a Kubernetes API names in ``status.details.causes[].reason``."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with one field.

    `field` is a path as Kubernetes writes it, ``spec.predictors[0].graph.modelUri``.
    """

    field: str
    message: str
    kind: FaultKind

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class InvalidManifestError(ManifestError):
    """A SeldonDeployment with faults; its text is one fault per line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type["InvalidManifestError"], tuple[tuple[Fault, ...]]]:
        # BaseException would rebuild us from our text, and the faults would be its letters.
        return type(self), (self.faults,)
