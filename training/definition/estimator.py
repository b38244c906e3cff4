"""What a version is fitted with, and how parameters of it are found."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from abserve.stated.base import Fault, Stated, expects
from abserve.stated.mistakes import is_number
from training.definition.numbers import Number
from training.estimators import accepted_parameters, find_estimator, kind_of, short_list
from training.metric_names import METRIC_NAMES, Kind


class Range(Stated):
    """Values of a parameter from `low` to `high`; `log`: evenly by their logarithm.

    If both are whole, so is every value.
    """

    low: Number = Field(description="The least value.", examples=[0.01])
    high: Number = Field(description="The greatest value.", examples=[100])
    log: bool = Field(
        default=False, description="Whether to draw evenly by the logarithm.", examples=[True]
    )

    def _faults(self) -> Iterator[Fault]:
        if self.low >= self.high:
            yield ("low",), f"is {self.low}; expected less than high, {self.high}"
        if self.log and self.low <= 0:
            yield (
                ("low",),
                f"is {self.low}, which has no logarithm; expected more than 0, or `log: false`",
            )


Values = Annotated[tuple[JsonValue, ...], Field(min_length=1, strict=False)]


def _range_or_list(values: object) -> str:
    return "Range" if isinstance(values, Range | dict) else "array"


RangeOrValues = Annotated[
    Annotated[Range, Tag("Range")] | Annotated[Values, Tag("array")], Discriminator(_range_or_list)
]


class SearchSpace(Stated):
    """Parameters that are found by cross-validation on the rows to fit on.

    `grid` tries every combination of the lists in `space`, `random` and `halving` as many as
    `candidates` says, drawn from lists and ranges; `halving` gives the better ones more rows.
    `scoring` is a metric of the evaluation.
    """

    kind: Literal["grid", "random", "halving"] = Field(
        description="grid: every combination of the lists. random: as many as candidates says, "
        "drawn by chance. halving: the same, on few rows first and on more for the better ones.",
        examples=["grid"],
    )
    scoring: str = Field(
        description="The metric that decides.",
        examples=["log_loss"],
        json_schema_extra={"enum": [*METRIC_NAMES]},
    )
    folds: int = Field(
        default=5,
        ge=2,
        le=20,
        description="In how many parts the rows are divided, each judged once.",
        examples=[5],
    )
    candidates: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        default=None, description="How many to try, for random and halving.", examples=[20]
    )
    space: Mapping[str, RangeOrValues] = Field(
        min_length=1,
        description="By parameter, the values to try: a list, or a range to draw from.",
        examples=[{"C": [0.1, 1, 10]}],
    )

    def _faults(self) -> Iterator[Fault]:
        if self.scoring not in METRIC_NAMES:
            yield (
                ("scoring",),
                f"is {self.scoring!r}; expected a metric: {short_list(METRIC_NAMES, self.scoring)}",
            )
        if self.kind == "grid":
            if self.candidates is not None:
                yield (
                    ("candidates",),
                    f"is {self.candidates}, and kind grid, which tries every combination: remove "
                    "it, or write `kind: random`",
                )
            for name, values in self.space.items():
                if isinstance(values, Range):
                    yield (
                        ("space", name),
                        "is a range, and kind grid, which tries lists: list the values, or write "
                        "`kind: random`",
                    )
        elif self.candidates is None:
            yield (
                ("candidates",),
                f"is missing; expected how many to try, since kind is {self.kind}; write for "
                "example `candidates: 20`",
            )


class Estimator(Stated):
    """What a version is fitted with.

    `scale` standardises every number first; `parameters` are those that differ from the
    estimator's defaults; `search` finds others.
    """

    estimator: str = Field(
        description="A classifier or regressor of scikit-learn, by its import path.",
        examples=["sklearn.tree.DecisionTreeClassifier"],
        json_schema_extra=expects("a classifier or regressor of scikit-learn, by its import path"),
    )
    scale: bool = Field(
        description="Whether every number is brought to mean 0 and standard deviation 1 first.",
        examples=[True],
    )
    parameters: Mapping[str, JsonValue] = Field(
        default={},
        description="Those that differ from the estimator's defaults.",
        examples=[{"max_depth": 2}],
    )
    search: SearchSpace | None = Field(
        default=None,
        description="How further parameters are found.",
        examples=[{"kind": "grid", "scoring": "log_loss", "space": {"C": [0.1, 1, 10]}}],
    )

    @property
    def name(self) -> str:
        """The class's name, without the modules it lies in."""
        return self.estimator.rpartition(".")[2]

    @property
    def kind(self) -> Kind:
        """What it predicts: classes or numbers."""
        return kind_of(find_estimator(self.estimator))

    def _faults(self) -> Iterator[Fault]:
        try:
            found = find_estimator(self.estimator)
        except ValueError as error:
            yield ("estimator",), str(error)
            return
        accepted = accepted_parameters(found)
        searched = {} if self.search is None else self.search.space
        faults = [
            *self._faults_of_parameters(("parameters",), self.parameters, accepted),
            *self._faults_of_parameters(("search", "space"), searched, accepted),
        ]
        yield from faults
        for name in searched.keys() & self.parameters.keys():
            yield (
                ("search", "space", name),
                "is among the parameters too; expected it to be given or to be found: remove one",
            )
        if not faults and kind_of(found) == "classification":
            first = {
                name: values[0]
                for name, values in searched.items()
                if not isinstance(values, Range)
            }
            if not hasattr(found(**{**self.parameters, **first}), "predict_proba"):
                yield (
                    ("estimator",),
                    f"is {self.name}, which gives no probabilities with these parameters; expected "
                    f"a classifier with predict_proba: choose others, or another classifier",
                )

    def _faults_of_parameters(
        self, where: tuple[str, ...], given: Mapping[str, Any], accepted: tuple[str, ...]
    ) -> Iterator[Fault]:
        for name, value in given.items():
            if name not in accepted:
                yield (
                    (*where, name),
                    f"is no parameter of {self.name}; it accepts {short_list(accepted, name)}: "
                    "correct or remove it",
                )
            for each in value if _is_list(value) else [value]:
                if isinstance(each, str) and is_number(each):
                    yield (
                        (*where, name),
                        f"is the text {each!r}; expected a number: write it as {float(each)!r}",
                    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
