"""The share of requests each variant gets, as whole percents that sum to 100."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from abserve.errors import ManifestError

WHOLE = 100

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Weights:
    """Weight of each variant: whole percents in [0, 100] that sum to 100.

    Raises
    ------
    ManifestError
        If there is no variant, a weight lies outside [0, 100], or they do not sum to 100.
    """

    by_variant: Mapping[str, int]

    def __post_init__(self) -> None:
        shown = ", ".join(f"{name}={weight}" for name, weight in self.by_variant.items())
        for name, weight in self.by_variant.items():
            if not 0 <= weight <= WHOLE:
                raise ManifestError(
                    f"weight of {name!r} is {weight}; expected a whole percent from 0 to 100"
                )
        total = sum(self.by_variant.values())
        if total != WHOLE:
            raise ManifestError(
                f"weights sum to {total}, expected 100 (found {shown or 'none'}); "
                "change them so that they sum to 100"
            )

    @classmethod
    def parse(cls, assignments: Iterable[str]) -> "Weights":
        """Read weights as people type them: ``baseline=90 candidate=10``.

        Raises
        ------
        ManifestError
            If an assignment is not ``NAME=PERCENT``, names a variant twice, or the weights
            are not weights.
        """
        by_variant: dict[str, int] = {}
        for assignment in assignments:
            name, equals, percent = assignment.partition("=")
            if not (name and equals and _WHOLE_NUMBER.fullmatch(percent)):
                raise ManifestError(
                    f"{assignment!r} is no weight; expected NAME=PERCENT, for example baseline=90"
                )
            if name in by_variant:
                raise ManifestError(f"variant {name!r} is given twice; name each variant once")
            by_variant[name] = int(percent)
        return cls(by_variant)
