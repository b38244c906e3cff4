"""One answer: the effect, the evidence for and against each bar, and what follows."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from abserve.analysis.experiment_file import Experiment
from abserve.analysis.observed import Observed
from abserve.analysis.questions import Comparison, Question, compare, compare_counts
from abserve.experiment import (
    SAMPLE_RATIO_BAR,
    Action,
    Blocks,
    Claim,
    Decision,
    Findings,
    Interval,
    Rules,
    decide,
    effect,
    interval,
    log_sample_ratio,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that can be shown, with the evidence for it now and the bar it has to reach.

    `statement` stands after "that". `log_evidence` is None if nothing was counted; `log_bar` is a
    natural logarithm as well. `effect` is candidate - baseline of this metric.
    """

    metric: str
    statement: str
    log_evidence: float | None
    log_bar: float
    effect: float | None = None

    @property
    def shown(self) -> bool:
        return self.log_evidence is not None and self.log_evidence >= self.log_bar


@dataclass(frozen=True, slots=True)
class LogEvidence:
    """Natural logarithms of the e-processes of the primary metric, and of the sample ratio.

    After the last block. `superiority` is against "at most as good", `non_inferiority` against
    "worse by the margin or more", `harm` against "worse by at most the margin". Without a margin,
    that is 0. None where nothing was counted, or the counts cannot be read.
    """

    superiority: float | None
    non_inferiority: float | None
    harm: float | None
    sample_ratio: float | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What can be said now.

    Parameters
    ----------
    metric : str
        The primary metric.
    alpha : float
        Of the rules: `interval` holds at all times with probability 1 - alpha.
    decision : Decision
        What to do, and why.
    effect : float or None
        Candidate - baseline of the primary metric; None while no block has units of both variants.
    interval : Interval or None
        Its confidence sequence; None if no one difference fits all blocks.
    log_evidence : LogEvidence
        Of the primary metric, and of the sample ratio.
    claims, harms : tuple of Finding
        All that must be shown for a promotion; each that is enough for a rollback.
    sample_ratio : Finding or None
        The highest evidence so far that units did not arrive in the weights. From its bar on the
        experiment is invalid.
    n_blocks : int
        Blocks that know the primary metric.
    n_baseline, n_candidate : int
        Units in them.
    """

    metric: str
    alpha: float
    decision: Decision
    effect: float | None = None
    interval: Interval | None = None
    log_evidence: LogEvidence = LogEvidence(None, None, None, None)
    claims: tuple[Finding, ...] = ()
    harms: tuple[Finding, ...] = ()
    sample_ratio: Finding | None = None
    n_blocks: int = 0
    n_baseline: int = 0
    n_candidate: int = 0

    @classmethod
    def invalid(cls, metric: str, rules: Rules, reasons: tuple[str, ...]) -> Self:
        """Return what can be said of counts that cannot be read: nothing but why."""
        return cls(metric, rules.alpha, Decision(Action.INVALID, reasons))

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON values; logarithms are natural, what is not known is null."""
        found = self.interval
        return {
            "decision": self.decision.action.value,
            "reasons": list(self.decision.reasons),
            "metric": self.metric,
            "alpha": self.alpha,
            "effect": self.effect,
            "interval": [found.lower, found.upper] if found else None,
            "log_evidence": asdict(self.log_evidence),
            "claims": [asdict(each) for each in self.claims],
            "harms": [asdict(each) for each in self.harms],
            "sample_ratio": asdict(self.sample_ratio) if self.sample_ratio else None,
            "n_blocks": self.n_blocks,
            "n_baseline": self.n_baseline,
            "n_candidate": self.n_candidate,
        }


def analyse(experiment: Experiment, observed: Observed) -> Analysis:
    """Analyse what was counted so far.

    Parameters
    ----------
    experiment : Experiment
        As it was written before the first block.
    observed : Observed
        All blocks since then.

    Raises
    ------
    ExperimentError
        If a block's counts are none that can be: a count is negative, or `k` exceeds `n`.
    """
    return conclude(compare(experiment, observed))


def analyse_counts(blocks: Blocks, rules: Rules, margin: float = 0.0) -> Analysis:
    """Analyse blocks of one rate, higher is better, and nothing else.

    Parameters
    ----------
    blocks : Blocks
        Of shape (n_blocks,); their units are also those of the sample ratio.
    rules : Rules
        When to decide.
    margin : float
        In [0, 1): 0 asks for superiority, more for non-inferiority by that margin.
    """
    return conclude(compare_counts(blocks, rules, margin))


def conclude(comparison: Comparison) -> Analysis:
    """Answer all that is asked of the counts, and decide."""
    rules, primary = comparison.rules, comparison.primary.blocks
    log_bar = -math.log(rules.alpha)
    log_harm_bar = log_bar + math.log(len(comparison.harms))
    claims = tuple(_finding(each, log_bar) for each in comparison.claims)
    harms = tuple(_finding(each, log_harm_bar) for each in comparison.harms)
    ratio = log_sample_ratio(comparison.units.blocks)
    highest_ratio = float(ratio.max(initial=0.0))
    n_baseline, n_candidate = int(primary.n_baseline.sum()), int(primary.n_candidate.sum())
    decision = decide(
        Findings(
            claims=[Claim(each.statement, each.log_evidence) for each in claims],
            harms=[Claim(each.statement, each.log_evidence) for each in harms],
            log_sample_ratio=highest_ratio,
            n_baseline=n_baseline,
            n_candidate=n_candidate,
            elapsed_seconds=comparison.elapsed_seconds,
            interference=comparison.interference,
            missing=comparison.missing,
        ),
        rules,
    )
    # The claim is the same question where it has no margin.
    asks_superiority = comparison.superiority.difference == comparison.claims[0].difference
    return Analysis(
        metric=comparison.metric,
        alpha=rules.alpha,
        decision=decision,
        effect=effect(primary),
        interval=interval(primary, rules.alpha),
        log_evidence=LogEvidence(
            superiority=claims[0].log_evidence
            if asks_superiority
            else _last(comparison.superiority.log_evidence()),
            non_inferiority=claims[0].log_evidence,
            harm=harms[0].log_evidence,
            sample_ratio=_last(ratio),
        ),
        claims=claims,
        harms=harms,
        sample_ratio=Finding(
            "sample_ratio",
            "units did not arrive in the configured weights",
            highest_ratio if ratio.size else None,
            math.log(SAMPLE_RATIO_BAR),
        ),
        n_blocks=primary.n_blocks,
        n_baseline=n_baseline,
        n_candidate=n_candidate,
    )


def _finding(question: Question, log_bar: float) -> Finding:
    return Finding(
        question.metric,
        question.statement,
        _last(question.log_evidence()),
        log_bar,
        effect(question.counted.blocks),
    )


def _last(evidence: NDArray[np.float64]) -> float | None:
    return float(evidence[-1]) if evidence.size else None
