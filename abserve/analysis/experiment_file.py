"""An experiment as people write it down before it begins: ``experiment.yaml``.

It says what is compared, what decides, what may veto, how long it may take and how the weights are
raised; nothing of it can be changed once the experiment runs.

Fields carry their meaning and an example, which the messages about a file (`reading`), the JSON
Schema and editors show.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from abserve.errors import ExperimentError
from abserve.experiment import Rules
from abserve.slots import PERIODS_SECONDS, REACH, period_of
from abserve.stated.base import Fault, Stated, expects

Metric = Literal["accuracy", "reward"]
Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        json_schema_extra=expects("at most 63 lower-case letters, digits and '-'"),
    ),
]
HeaderName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$",
        json_schema_extra=expects("a header's name in lower case"),
    ),
]
Margin = Annotated[
    float,
    Field(
        gt=0,
        lt=1,
        description="By how much, absolute, the candidate may be worse: 0.01 is one percentage "
        "point.",
        examples=[0.01],
    ),
]
Weight = Annotated[int, Field(ge=1, le=99)]
# Thirty years, or a billion units: beyond it is a slip of the keyboard.
Whole = Annotated[int, Field(le=1_000_000_000)]


class UnitHeader(Stated):
    """Units are told apart by a request header, and assignment is sticky."""

    header: HeaderName = Field(
        description="The request header that names the unit, in lower case.",
        examples=["x-unit-id"],
    )


class Primary(Stated):
    """The metric that decides, as a rate or a mean in [0, 1] per unit."""

    metric: Metric = Field(
        description="accuracy: the share of units predicted right, from ground truth. "
        "reward: the mean of the rewards that feedback brings.",
        examples=["accuracy"],
    )
    direction: Literal["higher", "lower"] = Field(
        default="higher", description="Which is better.", examples=["higher"]
    )
    claim: Literal["superiority", "non-inferiority"] = Field(
        default="superiority",
        description="What is to be shown of the candidate: that it is better, or that it is not "
        "worse by the margin or more.",
        examples=["superiority"],
    )
    margin: Margin | None = Field(
        default=None,
        description="For non-inferiority: by how much, absolute, the candidate may be worse.",
        examples=[0.01],
    )

    def _faults(self) -> Iterator[Fault]:
        if self.claim == "non-inferiority" and self.margin is None:
            yield (
                ("claim",),
                "is non-inferiority, without a margin; expected by how much the candidate may be "
                "worse: add for example `margin: 0.01`",
            )
        if self.claim == "superiority" and self.margin is not None:
            yield (
                ("margin",),
                f"is {self.margin:g}, and the claim superiority, which has none: remove it, or add "
                "`claim: non-inferiority`",
            )
        if self.metric == "accuracy" and self.direction == "lower":
            yield ("direction",), "is lower, but a higher accuracy is better: remove it"


class ErrorRate(Stated):
    """The share of requests that failed through our fault may rise by less than the margin."""

    metric: Literal["error_rate"]
    margin: Margin


class RejectionRate(Stated):
    """The share of requests that were refused may rise by less than the margin."""

    metric: Literal["rejection_rate"]
    margin: Margin


class Latency(Stated):
    """The share of answers within `within_seconds` may fall by less than the margin."""

    metric: Literal["latency"]
    within_seconds: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="The objective: a bound of the runtimes' histogram of inference times.",
        examples=[0.05],
    )
    margin: Margin


class PredictionDrift(Stated):
    """The share of each predicted class may move by less than the margin, either way."""

    metric: Literal["prediction_drift"]
    margin: Margin


Guardrail = Annotated[
    ErrorRate | RejectionRate | Latency | PredictionDrift, Field(discriminator="metric")
]


def _kind_of_unit(unit: Any) -> str:
    return "request" if isinstance(unit, str) else "UnitHeader"


Unit = Annotated[
    Annotated[Literal["request"], Tag("request")] | Annotated[UnitHeader, Tag("UnitHeader")],
    Discriminator(_kind_of_unit),
]


class Experiment(Stated):
    """A stated comparison of two variants of one SeldonDeployment."""

    deployment: Name = Field(description="The SeldonDeployment's name.", examples=["iris"])
    baseline: Name = Field(
        default="baseline",
        description="The predictor that serves now.",
        examples=["baseline"],
    )
    candidate: Name = Field(
        default="candidate",
        description="The predictor that may take its place.",
        examples=["candidate"],
    )
    unit: Unit = Field(
        default="request",
        description="What is assigned to a variant and counted: each request by itself, or what a "
        "header names, such as a user.",
        examples=["request"],
    )
    primary: Primary = Field(
        description="The metric that decides.",
        examples=[{"metric": "accuracy", "claim": "superiority"}],
    )
    # Lists are what YAML and JSON have; a tuple cannot be changed.
    guardrails: tuple[Guardrail, ...] = Field(
        default=(),
        strict=False,
        description="Metrics that may only veto: a promotion needs each shown to be within its "
        "margin, and any shown to be beyond it is a reason to roll back.",
        examples=[[{"metric": "error_rate", "margin": 0.01}]],
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Probability of a false promotion at most; and of rolling back a candidate "
        "that does no harm.",
        examples=[0.05],
    )
    interval_seconds: Whole = Field(
        gt=0,
        description="Length of a block: how often is counted, and decided.",
        examples=[600],
    )
    maturity_seconds: Whole = Field(
        ge=0,
        description="How long feedback may take: a block's primary metric counts when so much "
        "time has passed since its end, and later feedback is not counted.",
        examples=[1800],
    )
    minimum_units: Whole = Field(
        default=0,
        ge=0,
        description="Units with feedback that each variant has to have before a promotion.",
        examples=[1000],
    )
    minimum_seconds: Whole = Field(
        default=0,
        ge=0,
        description="Time that has to pass before a promotion; a day sees all hours.",
        examples=[86400],
    )
    maximum_seconds: Whole = Field(
        gt=0,
        description="Time after which the experiment ends undecided.",
        examples=[604800],
    )
    weight_steps: tuple[Weight, ...] = Field(
        min_length=1,
        strict=False,
        description="The candidate's weights in percent, one after the other; the last stays. "
        "Only one if a header names the units.",
        examples=[[10, 25, 50]],
    )
    step_seconds: Whole = Field(
        gt=0,
        description="How long each weight stays before the next.",
        examples=[21600],
    )
    unavailable_seconds: Whole = Field(
        default=60,
        gt=0,
        description="How long the candidate may be unavailable before it is rolled back.",
        examples=[60],
    )
    at_the_end: Literal["rollback", "keep"] = Field(
        default="rollback",
        description="If time is over without a decision. rollback: the baseline gets all "
        "requests. keep: the weights stay as they are.",
        examples=["rollback"],
    )

    def _faults(self) -> Iterator[Fault]:
        if self.candidate == self.baseline:
            field = "candidate" if "candidate" in self.model_fields_set else "baseline"
            other = "baseline" if field == "candidate" else "candidate"
            yield (
                (field,),
                f"is {self.candidate!r}, and so is {other}; expected two predictors: name another",
            )
        metrics = [guardrail.metric for guardrail in self.guardrails]
        for index, metric in enumerate(metrics):
            if metric in metrics[:index]:
                yield (
                    ("guardrails", index),
                    f"guards {metric} once more; expected each metric once: remove one",
                )
        for index, (before, weight) in enumerate(
            zip(self.weight_steps, self.weight_steps[1:], strict=False), start=1
        ):
            if weight <= before:
                yield (
                    ("weight_steps", index),
                    f"is {weight}, after {before}; expected rising weights, as [10, 25, 50]",
                )
        if isinstance(self.unit, UnitHeader) and len(self.weight_steps) > 1:
            yield (
                ("weight_steps",),
                f"has {len(self.weight_steps)} steps, and units are what the header "
                f"{self.unit.header!r} names; expected one step, since a unit that a raise moves "
                "is new to the candidate only: write for example `weight_steps: [50]`",
            )
        yield from self._faults_of_time()

    def _faults_of_time(self) -> Iterator[Fault]:
        interval, most = self.interval_seconds, self.maximum_seconds
        try:
            period_of(interval, self.maturity_seconds)
        except ExperimentError as error:
            # The longest period that the interval is made of reaches back furthest.
            period = max(period for period in PERIODS_SECONDS if interval % period == 0)
            below = REACH * period - interval
            instead = f", or maturity_seconds below {below}" if below > 0 else ""
            yield ("interval_seconds",), f"does not fit maturity_seconds: {error}{instead}"
        if self.step_seconds % interval:
            yield (
                ("step_seconds",),
                f"is {self.step_seconds}; expected a multiple of interval_seconds, {interval}, "
                "since a block has one setting of the weights",
            )
        if self.minimum_seconds > most:
            yield (
                ("minimum_seconds",),
                f"is {self.minimum_seconds}; expected at most maximum_seconds, {most}",
            )
        n_steps = len(self.weight_steps)
        if most < n_steps * self.step_seconds:
            yield (
                ("maximum_seconds",),
                f"is {most}; expected at least {n_steps * self.step_seconds}, which is "
                f"{n_steps} steps of {self.step_seconds} seconds each",
            )
        if most < interval + self.maturity_seconds:
            yield (
                ("maximum_seconds",),
                f"is {most}; expected at least {interval + self.maturity_seconds}, which is "
                "interval_seconds and maturity_seconds: before that no feedback counts",
            )

    @property
    def difference(self) -> float:
        """The candidate's rate is to exceed the baseline's by more than this, in [-1, 0].

        With direction "lower" it is to fall below it by more than this, the sign turned.
        """
        return -(self.primary.margin or 0.0)

    @property
    def rules(self) -> Rules:
        return Rules(
            alpha=self.alpha,
            minimum_units=self.minimum_units,
            minimum_seconds=self.minimum_seconds,
            maximum_seconds=self.maximum_seconds,
        )
