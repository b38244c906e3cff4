"""What follows from a rollout's records: end it, go on, or give the candidate the next weight.

::

    PROMOTE, ROLLBACK, INVALID    ──> the rollout ends
    CONTINUE, the weight's time is over, and nothing speaks against the next  ──> the next weight
    CONTINUE                      ──> the weight stays

The same records give the same conclusion, bit for bit, whoever draws it and whenever: `conclude` is
what the controller acts on, and what a replay compares.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from abserve import analysis
from abserve.analysis import Analysis, Comparison, compare
from abserve.errors import ExperimentError
from abserve.experiment import Action
from abserve.rollout.records import Outcome
from abserve.rollout.state import State

# Evidence of an uneven split this far on the way to its bar (in logarithms) is no time to go on.
_FAR_FROM_BAR = 0.5

_OUTCOMES: Mapping[Action, Outcome] = {
    Action.PROMOTE: "promoted",
    Action.ROLLBACK: "rolled back",
    Action.INVALID: "invalid",
}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What is to be done, and why.

    `outcome` is how the rollout is to end; None if it goes on. `next_weight` is the weight that the
    candidate is to get; None if it stays. `held_back` says why it stays although its time is over.
    """

    action: Action
    reasons: tuple[str, ...]
    outcome: Outcome | None
    next_weight: int | None
    held_back: tuple[str, ...]
    analysis: Analysis

    def to_json(self) -> dict[str, Any]:
        return {
            "action": self.action.value,
            "reasons": list(self.reasons),
            "outcome": self.outcome,
            "next_weight": self.next_weight,
            "held_back": list(self.held_back),
            "analysis": self.analysis.to_json(),
        }


def conclude(state: State, at: float, missing: tuple[str, ...]) -> Conclusion:
    """Draw the conclusion of all records so far.

    Parameters
    ----------
    state : State
        What the records say.
    at : float
        Now, in seconds since 1970.
    missing : tuple of str
        Sentences that say what could not be learned now.
    """
    experiment = state.experiment
    observed = state.observed(at, missing)
    try:
        comparison = compare(experiment, observed)
        found = analysis.conclude(comparison)
    except ExperimentError as error:
        # Counts that cannot be: of them nothing follows but that somebody has to look.
        found = Analysis.invalid(experiment.primary.metric, experiment.rules, (str(error),))
        return Conclusion(Action.INVALID, found.decision.reasons, "invalid", None, (), found)
    action, reasons = found.decision.action, found.decision.reasons
    if action is not Action.INVALID and unavailable_too_long(state, at):
        since = at - (state.unavailable_since or at)
        told = (
            f"the candidate has not been available for {since:.0f} s, more than "
            f"{experiment.unavailable_seconds} s: {state.unavailable_reason}"
        )
        return Conclusion(Action.ROLLBACK, (told,), "rolled back", None, (), found)
    if action is Action.CONTINUE:
        next_weight, held_back = _next_step(state, at, comparison, found)
        return Conclusion(action, reasons, None, next_weight, held_back, found)
    outcome = _OUTCOMES[action]
    if experiment.at_the_end == "keep" and action is Action.ROLLBACK and _only_late(comparison):
        outcome = "kept"
    return Conclusion(action, reasons, outcome, None, (), found)


def unavailable_too_long(state: State, at: float) -> bool:
    """Tell whether the candidate has been unavailable for longer than the experiment allows."""
    since = state.unavailable_since
    return since is not None and at - since > state.experiment.unavailable_seconds


def is_over(state: State, at: float) -> bool:
    """Tell whether the time of the experiment is over."""
    return state.elapsed_seconds(at) >= state.experiment.maximum_seconds


def _only_late(comparison: Comparison) -> bool:
    """Tell whether a rollback is decided on for nothing but the end of time."""
    in_time = analysis.conclude(replace(comparison, elapsed_seconds=0.0))
    return in_time.decision.action is not Action.ROLLBACK


def _next_step(
    state: State, at: float, comparison: Comparison, found: Analysis
) -> tuple[int | None, tuple[str, ...]]:
    """Return the candidate's next weight, or why it does not get it although it is time."""
    steps = state.experiment.weight_steps
    following = [weight for weight in steps if weight > state.weight_candidate]
    since = state.step_began_at
    if not following or since is None or at - since < state.experiment.step_seconds:
        return None, ()
    against = tuple(_speaks_against(state, since, comparison, found))
    return (None, against) if against else (following[0], ())


def _speaks_against(
    state: State, since: float, comparison: Comparison, found: Analysis
) -> Iterator[str]:
    yield from comparison.missing
    if state.counted_until <= since:
        yield f"no block with a weight of {state.weight_candidate} % is counted yet"
    guardrails = zip(comparison.claims[1:], found.claims[1:], strict=True)
    for question, finding in guardrails:
        if finding.effect is None:
            yield f"it cannot be said whether {finding.statement}: nothing was counted"
            continue
        beyond = finding.effect - question.difference
        if (beyond <= 0) if question.alternative == "greater" else (beyond >= 0):
            yield (
                f"it is not so far that {finding.statement}: candidate - baseline is "
                f"{finding.effect:+.4f}"
            )
    ratio = found.sample_ratio
    evidence = ratio.log_evidence if ratio else None
    if ratio and evidence is not None and evidence > _FAR_FROM_BAR * ratio.log_bar:
        yield f"it seems that {ratio.statement}: evidence {evidence:.2f} of {ratio.log_bar:.2f}"
