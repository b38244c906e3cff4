"""One answer: the effect, the evidence for and against each bar, and what follows.

::

    primary metric   shown better (or not worse by the margin)   ┐ all of them
    each guardrail   shown not worse by its margin               ┘ for a promotion
    primary metric   shown worse (by more than the margin)       ┐ one of them
    each guardrail   shown worse by more than its margin         ┘ for a rollback

A metric is a rate or a mean in [0, 1] per variant. Of the prediction drift there is one rate per
class, and each may move neither up nor down.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abserve.analysis.experiment_file import Experiment, Latency, PredictionDrift
from abserve.analysis.observed import Observed
from abserve.experiment import (
    Alternative,
    Blocks,
    Claim,
    Decision,
    Findings,
    Interval,
    Rules,
    decide,
    effect,
    interval,
    log_evidence,
    log_sample_ratio,
)

DRIFT_OF = "prediction_drift:"


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim of one metric, with its evidence now and the bar it has to reach.

    `log_evidence` is None if nothing was counted; `log_bar` is a natural logarithm as well.
    """

    metric: str
    statement: str
    log_evidence: float | None
    log_bar: float


@dataclass(frozen=True, slots=True)
class LogEvidence:
    """Natural logarithms of the e-processes of the primary metric, and of the sample ratio.

    `superiority` is against "at most as good", `non_inferiority` against "worse by the margin or
    more", `harm` against "worse by at most the margin". Without a margin, that is 0. None where
    the counts cannot be read.
    """

    superiority: float | None
    non_inferiority: float | None
    harm: float | None
    sample_ratio: float | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What can be said now.

    `effect` is candidate - baseline of the primary metric, None while no block has units of both
    variants; `interval` its confidence sequence at 1 - alpha, None if no difference fits all
    blocks.
    """

    decision: Decision
    effect: float | None
    interval: Interval | None
    log_evidence: LogEvidence
    claims: tuple[Finding, ...] = ()
    harms: tuple[Finding, ...] = ()
    n_baseline: int = 0
    n_candidate: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON values; logarithms are natural, what is not known is null."""
        found = self.interval
        return {
            "decision": self.decision.action.value,
            "reasons": list(self.decision.reasons),
            "effect": self.effect,
            "interval": [found.lower, found.upper] if found else None,
            "log_evidence": {
                "superiority": self.log_evidence.superiority,
                "non_inferiority": self.log_evidence.non_inferiority,
                "harm": self.log_evidence.harm,
                "sample_ratio": self.log_evidence.sample_ratio,
            },
            "claims": [_finding_json(each) for each in self.claims],
            "harms": [_finding_json(each) for each in self.harms],
            "n_baseline": self.n_baseline,
            "n_candidate": self.n_candidate,
        }


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of one metric: evidence that it exceeds, or falls below, a difference."""

    metric: str
    statement: str
    blocks: Blocks
    difference: float
    alternative: Alternative

    def log_evidence(self) -> float | None:
        return _last(log_evidence(self.blocks, self.difference, self.alternative))

    def claim(self) -> Claim:
        return Claim(self.statement, self.log_evidence())


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
    claims, harms = [], []
    for claim, harm in _questions(experiment, observed):
        claims.append(claim)
        harms.append(harm)
    primary = observed.metric(experiment.primary.metric)
    return _analysis(
        primary,
        units=observed.units(),
        claims=claims,
        harms=harms,
        difference=experiment.difference,
        rules=experiment.rules,
        lower_is_better=experiment.primary.direction == "lower",
        elapsed_seconds=observed.elapsed_seconds,
        interference=observed.interference,
        missing=observed.missing,
    )


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
    better, worse = _primary_statements("success rate", margin, lower_is_better=False)
    return _analysis(
        blocks,
        units=blocks,
        claims=[_Question("success_rate", better, blocks, -margin, "greater")],
        harms=[_Question("success_rate", worse, blocks, -margin, "less")],
        difference=-margin,
        rules=rules,
    )


def _analysis(
    primary: Blocks,
    *,
    units: Blocks,
    claims: Sequence[_Question],
    harms: Sequence[_Question],
    difference: float,
    rules: Rules,
    lower_is_better: bool = False,
    elapsed_seconds: float = 0.0,
    interference: Sequence[str] = (),
    missing: Sequence[str] = (),
) -> Analysis:
    better = primary.failures() if lower_is_better else primary
    ratio = log_sample_ratio(units)
    n_baseline, n_candidate = int(primary.n_baseline.sum()), int(primary.n_candidate.sum())
    shown = [each.claim() for each in claims]
    harmed = [each.claim() for each in harms]
    decision = decide(
        Findings(
            claims=shown,
            harms=harmed,
            log_sample_ratio=float(ratio.max(initial=0.0)),
            n_baseline=n_baseline,
            n_candidate=n_candidate,
            elapsed_seconds=elapsed_seconds,
            interference=interference,
            missing=missing,
        ),
        rules,
    )
    bar, harm_bar = -np.log(rules.alpha), np.log(len(harms) / rules.alpha)
    return Analysis(
        decision,
        effect=effect(primary),
        interval=interval(primary, rules.alpha),
        log_evidence=LogEvidence(
            superiority=_last(log_evidence(better, 0.0, "greater")),
            non_inferiority=_last(log_evidence(better, difference, "greater")),
            harm=_last(log_evidence(better, difference, "less")),
            sample_ratio=_last(ratio),
        ),
        claims=tuple(_finding(q, c, bar) for q, c in zip(claims, shown, strict=True)),
        harms=tuple(_finding(q, c, harm_bar) for q, c in zip(harms, harmed, strict=True)),
        n_baseline=n_baseline,
        n_candidate=n_candidate,
    )


def _questions(experiment: Experiment, observed: Observed) -> Iterator[tuple[_Question, _Question]]:
    """Yield what is to be shown for a promotion, each with its harm."""
    primary = experiment.primary
    blocks = observed.metric(primary.metric)
    lower = primary.direction == "lower"
    better, worse = _primary_statements(
        primary.metric, primary.margin or 0.0, lower_is_better=lower
    )
    difference = -experiment.difference if lower else experiment.difference
    yield _both_sides(primary.metric, blocks, difference, better, worse, falls=lower)
    for guardrail in experiment.guardrails:
        margin = guardrail.margin
        if isinstance(guardrail, PredictionDrift):
            for name in observed.classes:
                metric = f"{DRIFT_OF}{name}"
                blocks = observed.metric(metric)
                share = f"its share of predictions {name!r} is"
                yield _both_sides(
                    metric,
                    blocks,
                    -margin,
                    f"{share} less than {margin:g} below the baseline's",
                    f"{share} more than {margin:g} below the baseline's",
                )
                yield _both_sides(
                    metric,
                    blocks,
                    margin,
                    f"{share} less than {margin:g} above the baseline's",
                    f"{share} more than {margin:g} above the baseline's",
                    falls=True,
                )
        elif isinstance(guardrail, Latency):
            share = f"its share of answers within {guardrail.within_seconds:g} s is"
            yield _both_sides(
                guardrail.metric,
                observed.metric(guardrail.metric),
                -margin,
                f"{share} less than {margin:g} below the baseline's",
                f"{share} more than {margin:g} below the baseline's",
            )
        else:
            said = f"its {guardrail.metric.replace('_', ' ')} is"
            yield _both_sides(
                guardrail.metric,
                observed.metric(guardrail.metric),
                margin,
                f"{said} less than {margin:g} above the baseline's",
                f"{said} more than {margin:g} above the baseline's",
                falls=True,
            )


def _both_sides(
    metric: str, blocks: Blocks, difference: float, good: str, bad: str, *, falls: bool = False
) -> tuple[_Question, _Question]:
    up: tuple[Alternative, Alternative] = ("greater", "less")
    claim, harm = reversed(up) if falls else up
    return (
        _Question(metric, good, blocks, difference, claim),
        _Question(metric, bad, blocks, difference, harm),
    )


def _primary_statements(metric: str, margin: float, *, lower_is_better: bool) -> tuple[str, str]:
    better, worse = ("lower", "higher") if lower_is_better else ("higher", "lower")
    if not margin:
        return (
            f"its {metric} is {better} than the baseline's",
            f"its {metric} is {worse} than the baseline's",
        )
    side = "above" if lower_is_better else "below"
    return (
        f"its {metric} is less than {margin:g} {side} the baseline's",
        f"its {metric} is more than {margin:g} {side} the baseline's",
    )


def _finding(question: _Question, claim: Claim, bar: float) -> Finding:
    return Finding(question.metric, question.statement, claim.log_evidence, float(bar))


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "metric": finding.metric,
        "statement": finding.statement,
        "log_evidence": finding.log_evidence,
        "log_bar": finding.log_bar,
    }


def _last(evidence: NDArray[np.float64]) -> float | None:
    return float(evidence[-1]) if evidence.size else None
