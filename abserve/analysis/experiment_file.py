"""An experiment as people write it down before it begins: ``experiment.yaml``.

It says what is compared, what decides, what may veto, how long it may take and how the weights are
raised; nothing of it can be changed once the experiment runs.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from abserve.experiment import Rules

Metric = Literal["accuracy", "reward"]
Margin = Annotated[float, Field(gt=0, lt=1)]


class Stated(BaseModel):
    """A part of the file: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class UnitHeader(Stated):
    """Units are told apart by a request header, and assignment is sticky."""

    header: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")


class Primary(Stated):
    """The metric that decides, as a rate or a mean in [0, 1] per unit."""

    metric: Metric
    direction: Literal["higher", "lower"] = "higher"
    claim: Literal["superiority", "non-inferiority"] = "superiority"
    margin: Margin | None = None

    @model_validator(mode="after")
    def _margin_fits_claim(self) -> Self:
        if self.claim == "non-inferiority" and self.margin is None:
            raise ValueError("non-inferiority needs a 'margin', as 0.01")
        if self.claim == "superiority" and self.margin is not None:
            raise ValueError("superiority has no margin; remove 'margin', or claim non-inferiority")
        return self


class ErrorRate(Stated):
    """The share of requests that failed through our fault may rise by less than the margin."""

    metric: Literal["error_rate"]
    margin: Margin


class RejectionRate(Stated):
    """The share of requests that were refused may rise by less than the margin."""

    metric: Literal["rejection_rate"]
    margin: Margin


class Latency(Stated):
    """The share of answers within `within_seconds` may fall by less than the margin.

    `within_seconds` is a bound of the runtimes' histogram of inference times.
    """

    metric: Literal["latency"]
    within_seconds: float = Field(gt=0)
    margin: Margin


class PredictionDrift(Stated):
    """The share of each predicted class may move by less than the margin, either way."""

    metric: Literal["prediction_drift"]
    margin: Margin


Guardrail = Annotated[
    ErrorRate | RejectionRate | Latency | PredictionDrift, Field(discriminator="metric")
]


class Experiment(Stated):
    """A stated comparison of two variants of one SeldonDeployment."""

    deployment: str
    baseline: str = "baseline"
    candidate: str = "candidate"
    unit: Literal["request"] | UnitHeader = "request"
    primary: Primary
    guardrails: tuple[Guardrail, ...] = ()
    alpha: float = Field(default=0.05, gt=0, lt=1)
    interval_seconds: int = Field(gt=0)
    maturity_seconds: int = Field(ge=0)
    minimum_units: int = Field(default=0, ge=0)
    minimum_seconds: int = Field(default=0, ge=0)
    maximum_seconds: int = Field(gt=0)
    weight_steps: tuple[Annotated[int, Field(ge=1, le=99)], ...] = Field(min_length=1)
    step_seconds: int = Field(gt=0)
    unavailable_seconds: int = Field(default=60, gt=0)
    at_the_end: Literal["rollback", "keep"] = "rollback"

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
