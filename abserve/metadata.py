"""What a version says of itself: the content of ``metadata.json``.

Where it came from (data, code, libraries, seed), what was fitted and how it was found, how good it
is on rows it never saw, which bars it had to pass, and what a runtime needs to serve it: the
schema, and what the features were like. Training writes it; runtimes and the card read it.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from abserve.schema import Schema, Value

# Beyond the first so many features of a schema, nothing is described and nothing is watched: a
# picture has thousands, and neither a file nor a dashboard of them would be read.
MAX_REFERENCE_FEATURES = 50

_SUM_TOLERANCE = 1e-6

_Share = Annotated[float, Field(ge=0, le=1)]


class Estimate(Value):
    """A metric on held-out rows, and its interval of 95 % confidence where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, found: Any) -> Any:
        # Versions published before there were intervals have the number alone.
        return {"value": found} if isinstance(found, int | float) else found


class Fingerprint(Value):
    """Which data it was: equal fingerprints are equal rows, in the same order.

    `sha256` is that of the values of all features and the target, row by row; `source` says where
    they were read from, without credentials.
    """

    source: str
    n_rows: int
    columns: tuple[str, ...]
    sha256: str


class Tried(Value):
    """One point of a search: its parameters, and the mean and spread of its score over the folds.

    `spread` is the standard deviation over the folds.
    """

    parameters: Mapping[str, Any]
    score: float
    spread: float


class Search(Value):
    """How the parameters were found: what was tried, best first, and by which score."""

    kind: str
    scoring: str
    folds: int
    n_tried: int
    best: tuple[Tried, ...]


class Slice(Value):
    """The evaluation of those held-out rows that a definition names as a slice."""

    n_rows: int
    metrics: Mapping[str, Estimate]


class Parity(Value):
    """How closely the exported model repeats the fitted one.

    On held-out rows and on `n_edge_rows` rows at the edges of the schema. The largest difference is
    that of a probability, or of a regressor's number relative to the spread of the target.
    """

    n_rows: int
    n_edge_rows: int = 0
    n_different_labels: int
    largest_difference: float = Field(
        validation_alias=AliasChoices("largest_difference", "largest_probability_difference")
    )


class GateOutcome(Value):
    """A bar that the version had to pass, and what it was measured at.

    `by` is how far the version is on the right side of the bar, negative if it is on the wrong one,
    in the unit of `found`.
    """

    gate: str
    bar: str
    found: float
    by: float
    passed: bool
    note: str | None = None


class Distribution(Value):
    """What one feature was like in the rows a version was fitted on: the share of rows per bin.

    `edges` lie between the bins, ascending: a bin holds the values above the edge before it, up to
    and with the edge after it; the first and the last bin are open. `shares` are one more than the
    edges. Where values may be missing, the rows without one are a bin of their own, `missing`.
    """

    edges: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    shares: tuple[_Share, ...]
    missing: _Share | None = None

    @model_validator(mode="after")
    def _edges_in_order(self) -> Self:
        for lower, upper in pairwise(self.edges):
            if lower >= upper:
                raise ValueError(f"edge {lower} is not below the next, {upper}")
        return self

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError(
                f"there are {len(self.shares)} shares and {len(self.edges)} edges, "
                "expected one more share than edges"
            )
        if not self.edges and self.missing is None:
            raise ValueError("there is one bin only, which everything fits; expected two or more")
        total = sum(self.shares) + (self.missing or 0.0)
        if abs(total - 1) > _SUM_TOLERANCE:
            raise ValueError(f"the shares sum to {total}, not 1")
        return self


class Metadata(Value):
    """What a version says of itself.

    `evaluation` holds metrics by name, measured on the `n_held_out` rows the estimator never saw,
    `class_recall` the recall of each class by its name. `served` says which file a runtime loads.
    `described_as` is the version of the definition whose estimator this is: a version that was
    trained again has a number of its own. `reference` describes the rows it was fitted on, by
    feature, for at most the first `MAX_REFERENCE_FEATURES`. What has a default here is missing in
    versions published before it was recorded.
    """

    model: str
    version: str
    described_as: str | None = None
    description: str = ""
    pipeline: str = "classification"
    trained_at: datetime
    git_commit: str | None
    git_dirty: bool | None
    libraries: Mapping[str, str]
    data: Fingerprint | None = None
    target: str | None = None
    estimator: str
    parameters: Mapping[str, Any]
    search: Search | None = None
    seed: int
    n_fitted: int
    n_held_out: int
    durations_seconds: Mapping[str, float] = {}
    evaluation: Mapping[str, Estimate]
    class_recall: Mapping[str, Estimate] = {}
    slices: Mapping[str, Slice] = {}
    gates: tuple[GateOutcome, ...] = ()
    served: Literal["onnx", "skops"] = "onnx"
    parity: Parity | None
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = {}
    schema_: Schema = Field(alias="schema")
    reference: Mapping[str, Distribution] = {}

    @model_validator(mode="after")
    def _reference_names_features(self) -> Self:
        if unknown := sorted(self.reference.keys() - set(self.schema_.feature_names)):
            raise ValueError(f"the reference describes {unknown[0]!r}, which is no feature")
        return self
