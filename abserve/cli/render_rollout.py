"""The records of a rollout as lines that people read."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from abserve.analysis.wording import e_value, metric_in_words, points
from abserve.rollout.records import (
    Available,
    Begin,
    ClockSet,
    Decided,
    Interference,
    Note,
    Record,
    SetWeights,
    Unavailable,
)
from abserve.rollout.seen import shown
from abserve.rollout.state import State


def lines_of(before: State, record: Record) -> Iterator[str]:
    """Yield what is worth reading of a record; `before` is the state before it."""
    time = f"{datetime.fromtimestamp(record.at, UTC):%H:%M:%S}"
    match record:
        case Begin():
            versions, experiment = record.variants, record.experiment
            yield (
                f"{time}  {experiment.deployment}: {experiment.candidate} {versions.candidate} "
                f"against {experiment.baseline} {versions.baseline}"
            )
        case SetWeights():
            yield f"{time}  weights {shown(record.weights)}"
        case Unavailable():
            yield f"{time}  the candidate is not available: {record.reason}"
        case Available():
            yield f"{time}  the candidate is available again"
        case ClockSet():
            yield f"{time}  the clock was set by {record.seconds:+.0f} s: that block is not counted"
        case Interference():
            yield f"{time}  {record.what}"
        case Note():
            yield f"{time}  {record.text}"
        case Decided():
            yield f"{time}  {_decision(before, record.conclusion)}"
            yield from (f"          {reason}" for reason in _reasons(record))
        case _:
            # Blocks and labels stand in the decision; the end is told at the end.
            return


def _decision(before: State, conclusion: Mapping[str, Any]) -> str:
    analysis = conclusion["analysis"]
    effect, interval = analysis["effect"], analysis["interval"]
    told = "not known" if effect is None else f"{points(effect)} points"
    if effect is not None and interval:
        told += f" ({points(interval[0])} to {points(interval[1])})"
    claim = analysis["claims"][0] if analysis["claims"] else None
    evidence = (
        f", e-value {e_value(claim['log_evidence'])} of {e_value(claim['log_bar'])}"
        if claim
        else ""
    )
    return (
        f"{before.weight_candidate:>3} %  block {len(before.blocks)}  "
        f"{analysis['n_baseline']:,} and {analysis['n_candidate']:,} units  "
        f"{metric_in_words(analysis['metric'])} {told}{evidence}  {conclusion['action']}"
    )


def _reasons(record: Decided) -> tuple[str, ...]:
    conclusion = record.conclusion
    if conclusion["outcome"]:
        return tuple(conclusion["reasons"])
    held_back = tuple(f"weight held back: {each}" for each in conclusion["held_back"])
    return (*record.missing, *(each for each in held_back))
