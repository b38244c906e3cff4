"""What an experiment would come to before it starts: many of them, simulated.

::

    as assumed       the candidate's rate is what somebody hopes     ──> power, duration
    at the border    the claim is false, as narrowly as can be       ──> false promotions, and
                     (equal rates, or worse by just the margin)          rollbacks without harm

The questions are those of the analysis (`questions.compare`), and so is the evidence. Only
`first_decisions` says once more, for all runs and looks at once, what `abserve.experiment.decide`
says for one. A look is at the end of each block; the primary metric of a block counts once it is
mature.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from abserve.analysis.assumptions import Assumptions, Drawn, Floats, draw, n_blocks_of
from abserve.analysis.experiment_file import Experiment
from abserve.analysis.observed import Observed
from abserve.analysis.outcomes import (
    ClaimOutcome,
    Duration,
    End,
    Outcome,
    Remedy,
    Share,
    Simulation,
)
from abserve.analysis.questions import Question, compare
from abserve.errors import ExperimentError
from abserve.experiment import SAMPLE_RATIO_BAR, log_evidence, log_sample_ratio

POWER_WANTED = 0.8

_MOST_BLOCKS = 1_000_000
# Blocks times classes at a time: there are some arrays of blocks for each class.
_VALUES_AT_ONCE = 1 << 19

_MOST_RUNS_OF_REMEDIES = 300
_MOST_BLOCKS_OF_REMEDIES = 2000
_TIMES_LONGER = (2, 4, 8)
_TIMES_SHORTER = (10, 5, 4, 3, 2)

# In the order of precedence.
ENDS = (End.INVALID, End.ROLLED_BACK, End.PROMOTED, End.UNDECIDED)


@dataclass(frozen=True, slots=True)
class Decisions:
    """The first decision of each run, and when each metric had shown what it has to.

    Parameters
    ----------
    ends : ndarray of shape (n_runs,)
        How each run ends: an index of `ENDS`.
    seconds : ndarray of shape (n_runs,)
        When it ends.
    shown_seconds : dict of str to ndarray of shape (n_runs,)
        When each claim of a metric had been shown for the first time, though something else may
        end the run before; infinite if it never is. The primary metric is the first; all classes
        of the prediction drift are one.
    """

    ends: NDArray[np.intp]
    seconds: Floats
    shown_seconds: dict[str, Floats]


def simulate(
    experiment: Experiment,
    assumed: Assumptions,
    n_runs: int,
    seed: int,
    report: Callable[[str], None],
) -> Simulation:
    """Simulate an experiment with the assumed candidate, and with one at the border of the claim.

    Parameters
    ----------
    experiment : Experiment
        As it would be run.
    assumed : Assumptions
        What is not known before.
    n_runs : int
        At least 1: how often each is simulated.
    seed : int
        At least 0: the same gives the same answer.
    report : function
        Told what is simulated next.

    Raises
    ------
    ExperimentError
        If the experiment has more than a million blocks, or a margin by which no candidate can be
        worse.
    """
    border = _border(experiment, assumed)
    seeds = iter(np.random.SeedSequence(seed).spawn(3 + len(_TIMES_LONGER)))
    report("simulating the candidate as assumed")
    as_assumed = _outcome(experiment, assumed, n_runs, next(seeds))
    report("simulating a candidate at the border of the claim")
    at_the_border = _outcome(experiment, replace(assumed, candidate=border), n_runs, next(seeds))
    lower = experiment.primary.direction == "lower"
    claim_is_true = assumed.candidate < border if lower else assumed.candidate > border
    promoted = as_assumed.ends[End.PROMOTED]
    remedies: tuple[Remedy, ...] = ()
    if claim_is_true and promoted.value < POWER_WANTED:
        runs = min(n_runs, _MOST_RUNS_OF_REMEDIES)
        remedies = (
            *_shorter_interval(experiment, assumed, promoted, runs, next(seeds)),
            *_longer(experiment, assumed, runs, seeds, report),
        )
    return Simulation(assumed, n_runs, seed, as_assumed, at_the_border, claim_is_true, remedies)


def first_decisions(experiment: Experiment, assumed: Assumptions, drawn: Drawn) -> Decisions:
    """Decide at the end of each block of each run, until the first decision."""
    asked = compare(experiment, Observed((), 0.0, assumed.classes))
    rules, looks = experiment.rules, np.arange(1, n_blocks_of(experiment) + 1)
    elapsed = looks * float(experiment.interval_seconds)
    immature = math.ceil(experiment.maturity_seconds / experiment.interval_seconds)
    mature = np.maximum(looks - immature, 0)

    def shown(question: Question, bar: float) -> NDArray[np.bool_]:
        blocks = drawn.by_metric[question.metric]
        log_e = log_evidence(blocks, question.difference, question.alternative)
        known = mature if question.metric == asked.metric else looks
        return _at_looks(log_e >= math.log(bar), known)

    claims = np.stack([shown(claim, 1 / rules.alpha) for claim in asked.claims])
    harmed = np.zeros(claims.shape[1:], dtype=np.bool_)
    for harm in asked.harms:
        harmed |= shown(harm, len(asked.harms) / rules.alpha)
    primary = drawn.by_metric[asked.metric]
    enough = elapsed >= rules.minimum_seconds
    for n in (primary.n_baseline, primary.n_candidate):
        enough = enough & _at_looks(np.cumsum(n, axis=-1) >= rules.minimum_units, mature)
    invalid = log_sample_ratio(drawn.units) >= math.log(SAMPLE_RATIO_BAR)
    over = np.broadcast_to(elapsed >= rules.maximum_seconds, harmed.shape)

    by_end = np.stack([invalid, harmed, claims.all(axis=0) & enough, over])
    first = by_end.any(axis=0).argmax(axis=-1)
    at_first = np.take_along_axis(by_end, first[None, :, None], axis=-1)[..., 0]
    shown_seconds: dict[str, Floats] = {}
    for claim, after in zip(asked.claims, claims, strict=True):
        seconds = np.where(after.any(axis=-1), elapsed[after.argmax(axis=-1)], np.inf)
        metric = claim.metric.partition(":")[0]
        shown_seconds[metric] = np.maximum(shown_seconds.get(metric, 0.0), seconds)
    return Decisions(at_first.argmax(axis=0), elapsed[first], shown_seconds)


def _at_looks(after_block: NDArray[np.bool_], n_known: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return what is true at each look, given what is after each block; nothing is after none."""
    padded = np.insert(after_block, 0, values=False, axis=-1)
    return padded[..., n_known]


def _decide(
    experiment: Experiment, assumed: Assumptions, n_runs: int, seed: np.random.SeedSequence
) -> Decisions:
    n_blocks = n_blocks_of(experiment)
    if n_blocks > _MOST_BLOCKS:
        raise ExperimentError(
            f"the experiment has {n_blocks} blocks; expected at most {_MOST_BLOCKS} in a "
            "simulation: state a longer interval_seconds, or a shorter maximum_seconds"
        )
    rng = np.random.default_rng(seed)
    at_once = max(1, _VALUES_AT_ONCE // (n_blocks * assumed.n_classes))
    parts = []
    for begin in range(0, n_runs, at_once):
        drawn = draw(experiment, assumed, min(at_once, n_runs - begin), rng)
        parts.append(first_decisions(experiment, assumed, drawn))
    return Decisions(
        ends=np.concatenate([part.ends for part in parts]),
        seconds=np.concatenate([part.seconds for part in parts]),
        shown_seconds={
            metric: np.concatenate([part.shown_seconds[metric] for part in parts])
            for metric in parts[0].shown_seconds
        },
    )


def _outcome(
    experiment: Experiment, assumed: Assumptions, n_runs: int, seed: np.random.SeedSequence
) -> Outcome:
    decisions = _decide(experiment, assumed, n_runs, seed)
    ended = {end: decisions.ends == index for index, end in enumerate(ENDS)}
    claims = [
        ClaimOutcome(metric, Share(int(np.isfinite(seconds).sum()), n_runs), _median(seconds))
        for metric, seconds in decisions.shown_seconds.items()
    ]
    return Outcome(
        candidate=assumed.candidate,
        ends={end: Share(int(runs.sum()), n_runs) for end, runs in ended.items()},
        duration=Duration.of(decisions.seconds),
        durations={
            end: Duration.of(decisions.seconds[runs]) if runs.any() else None
            for end, runs in ended.items()
        },
        claims=tuple(claims),
    )


def _median(seconds: Floats) -> float | None:
    # Between a number and infinity there is no mean: take the one by which half have ended.
    median = float(np.quantile(seconds, 0.5, method="inverted_cdf"))
    return median if math.isfinite(median) else None


def _border(experiment: Experiment, assumed: Assumptions) -> float:
    """Return the candidate's rate at which the claim is just not true."""
    falls = experiment.primary.direction == "lower"
    border = assumed.baseline + (-experiment.difference if falls else experiment.difference)
    # What is left of 0.1 - 0.03 - 0.07 is nobody's claim.
    border = round(border, 12)
    if not 0 <= border <= 1:
        raise ExperimentError(
            f"the baseline's {experiment.primary.metric} is assumed to be {assumed.baseline:g}, "
            f"and the margin is {-experiment.difference:g}: no candidate can be worse by that, so "
            "each would be promoted; state a smaller margin"
        )
    return border


def _shorter_interval(
    experiment: Experiment,
    assumed: Assumptions,
    promoted: Share,
    n_runs: int,
    seed: np.random.SeedSequence,
) -> Iterator[Remedy]:
    """Yield the shortest interval that fits the other fields, if it promotes clearly more."""
    for times in _TIMES_SHORTER:
        interval, rest = divmod(experiment.interval_seconds, times)
        if rest or experiment.maximum_seconds > interval * _MOST_BLOCKS_OF_REMEDIES:
            continue
        finer = _changed(experiment, interval_seconds=interval)
        if finer is not None:
            share = _share_promoted(_decide(finer, assumed, n_runs, seed))
            error = math.hypot(share.standard_error, promoted.standard_error)
            if share.value > promoted.value + 2 * error:
                yield Remedy("interval_seconds", interval, share)
            return


def _longer(
    experiment: Experiment,
    assumed: Assumptions,
    n_runs: int,
    seeds: Iterator[np.random.SeedSequence],
    report: Callable[[str], None],
) -> Iterator[Remedy]:
    """Yield the time by which enough are promoted, or what the longest that is tried comes to."""
    remedy = None
    for times in _TIMES_LONGER:
        maximum = times * experiment.maximum_seconds
        longer = _changed(experiment, maximum_seconds=maximum)
        if longer is None or n_blocks_of(longer) > _MOST_BLOCKS:
            break
        report(f"simulating {times} times the time")
        decisions = _decide(longer, assumed, n_runs, next(seeds))
        remedy = Remedy("maximum_seconds", maximum, _share_promoted(decisions))
        if remedy.promoted.value >= POWER_WANTED:
            promoted = decisions.ends == ENDS.index(End.PROMOTED)
            seconds = np.where(promoted, decisions.seconds, np.inf)
            enough = float(np.quantile(seconds, POWER_WANTED, method="inverted_cdf"))
            by_then = Share(int((seconds <= enough).sum()), n_runs)
            remedy = Remedy("maximum_seconds", int(enough), by_then)
            break
    # So few runs may find that the time is enough as it is.
    if remedy is not None and remedy.value > experiment.maximum_seconds:
        yield remedy


def _share_promoted(decisions: Decisions) -> Share:
    promoted = decisions.ends == ENDS.index(End.PROMOTED)
    return Share(int(promoted.sum()), promoted.size)


def _changed(experiment: Experiment, **fields: int) -> Experiment | None:
    """Return the experiment with other values, or None if they do not fit the rest."""
    try:
        return Experiment.model_validate({**experiment.model_dump(), **fields})
    except ValidationError:
        return None
