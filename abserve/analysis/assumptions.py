"""What an experiment would count, if rates and requests were as somebody assumes.

Simplified are the times: blocks follow each other without a gap, each weight is set on time and in
force at once, and both variants serve all the time. And the requests: they arrive at random
(Poisson), each by itself and each a unit of one row; feedback comes by chance, in time, and
regardless of what it says; a reward is 0 or 1, which varies most. What guardrails watch is equal in
both variants.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abserve.analysis.countable import MAX_CLASSES
from abserve.analysis.experiment_file import Experiment
from abserve.analysis.observed import DRIFT_OF
from abserve.errors import ExperimentError
from abserve.experiment import Blocks
from abserve.weights import WHOLE

MOST_UNITS_PER_HOUR = 1e9

_SECONDS_PER_HOUR = 3600
_FEWEST_CLASSES = 2

Floats = NDArray[np.float64]
_PerVariant = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Rates of the primary metric, and everything else that decides how long it takes.

    Parameters
    ----------
    baseline, candidate : float
        The primary metric's rate, or mean, of each variant, in [0, 1].
    units_per_hour : float
        Units of both variants together, above 0.
    labelled : float
        Share of the units on which feedback comes in time, above 0 and at most 1.
    error_rate, rejection_rate, within_share : float
        Shares of the requests that fail and that are refused, and of the answers within the
        latency objective: the same in both variants, in [0, 1].
    n_classes : int
        How many classes the versions predict, each equally often: from 2 to as many as the
        prediction drift can be watched of.

    Raises
    ------
    ExperimentError
        If a number lies outside its range.
    """

    baseline: float
    candidate: float
    units_per_hour: float
    labelled: float = 1.0
    error_rate: float = 0.001
    rejection_rate: float = 0.001
    within_share: float = 0.99
    n_classes: int = 2

    def __post_init__(self) -> None:
        for name in ("baseline", "candidate", "error_rate", "rejection_rate", "within_share"):
            rate = getattr(self, name)
            if not 0 <= rate <= 1:
                raise ExperimentError(
                    f"{name} is assumed to be {rate:g}; expected a rate in [0, 1]"
                )
        if self.error_rate + self.rejection_rate >= 1:
            raise ExperimentError(
                f"of the requests {self.error_rate:g} are assumed to fail and "
                f"{self.rejection_rate:g} to be refused; expected less than 1 together, since the "
                "rest is answered"
            )
        if not 0 < self.labelled <= 1:
            raise ExperimentError(
                f"the share of units with feedback is assumed to be {self.labelled:g}; expected "
                "one above 0 and at most 1"
            )
        if not 0 < self.units_per_hour <= MOST_UNITS_PER_HOUR:
            raise ExperimentError(
                f"units per hour are assumed to be {self.units_per_hour:g}; expected a number "
                f"above 0 and at most {MOST_UNITS_PER_HOUR:g}"
            )
        if not _FEWEST_CLASSES <= self.n_classes <= MAX_CLASSES:
            raise ExperimentError(
                f"{self.n_classes} classes are assumed; expected from {_FEWEST_CLASSES} to "
                f"{MAX_CLASSES}"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(str(number) for number in range(1, self.n_classes + 1))


@dataclass(frozen=True, slots=True)
class Drawn:
    """What many experiments would count in all of their time.

    Parameters
    ----------
    units : Blocks
        Arrays of shape (n_runs, n_blocks).
    by_metric : mapping of str to Blocks
        Of the same shape; names as in `ObservedBlock`.
    """

    units: Blocks
    by_metric: Mapping[str, Blocks]


def n_blocks_of(experiment: Experiment) -> int:
    """Return how many blocks an experiment has that is never decided."""
    return -(-experiment.maximum_seconds // experiment.interval_seconds)


def weights(experiment: Experiment) -> Floats:
    """Return the candidate's weight in each block until the time is over, in percent.

    Returns
    -------
    ndarray of shape (n_blocks,)
    """
    blocks_per_step = experiment.step_seconds // experiment.interval_seconds
    step = np.arange(n_blocks_of(experiment)) // blocks_per_step
    steps = np.array(experiment.weight_steps, dtype=np.float64)
    reached: Floats = steps[np.minimum(step, len(steps) - 1)]
    return reached


def draw(
    experiment: Experiment, assumed: Assumptions, n_runs: int, rng: np.random.Generator
) -> Drawn:
    """Draw what `n_runs` experiments would count."""
    candidate_weights = weights(experiment)

    def blocks(n: _PerVariant, k: _PerVariant) -> Blocks:
        return Blocks.from_columns(candidate_weights, n[0], k[0], n[1], k[1])

    def of(n: _PerVariant, baseline: float, candidate: float) -> _PerVariant:
        return rng.binomial(n[0], baseline), rng.binomial(n[1], candidate)

    expected = assumed.units_per_hour * experiment.interval_seconds / _SECONDS_PER_HOUR
    both = rng.poisson(expected, (n_runs, len(candidate_weights)))
    candidate = rng.binomial(both, candidate_weights / WHOLE)
    units = both - candidate, candidate
    failed = of(units, *[assumed.error_rate] * 2)
    rest = units[0] - failed[0], units[1] - failed[1]
    # Of the rest, so that no request both fails and is refused.
    rejected = of(rest, *[assumed.rejection_rate / (1 - assumed.error_rate)] * 2)
    answered = rest[0] - rejected[0], rest[1] - rejected[1]
    labelled = of(answered, *[assumed.labelled] * 2)
    right = of(labelled, assumed.baseline, assumed.candidate)

    by_metric: dict[str, Blocks] = {experiment.primary.metric: blocks(labelled, right)}
    for guardrail in experiment.guardrails:
        match guardrail.metric:
            case "error_rate":
                by_metric["error_rate"] = blocks(units, failed)
            case "rejection_rate":
                by_metric["rejection_rate"] = blocks(units, rejected)
            case "latency":
                within = of(answered, *[assumed.within_share] * 2)
                by_metric["latency"] = blocks(answered, within)
            case "prediction_drift":
                shares = np.full(assumed.n_classes, 1 / assumed.n_classes)
                predicted = [rng.multinomial(n, shares) for n in answered]
                for index, name in enumerate(assumed.classes):
                    of_class = predicted[0][..., index], predicted[1][..., index]
                    by_metric[f"{DRIFT_OF}{name}"] = blocks(answered, of_class)
    return Drawn(blocks(units, (np.zeros_like(both), np.zeros_like(both))), by_metric)
