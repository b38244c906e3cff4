"""What the audit log holds: one record for each thing that was learned, decided or done.

::

    begin        what is compared, and with which numbers
    weights      weights that are to be in force   ──> in_force   that they are, or still are
    block        what was counted in an interval   ──> labels     its primary metric, when mature
    unavailable  the candidate does not answer     ──> available  it does again
    clock        the clock was set
    interference what somebody else changed
    decision     what follows from all records before it
    note         what a reader may want to know
    end          how it came out

A record is written before what it speaks of is done, so that whoever reads the log knows at least
as much as was done.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from abserve.analysis import Counts, Experiment, ObservedBlock
from abserve.analysis.counting import Variants
from abserve.schema import Value

FORMAT: Final = "abserve rollout log 1"

Outcome = Literal["promoted", "rolled back", "kept", "invalid", "abandoned"]


def version_of(model_uri: str) -> str:
    """Return the version in a folder of the model repository: the last part of its path."""
    return model_uri.rstrip("/").rpartition("/")[2]


class _Record(Value):
    at: float
    """When it was written, in seconds since 1970."""


class Begin(_Record):
    """What is compared.

    `model_uris` are by predictor, shadows among them, and `weights` by variant, as they were
    found. `classes` are all that the two versions can predict. `software` has the versions of what
    computes: another one may round another way.
    """

    kind: Literal["begin"] = "begin"
    format: Literal["abserve rollout log 1"] = FORMAT
    namespace: str
    uid: str
    model: str
    experiment: Experiment
    model_uris: Mapping[str, str]
    weights: Mapping[str, int]
    classes: tuple[str, ...]
    software: Mapping[str, str]

    @property
    def variants(self) -> Variants:
        """The versions that are compared."""
        return Variants(
            version_of(self.model_uris[self.experiment.baseline]),
            version_of(self.model_uris[self.experiment.candidate]),
        )


class SetWeights(_Record):
    """Weights that are to be in force from now on."""

    kind: Literal["weights"] = "weights"
    weights: Mapping[str, int]


class InForce(_Record):
    """The weights are in force, as of a generation of the SeldonDeployment."""

    kind: Literal["in_force"] = "in_force"
    generation: int


class Counted(_Record):
    """What arrived in a block, and its guardrails."""

    kind: Literal["block"] = "block"
    block: ObservedBlock


class Labelled(_Record):
    """The primary metric of a block whose maturity window is over; None if it is not known."""

    kind: Literal["labels"] = "labels"
    number: int
    counts: Counts | None
    notes: tuple[str, ...] = ()


class Unavailable(_Record):
    """The candidate does not answer from now on."""

    kind: Literal["unavailable"] = "unavailable"
    reason: str


class Available(_Record):
    """The candidate answers again."""

    kind: Literal["available"] = "available"


class ClockSet(_Record):
    """The clock was set forward, or back if negative."""

    kind: Literal["clock"] = "clock"
    seconds: float


class Interference(_Record):
    """What somebody else changed."""

    kind: Literal["interference"] = "interference"
    what: str


class Decided(_Record):
    """What follows from the records before this one, and from what could not be learned now."""

    kind: Literal["decision"] = "decision"
    missing: tuple[str, ...]
    conclusion: Mapping[str, Any]


class Note(_Record):
    kind: Literal["note"] = "note"
    text: str


class End(_Record):
    """How the rollout came out."""

    kind: Literal["end"] = "end"
    outcome: Outcome
    text: str


Record = (
    Begin
    | SetWeights
    | InForce
    | Counted
    | Labelled
    | Unavailable
    | Available
    | ClockSet
    | Interference
    | Decided
    | Note
    | End
)

_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def to_json(record: Record) -> dict[str, Any]:
    """Return a record as JSON values, its kind first."""
    values = _RECORD.dump_python(record, mode="json")
    return {"kind": values.pop("kind"), **values}


def from_json(text: str | bytes) -> Record:
    """Read a record.

    Raises
    ------
    pydantic.ValidationError
        If it is none.
    """
    return _RECORD.validate_json(text)
