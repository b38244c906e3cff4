"""Where a rollout stands: what all records of its log together say, and nothing else.

Whoever goes on with a rollout, after a restart or after another, reads the log and has the same
state. So nothing is kept anywhere else, and each record is folded into the state in one way only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

from abserve.analysis import Experiment, Observed, ObservedBlock
from abserve.errors import AuditError
from abserve.rollout.records import (
    Available,
    Begin,
    ClockSet,
    Counted,
    Decided,
    End,
    InForce,
    Interference,
    Labelled,
    Outcome,
    Record,
    SetWeights,
    Unavailable,
)


@dataclass(frozen=True, slots=True)
class State:
    """What is known after some records.

    Parameters
    ----------
    begin : Begin
        The first record.
    at : float
        When the last record was written.
    weights, weights_before : mapping of str to int, or None
        Those that are to be in force, and those that may still be; None before the first.
    generation : int or None
        That of the SeldonDeployment with which the weights are in force; None if they are not yet.
    steady_since : float
        When it was last seen that nothing but time passes: no block begins before.
    step_began_at, began_at : float or None
        When the present weights, and the first, were in force; None if they are not yet.
    blocks : tuple of ObservedBlock
        With their primary metric where it is known.
    n_labelled : int
        How many of them, the oldest, are mature and done with.
    unavailable_since, unavailable_reason
        Since when the candidate does not answer, and why; None and empty if it does.
    interference : tuple of str
        What somebody else changed.
    undecided : bool
        Whether something was learned since the last decision.
    decided : Decided or None
        The last decision.
    end : End or None
        How it came out.
    """

    begin: Begin
    at: float
    weights: Mapping[str, int] | None = None
    weights_before: Mapping[str, int] | None = None
    generation: int | None = None
    steady_since: float = 0.0
    step_began_at: float | None = None
    began_at: float | None = None
    blocks: tuple[ObservedBlock, ...] = ()
    n_labelled: int = 0
    unavailable_since: float | None = None
    unavailable_reason: str = ""
    interference: tuple[str, ...] = ()
    undecided: bool = False
    decided: Decided | None = None
    end: End | None = None

    @classmethod
    def of(cls, begin: Begin) -> "State":
        """Return the state after the first record."""
        return cls(begin, begin.at, weights_before=begin.weights)

    @property
    def experiment(self) -> Experiment:
        return self.begin.experiment

    @property
    def weight_candidate(self) -> int:
        """The weight that the candidate has, or is to have."""
        return (self.weights or self.begin.weights)[self.experiment.candidate]

    @property
    def expected_weights(self) -> tuple[Mapping[str, int], ...]:
        """The weights that may be found, the likeliest last."""
        return tuple(
            weights for weights in (self.weights_before, self.weights) if weights is not None
        )

    @property
    def outcome(self) -> Outcome | None:
        """How the last decision says that the rollout is to end; None if it goes on."""
        outcome: Outcome | None = self.decided.conclusion["outcome"] if self.decided else None
        return outcome

    @property
    def counted_until(self) -> float:
        """When the last block ended; blocks never overlap."""
        return self.blocks[-1].ended_at if self.blocks else 0.0

    @property
    def unlabelled(self) -> tuple[ObservedBlock, ...]:
        """The blocks whose primary metric is still to come."""
        return self.blocks[self.n_labelled :]

    def elapsed_seconds(self, at: float) -> float:
        """Return how long the candidate has had its first weight, or a later one."""
        return max(at - self.began_at, 0.0) if self.began_at is not None else 0.0

    def observed(self, at: float | None = None, missing: tuple[str, ...] | None = None) -> Observed:
        """Return what there is to analyse, by default as the last record left it.

        Parameters
        ----------
        at : float, optional
            Now, in seconds since 1970.
        missing : tuple of str, optional
            What could not be learned now.
        """
        if missing is None:
            missing = self.decided.missing if self.decided else ()
        return Observed(
            self.blocks,
            elapsed_seconds=self.elapsed_seconds(self.at if at is None else at),
            classes=self.begin.classes,
            interference=self.interference,
            missing=(*missing, *self._missing()),
        )

    def _missing(self) -> tuple[str, ...]:
        """Say what is known to be missing: who answers, and labels that will not come."""
        found: tuple[str, ...] = ()
        if self.unavailable_since is not None:
            found += (f"the candidate is not available: {self.unavailable_reason}",)
        metric = self.experiment.primary.metric
        for latest in self.blocks[: self.n_labelled][-1:]:
            if metric not in latest.by_metric:
                notes = "".join(f"; {note}" for note in latest.notes)
                found += (
                    f"of block {latest.number}, the latest mature one, is not known: "
                    f"{metric}{notes}",
                )
        return found

    def after(self, record: Record) -> "State":
        """Return the state after one more record.

        Raises
        ------
        AuditError
            If the record cannot come now.
        """
        return replace(self, at=record.at, **_change(record, self))


@singledispatch
def _change(_record: object, _state: State) -> dict[str, Any]:
    """Return the fields of the state that a record changes."""
    return {}


@_change.register
def _(record: SetWeights, state: State) -> dict[str, Any]:
    return {
        "weights": record.weights,
        "weights_before": state.weights or state.begin.weights,
        "generation": None,
        "step_began_at": None,
    }


@_change.register
def _(record: InForce, state: State) -> dict[str, Any]:
    return {
        "weights_before": None,
        "generation": record.generation,
        "steady_since": record.at,
        "step_began_at": record.at if state.step_began_at is None else state.step_began_at,
        "began_at": record.at if state.began_at is None else state.began_at,
    }


@_change.register
def _(record: Counted, state: State) -> dict[str, Any]:
    _expect(record.block.number, len(state.blocks) + 1)
    return {"blocks": (*state.blocks, record.block), "undecided": True}


@_change.register
def _(record: Labelled, state: State) -> dict[str, Any]:
    place = state.n_labelled
    _expect(record.number, place + 1)
    _expect(min(record.number, len(state.blocks)), record.number)
    block = state.blocks[place]
    by_metric = dict(block.by_metric)
    if record.counts is not None:
        by_metric[state.experiment.primary.metric] = record.counts
    labelled = replace(block, by_metric=by_metric, notes=(*block.notes, *record.notes))
    return {
        "blocks": (*state.blocks[:place], labelled, *state.blocks[place + 1 :]),
        "n_labelled": place + 1,
        "undecided": True,
    }


@_change.register
def _(record: Unavailable, _state: State) -> dict[str, Any]:
    return {
        "unavailable_since": record.at,
        "unavailable_reason": record.reason,
        "undecided": True,
    }


@_change.register
def _(_record: Available, _state: State) -> dict[str, Any]:
    return {"unavailable_since": None, "unavailable_reason": "", "undecided": True}


@_change.register
def _(record: ClockSet, state: State) -> dict[str, Any]:
    return {
        "steady_since": record.at,
        "step_began_at": _moved(state.step_began_at, record.seconds),
        "began_at": _moved(state.began_at, record.seconds),
        "unavailable_since": _moved(state.unavailable_since, record.seconds),
    }


@_change.register
def _(record: Interference, state: State) -> dict[str, Any]:
    return {"interference": (*state.interference, record.what), "undecided": True}


@_change.register
def _(record: Decided, _state: State) -> dict[str, Any]:
    return {"decided": record, "undecided": False}


@_change.register
def _(record: End, _state: State) -> dict[str, Any]:
    return {"end": record}


def _expect(found: int, expected: int) -> None:
    if found != expected:
        raise AuditError(f"found block {found}; expected block {expected}")


def _moved(moment: float | None, seconds: float) -> float | None:
    return None if moment is None else moment + seconds
