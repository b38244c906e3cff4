"""What to do next: from where a rollout stands and what a look found, to records and an action.

::

    State (the log) ┐                  ┌──> records: written first
    Seen (a look)   ┼──>   step   ──> Step
    what was counted┘                  └──> action: done then; none means to step again

The controller does what a step says and nothing else. No clock, no file and no cluster here: the
same state and the same look give the same step, whether it is the first time or after a restart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from abserve.analysis import ObservedBlock
from abserve.rollout.collecting import edge_after
from abserve.rollout.deciding import conclude, is_over, unavailable_too_long
from abserve.rollout.records import (
    Available,
    ClockSet,
    Counted,
    Decided,
    End,
    InForce,
    Interference,
    Labelled,
    Note,
    Outcome,
    Record,
    SetWeights,
    Unavailable,
)
from abserve.rollout.seen import (
    Deployment,
    Seen,
    interference,
    is_promoted,
    is_promoting,
    is_rolled_back,
    is_rolling_back,
    shown,
)
from abserve.rollout.state import State
from abserve.weights import WHOLE

# Slower corrections are how clocks are kept right.
_CLOCK_SET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Times that depend on who counts, in seconds.

    Parameters
    ----------
    settling_seconds : float
        After new weights are in force, until requests of the old ones are neither under way nor
        in the samples of then.
    keeping_seconds : float
        After a moment, until the samples of it are kept.
    look_seconds : float
        Between looks at the SeldonDeployment.
    """

    settling_seconds: float
    keeping_seconds: float
    look_seconds: float


@dataclass(frozen=True, slots=True)
class CountBlock:
    """Count a block that is over."""

    number: int
    began_at: float
    ended_at: float
    weight_candidate: float


@dataclass(frozen=True, slots=True)
class CountLabels:
    """Count the primary metric of a block whose maturity window is over."""

    block: ObservedBlock


ChangeKind = Literal["weights", "shift_all", "adopt", "finish"]


@dataclass(frozen=True, slots=True)
class Change:
    """Make one change of the SeldonDeployment, if it is still of the generation that was seen.

    The weights that the log says; or one of the three changes of a promotion.
    """

    what: ChangeKind
    generation: int


@dataclass(frozen=True, slots=True)
class RollBack:
    """Send all requests to the baseline, or complete that."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at this time, in seconds since 1970."""

    until: float


@dataclass(frozen=True, slots=True)
class Stop:
    """It is over."""


Action = CountBlock | CountLabels | Change | RollBack | Wait | Stop


@dataclass(frozen=True, slots=True)
class Step:
    """Records to write, in order, and then what to do; None is to step again."""

    records: tuple[Record, ...]
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class NotKnownNow:
    """Why something could not be counted; it can be asked again."""

    reason: str


Learned = Counted | Labelled | NotKnownNow
"""What came of counting."""


@dataclass(frozen=True, slots=True)
class _Situation:
    state: State
    seen: Seen
    deployment: Deployment
    learned: Learned | None
    pace: Pace

    @property
    def at(self) -> float:
        return self.seen.at


def step(state: State, seen: Seen, learned: Learned | None, pace: Pace) -> Step:
    """Say what to do next.

    Parameters
    ----------
    state : State
        What the log says.
    seen : Seen
        What the latest look found.
    learned : Learned or None
        What came of the last step's action, if that was to count.
    pace : Pace
        Times that depend on who counts.
    """
    if state.end is not None:
        return Step((), Stop())
    if clock := _clock_was_set(state, seen):
        return Step(clock)
    if seen.deployment is None:
        ended = state.outcome == "invalid"
        return _end(state, seen, "invalid") if ended else _disturbed(state, seen)
    situation = _Situation(state, seen, seen.deployment, learned, pace)
    for look in _IN_THIS_ORDER:
        found = look(situation)
        if found is not None:
            return found
    return Step((), Wait(_next_look(situation)))


def _clock_was_set(state: State, seen: Seen) -> tuple[Record, ...]:
    """Note that the clock was set; blocks that need its time to be one are not counted."""
    # Of the time without a controller only a clock that was set back is noticed.
    seconds = seen.clock_set_seconds
    if abs(seconds) < _CLOCK_SET_SECONDS:
        seconds = min(seen.at - state.at, 0.0)
    if abs(seconds) < _CLOCK_SET_SECONDS:
        return ()
    why = (
        f"the clock was set {'forward' if seconds > 0 else 'back'} by {abs(seconds):.0f} s while "
        "its labels were awaited",
    )
    return (
        ClockSet(at=seen.at, seconds=seconds),
        *(
            Labelled(at=seen.at, number=block.number, counts=None, notes=why)
            for block in state.unlabelled
        ),
    )


def _disturbed(state: State, seen: Seen) -> Step:
    what = interference(state.begin, seen.deployment, state.expected_weights)
    record = Interference(at=seen.at, what=what or "somebody changed what a rollout had begun")
    return Step((record, _decision(state.after(record), seen.at)))


def _decision(state: State, at: float, missing: tuple[str, ...] = ()) -> Decided:
    conclusion = conclude(state, at, missing)
    return Decided(at=at, missing=missing, conclusion=conclusion.to_json())


def _availability(now: _Situation) -> Step | None:
    """Note that the candidate, and not the whole SeldonDeployment, ceased or began to answer."""
    experiment, silent = now.state.experiment, now.deployment.silent
    was_available = now.state.unavailable_since is None
    if experiment.candidate not in silent:
        return None if was_available else Step((Available(at=now.at),))
    if was_available and experiment.baseline not in silent:
        reason = silent[experiment.candidate]
        return Step((Unavailable(at=now.at, reason=reason),))
    return None


def _ending(now: _Situation) -> Step | None:
    """Do what was decided."""
    state = now.state
    match state.outcome:
        case None:
            return None
        case "promoted":
            return _promoting(now)
        case "rolled back":
            return _rolling_back(now)
        case outcome:
            return _end(state, now.seen, outcome)


def _promoting(now: _Situation) -> Step:
    """Make the next of the three changes, when the one before is in force."""
    state, begin, deployment = now.state, now.state.begin, now.deployment
    if not is_promoting(begin, deployment, state.expected_weights):
        return _disturbed(state, now.seen)
    adopted = deployment.model_uris != begin.model_uris
    shifted = deployment.weights.get(state.experiment.candidate) == WHOLE
    if not deployment.available:
        if not adopted and unavailable_too_long(state, now.at):
            return Step((_decision(state, now.at),))
        return _look_again(now)
    if is_promoted(begin, deployment):
        return _end(state, now.seen, "promoted")
    what: ChangeKind = "finish" if adopted else "adopt" if shifted else "shift_all"
    return Step((), Change(what, deployment.generation))


def _rolling_back(now: _Situation) -> Step:
    begin, deployment = now.state.begin, now.deployment
    if not is_rolling_back(begin, deployment, now.state.expected_weights):
        return _disturbed(now.state, now.seen)
    if is_rolled_back(begin, deployment) and deployment.available:
        return _end(now.state, now.seen, "rolled back")
    return Step((), RollBack())


def _end(state: State, seen: Seen, outcome: Outcome) -> Step:
    experiment, versions = state.experiment, state.begin.variants
    name = experiment.deployment
    weights = shown(seen.deployment.weights) if seen.deployment else "it is gone"
    told = {
        "promoted": f"{versions.candidate} is promoted: {experiment.baseline} serves it with all "
        "requests",
        "rolled back": f"{versions.candidate} is rolled back: {experiment.baseline} serves "
        f"{versions.baseline} with all requests",
        "kept": f"the time is over without a decision: the weights stay at {weights}",
        "invalid": f"nothing can be concluded, and nothing more is changed: {weights}; find out "
        f"why, then 'abserve rollout {name} --new' begins anew, or 'abserve rollback {name}' sends "
        "all requests to the baseline",
    }
    return Step((End(at=seen.at, outcome=outcome, text=told[outcome]),))


def _interference(now: _Situation) -> Step | None:
    found = interference(now.state.begin, now.deployment, now.state.expected_weights)
    return _disturbed(now.state, now.seen) if found else None


def _in_force(now: _Situation) -> Step | None:
    """Note that the weights are in force, as of the generation that the cluster serves."""
    state, deployment = now.state, now.deployment
    if (
        state.weights is None
        or state.generation == deployment.generation
        or deployment.weights != state.weights
        or not deployment.available
    ):
        return None
    record = InForce(at=now.at, generation=deployment.generation)
    if state.generation is None:
        return Step((record,))
    who = deployment.changed_by or "somebody"
    text = (
        f"{who} changed the SeldonDeployment, and neither weights nor versions: the block in which "
        "that was is not counted"
    )
    return Step((Note(at=now.at, text=text), record))


def _counting(now: _Situation) -> Step | None:
    """Count what is due: first the labels of what is mature, then the block that is over."""
    if isinstance(now.learned, NotKnownNow):
        return None
    if now.learned is not None:
        return Step((now.learned,))
    for block in now.state.unlabelled[:1]:
        if _labels_due_at(now, block) <= now.at:
            return Step((), CountLabels(block))
    over = _next_block(now)
    if over is not None and over.ended_at + now.pace.keeping_seconds <= now.at:
        return Step((), over)
    return None


def _deciding(now: _Situation) -> Step | None:
    """Decide if something was learned, if a time is over, or if something ceases to be known."""
    state, at = now.state, now.at
    missing: tuple[str, ...] = ()
    if isinstance(now.learned, NotKnownNow):
        missing += (now.learned.reason,)
    if state.generation is not None and not now.deployment.available:
        missing += (f"not Available: {now.deployment.progress}",)
    begins_to_miss = bool(missing) and not (state.decided and state.decided.missing)
    if state.undecided or begins_to_miss or is_over(state, at) or unavailable_too_long(state, at):
        return Step((_decision(state, at, missing),))
    return None


def _weights(now: _Situation) -> Step | None:
    """Set the first weights, or those that were decided on, and write them."""
    state, experiment = now.state, now.state.experiment
    if state.weights is None:
        weight = experiment.weight_steps[0]
    else:
        weight = (state.decided and state.decided.conclusion["next_weight"]) or 0
    if state.weights is None or weight > state.weight_candidate:
        weights = {experiment.baseline: WHOLE - weight, experiment.candidate: weight}
        return Step((SetWeights(at=now.at, weights=weights),))
    if now.deployment.weights != state.weights:
        return Step((), Change("weights", now.deployment.generation))
    return None


_IN_THIS_ORDER: tuple[Callable[[_Situation], Step | None], ...] = (
    _availability,
    _ending,
    _interference,
    _in_force,
    _counting,
    _deciding,
    _weights,
)


def _next_block(now: _Situation) -> CountBlock | None:
    """Return the block that is being counted, if the weights are steady."""
    state = now.state
    if state.generation is None or state.generation != now.deployment.generation:
        return None
    steady_since = state.steady_since + now.pace.settling_seconds
    began_at = edge_after(max(steady_since, state.counted_until), state.experiment)
    return CountBlock(
        len(state.blocks) + 1,
        began_at,
        began_at + state.experiment.interval_seconds,
        state.weight_candidate,
    )


def _labels_due_at(now: _Situation, block: ObservedBlock) -> float:
    matures_at = block.ended_at + now.state.experiment.maturity_seconds
    return matures_at + now.pace.keeping_seconds


def _look_again(now: _Situation) -> Step:
    return Step((), Wait(now.at + now.pace.look_seconds))


def _next_look(now: _Situation) -> float:
    """Return when something is due next, and at the latest when it is time for a look."""
    due = [now.at + now.pace.look_seconds]
    due += [_labels_due_at(now, block) for block in now.state.unlabelled[:1]]
    block = _next_block(now)
    if block is not None:
        due.append(block.ended_at + now.pace.keeping_seconds)
    return min(moment for moment in due if moment > now.at)
