"""What simulated experiments come to: shares of runs and durations, with their standard errors."""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from abserve.analysis.assumptions import Assumptions, Floats


class End(StrEnum):
    """How an experiment ends."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    UNDECIDED = "undecided"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Share:
    """So many runs of all."""

    n: int
    n_runs: int

    @property
    def value(self) -> float:
        return self.n / self.n_runs

    @property
    def standard_error(self) -> float:
        # With one more of each kind: that none of a few runs did it does not prove that none does.
        share = (self.n + 1) / (self.n_runs + 2)
        return math.sqrt(share * (1 - share) / self.n_runs)

    def to_json(self) -> dict[str, Any]:
        return {"share": self.value, "standard_error": self.standard_error}


@dataclass(frozen=True, slots=True)
class Duration:
    """Mean and median of some runs, and the standard error of the mean, in seconds.

    One run says nothing of that error; it is then None.
    """

    mean: float
    standard_error: float | None
    median: float

    @classmethod
    def of(cls, seconds: Floats) -> "Duration":
        n = seconds.size
        error = float(seconds.std(ddof=1) / math.sqrt(n)) if n > 1 else None
        return cls(float(seconds.mean()), error, float(np.median(seconds)))

    def to_json(self) -> dict[str, Any]:
        return {
            "mean_seconds": self.mean,
            "standard_error": self.standard_error,
            "median_seconds": self.median,
        }


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """How often all that is claimed of a metric is shown in time, whatever may end a run before.

    `median_seconds` is the time by which half of the runs have shown it; None if fewer ever do.
    """

    metric: str
    shown: Share
    median_seconds: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "shown": self.shown.to_json(),
            "median_seconds": self.median_seconds,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What many runs under the same assumptions come to.

    Parameters
    ----------
    candidate : float
        The assumed rate of the candidate.
    ends : dict of End to Share
        The shares sum to 1.
    duration : Duration
        Of all runs, until the first decision or the end of time.
    durations : dict of End to Duration or None
        Of those that end so; None where none does.
    claims : tuple of ClaimOutcome
        The primary metric's first.
    """

    candidate: float
    ends: dict[End, Share]
    duration: Duration
    durations: dict[End, Duration | None]
    claims: tuple[ClaimOutcome, ...]

    def to_json(self) -> dict[str, Any]:
        ends = {
            end.value: {
                **share.to_json(),
                "duration": duration.to_json() if (duration := self.durations[end]) else None,
            }
            for end, share in self.ends.items()
        }
        return {
            "candidate": self.candidate,
            **ends,
            "duration": self.duration.to_json(),
            "claims": [each.to_json() for each in self.claims],
        }


@dataclass(frozen=True, slots=True)
class Remedy:
    """Another value of a field of the experiment file, and how many are promoted with it."""

    field: str
    value: int
    promoted: Share

    def to_json(self) -> dict[str, Any]:
        return {"field": self.field, "value": self.value, "promoted": self.promoted.to_json()}


@dataclass(frozen=True, slots=True)
class Simulation:
    """The answer for one experiment file and one set of assumptions.

    Parameters
    ----------
    as_assumed, at_the_border : Outcome
        With the assumed candidate, and with one of which the claim is just not true.
    claim_is_true : bool
        Whether it is, of the assumed candidate. If not, its promotions are false as well.
    remedies : tuple of Remedy
        What would help, where too few candidates of which the claim is true are promoted.
    """

    assumed: Assumptions
    n_runs: int
    seed: int
    as_assumed: Outcome
    at_the_border: Outcome
    claim_is_true: bool
    remedies: tuple[Remedy, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON values; durations are in seconds."""
        return {
            "assumed": asdict(self.assumed),
            "runs": self.n_runs,
            "seed": self.seed,
            "as_assumed": self.as_assumed.to_json(),
            "at_the_border": self.at_the_border.to_json(),
            "claim_is_true": self.claim_is_true,
            "remedies": [each.to_json() for each in self.remedies],
        }
