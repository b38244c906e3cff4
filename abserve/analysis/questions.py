"""What is asked of the counts: a claim and a harm per metric, each answered by evidence.

::

    primary metric   shown better (or not worse by the margin)   ┐ all of them
    each guardrail   shown not worse by its margin               ┘ for a promotion
    primary metric   shown worse (by more than the margin)       ┐ one of them
    each guardrail   shown worse by more than its margin         ┘ for a rollback

A metric is a rate or a mean in [0, 1] per variant. Of the prediction drift there is one rate per
class, and each may move neither up nor down. How many questions there are is fixed before the
first block, since the bar of the harms depends on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abserve.analysis.experiment_file import Experiment, Latency, PredictionDrift
from abserve.analysis.observed import DRIFT_OF, Observed, TimedBlocks
from abserve.experiment import Alternative, Blocks, Rules, log_evidence


@dataclass(frozen=True, slots=True)
class Question:
    """Whether the candidate's rate exceeds the baseline's by more than `difference`.

    With alternative "less", whether it exceeds it by less. `statement` says it in words, as they
    stand after "that".
    """

    metric: str
    statement: str
    counted: TimedBlocks
    difference: float
    alternative: Alternative

    def log_evidence(self) -> NDArray[np.float64]:
        """Return the evidence for it after each block that knows the metric."""
        return log_evidence(self.counted.blocks, self.difference, self.alternative)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that a decision depends on.

    Parameters
    ----------
    superiority : Question
        Whether the primary metric is better, without a margin.
    claims, harms : tuple of Question
        One harm for each claim; the primary metric's are the first.
    units : TimedBlocks
        Those of the sample ratio.
    rules : Rules
        When to decide.
    elapsed_seconds, interference, missing
        As in `abserve.experiment.Findings`.
    timed : bool
        Whether `TimedBlocks.ended` are seconds, and not numbers of blocks.
    """

    superiority: Question
    claims: tuple[Question, ...]
    harms: tuple[Question, ...]
    units: TimedBlocks
    rules: Rules
    elapsed_seconds: float = 0.0
    interference: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    timed: bool = False

    @property
    def metric(self) -> str:
        """The primary metric's name."""
        return self.superiority.metric

    @property
    def primary(self) -> TimedBlocks:
        return self.superiority.counted


def compare(experiment: Experiment, observed: Observed) -> Comparison:
    """Ask what an experiment wants to know of what was counted so far."""
    primary = experiment.primary
    counted = observed.metric(primary.metric)
    lower = primary.direction == "lower"
    margin = primary.margin or 0.0
    asked = [_of_primary(primary.metric, counted, margin, lower_is_better=lower)]
    asked += _of_guardrails(experiment, observed)
    return Comparison(
        superiority=_of_primary(primary.metric, counted, 0.0, lower_is_better=lower)[0],
        claims=tuple(claim for claim, _ in asked),
        harms=tuple(harm for _, harm in asked),
        units=observed.units(),
        rules=experiment.rules,
        elapsed_seconds=observed.elapsed_seconds,
        interference=observed.interference,
        missing=(
            *observed.missing,
            *_not_told_by_latest(experiment, observed),
            *_never_compared(counted.blocks),
        ),
        timed=True,
    )


def compare_counts(blocks: Blocks, rules: Rules, margin: float = 0.0) -> Comparison:
    """Ask of one rate, higher is better, whether it is better, or not worse by the margin."""
    counted = TimedBlocks.numbered(blocks)
    claim, harm = _of_primary("success_rate", counted, margin, lower_is_better=False)
    return Comparison(
        superiority=_of_primary("success_rate", counted, 0.0, lower_is_better=False)[0],
        claims=(claim,),
        harms=(harm,),
        units=counted,
        rules=rules,
        missing=tuple(_never_compared(blocks)),
    )


_Asked = tuple[Question, Question]


def _of_primary(
    metric: str, counted: TimedBlocks, margin: float, *, lower_is_better: bool
) -> _Asked:
    said = f"its {metric.replace('_', ' ')} is"
    if margin:
        return _within(metric, said, counted, margin, rising=lower_is_better)
    better, worse = ("lower", "higher") if lower_is_better else ("higher", "lower")
    return _both_sides(
        metric,
        counted,
        0.0,
        f"{said} {better} than the baseline's",
        f"{said} {worse} than the baseline's",
        falling=lower_is_better,
    )


def _of_guardrails(experiment: Experiment, observed: Observed) -> Iterator[_Asked]:
    for guardrail in experiment.guardrails:
        name, margin = guardrail.metric, guardrail.margin
        if isinstance(guardrail, PredictionDrift):
            for label in observed.classes:
                metric = f"{DRIFT_OF}{label}"
                said, counted = f"its share of predictions {label!r} is", observed.metric(metric)
                yield _within(metric, said, counted, margin, rising=False)
                yield _within(metric, said, counted, margin, rising=True)
        elif isinstance(guardrail, Latency):
            said = f"its share of answers within {guardrail.within_seconds:g} s is"
            yield _within(name, said, observed.metric(name), margin, rising=False)
        else:
            said = f"its {name.replace('_', ' ')} is"
            yield _within(name, said, observed.metric(name), margin, rising=True)


def _within(metric: str, said: str, counted: TimedBlocks, margin: float, *, rising: bool) -> _Asked:
    """Ask whether a rate rises (or falls) by less than the margin, and whether by more."""
    side = "above" if rising else "below"
    return _both_sides(
        metric,
        counted,
        margin if rising else -margin,
        f"{said} less than {margin:g} {side} the baseline's",
        f"{said} more than {margin:g} {side} the baseline's",
        falling=rising,
    )


def _both_sides(
    metric: str, counted: TimedBlocks, difference: float, good: str, bad: str, *, falling: bool
) -> _Asked:
    """Ask on which side of a difference the candidate is; `falling` if below it is the good one."""
    claimed: Alternative = "less" if falling else "greater"
    harmful: Alternative = "greater" if falling else "less"
    return (
        Question(metric, good, counted, difference, claimed),
        Question(metric, bad, counted, difference, harmful),
    )


def _not_told_by_latest(experiment: Experiment, observed: Observed) -> Iterator[str]:
    """Say what is known of older blocks only: it may be what has just gone wrong."""
    metrics: list[str] = []
    for guardrail in experiment.guardrails:
        if not isinstance(guardrail, PredictionDrift):
            metrics.append(guardrail.metric)
        elif observed.classes:
            metrics += [f"{DRIFT_OF}{label}" for label in observed.classes]
        else:
            yield "no class is known that the versions predict, so nothing of prediction drift is"
    if not observed.blocks:
        return
    latest = observed.blocks[-1]
    lacking = ["the number of units"] * (latest.units is None)
    lacking += [metric.replace("_", " ") for metric in metrics if metric not in latest.by_metric]
    if lacking:
        yield f"of the latest block, {latest.number}, is not known: {', '.join(lacking)}"


def _never_compared(blocks: Blocks) -> Iterator[str]:
    if blocks.n_blocks and not blocks.both_served.any():
        yield "no block has units of both variants, and only within a block are they compared"
