"""What follows from the evidence? One of four actions, and the reasons for it.

::

    INVALID    the units did not arrive in the weights, or somebody changed the deployment
    ROLLBACK   one of K harms is shown (evidence of K / alpha); or the time is over
    PROMOTE    every claim is shown (evidence of 1 / alpha each), after enough units and time
    CONTINUE   otherwise

The first that applies. All claims must be shown, so that a false promotion needs the evidence for a
false claim to reach its own bar: alpha is not split among them. One harm is enough for a rollback,
so alpha is split among the harms (Bonferroni).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from abserve.errors import ExperimentError
from abserve.experiment.sample_ratio import SAMPLE_RATIO_BAR

_MOST_SHOWN, _LEAST_SHOWN = 1_000_000, 0.001


class Action(StrEnum):
    PROMOTE = "PROMOTE"
    ROLLBACK = "ROLLBACK"
    CONTINUE = "CONTINUE"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why: sentences, the weightiest first."""

    action: Action
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """Something about the candidate that can be shown, and the evidence for it so far.

    Parameters
    ----------
    statement : str
        As it stands after "that": "its accuracy is higher than the baseline's".
    log_evidence : float or None
        Natural logarithm of the e-process now; None if nothing was counted.
    """

    statement: str
    log_evidence: float | None

    def __post_init__(self) -> None:
        if self.log_evidence is not None and not math.isfinite(self.log_evidence):
            raise ExperimentError(
                f"evidence that {self.statement} is {self.log_evidence}; expected a finite number, "
                "or None if nothing was counted"
            )


@dataclass(frozen=True, slots=True)
class Rules:
    """When to decide.

    Parameters
    ----------
    alpha : float
        In (0, 1): the probability of promoting a candidate of which a claim is false; and that of
        rolling back one that does no harm.
    minimum_units : int
        That each variant must have served before a promotion.
    minimum_seconds : float
        That must have passed before a promotion.
    maximum_seconds : float
        After which the baseline stays unless the candidate is promoted.
    """

    alpha: float = 0.05
    minimum_units: int = 0
    minimum_seconds: float = 0.0
    maximum_seconds: float = math.inf

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ExperimentError(
                f"alpha is {self.alpha:g}; expected a number between 0 and 1, as 0.05"
            )
        if self.minimum_units < 0:
            raise ExperimentError(
                f"the minimum number of units is {self.minimum_units}; expected at least 0"
            )
        if not 0 <= self.minimum_seconds <= self.maximum_seconds:
            raise ExperimentError(
                f"the experiment takes from {self.minimum_seconds:g} to {self.maximum_seconds:g} "
                "seconds; expected a minimum of at least 0 and no more than the maximum"
            )


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known at one moment.

    Parameters
    ----------
    claims : sequence of Claim
        The primary metric's first, then one per guardrail: all must be shown for a promotion.
    harms : sequence of Claim
        Any of them is enough for a rollback. Their number must not depend on the counts.
    log_sample_ratio : float
        The largest evidence against the configured weights so far: more units do not mend it.
    n_baseline, n_candidate : int
        Units that each variant has served.
    elapsed_seconds : float
        Since the first block began.
    interference : sequence of str
        Sentences that say what somebody else changed.
    missing : sequence of str
        Sentences that say what could not be learned: nothing is promoted without it.
    """

    claims: Sequence[Claim]
    harms: Sequence[Claim]
    log_sample_ratio: float
    n_baseline: int
    n_candidate: int
    elapsed_seconds: float
    interference: Sequence[str] = ()
    missing: Sequence[str] = ()


def decide(findings: Findings, rules: Rules) -> Decision:
    """Decide what to do now.

    Parameters
    ----------
    findings : Findings
        From one and the same set of blocks.
    rules : Rules
        Fixed before the experiment began.

    Returns
    -------
    Decision
        With at least one reason.

    Raises
    ------
    ExperimentError
        If no claim is to be shown: nothing would then stand against a promotion.

    Examples
    --------
    >>> better = Claim("its accuracy is higher than the baseline's", log_evidence=3.5)
    >>> worse = Claim("its accuracy is lower than the baseline's", log_evidence=-2.0)
    >>> decision = decide(Findings([better], [worse], 0.3, 4100, 3900, 7200.0), Rules())
    >>> print(decision.action)
    PROMOTE
    >>> print(decision.reasons[0])
    it is shown that its accuracy is higher than the baseline's: e-value 33.1, 20 needed
    """
    if not findings.claims:
        raise ExperimentError("no claim is to be shown; expected at least the primary metric's")
    faults = _faults(findings)
    if faults:
        return Decision(Action.INVALID, faults)
    harm_bar = len(findings.harms) / rules.alpha
    shown_harms = tuple(_said(harm, harm_bar) for harm in findings.harms if _shown(harm, harm_bar))
    if shown_harms:
        return Decision(Action.ROLLBACK, shown_harms)
    bar = 1 / rules.alpha
    lacks = tuple(_said(claim, bar) for claim in findings.claims if not _shown(claim, bar))
    lacks += _unmet(findings, rules) + tuple(findings.missing)
    if not lacks:
        return Decision(Action.PROMOTE, tuple(_said(claim, bar) for claim in findings.claims))
    if findings.elapsed_seconds >= rules.maximum_seconds:
        over = f"the time of {rules.maximum_seconds:g} seconds is over, so the baseline stays"
        return Decision(Action.ROLLBACK, (over, *lacks))
    return Decision(Action.CONTINUE, lacks)


def _faults(findings: Findings) -> tuple[str, ...]:
    faults = tuple(findings.interference)
    if findings.log_sample_ratio >= math.log(SAMPLE_RATIO_BAR):
        faults += (
            "units did not arrive in the configured weights: e-value "
            f"{_e_value(findings.log_sample_ratio)}, {SAMPLE_RATIO_BAR:g} is proof; find out "
            "whether routing or counting is at fault, then start the experiment anew",
        )
    return faults


def _unmet(findings: Findings, rules: Rules) -> tuple[str, ...]:
    unmet = tuple(
        f"the {variant} has {n} of at least {rules.minimum_units} units that can be judged"
        for variant, n in (("baseline", findings.n_baseline), ("candidate", findings.n_candidate))
        if n < rules.minimum_units
    )
    if findings.elapsed_seconds < rules.minimum_seconds:
        unmet += (
            f"{findings.elapsed_seconds:g} of at least {rules.minimum_seconds:g} seconds have "
            "passed",
        )
    return unmet


def _shown(claim: Claim, bar: float) -> bool:
    return claim.log_evidence is not None and claim.log_evidence >= math.log(bar)


def _said(claim: Claim, bar: float) -> str:
    if claim.log_evidence is None:
        return f"it cannot be said whether {claim.statement}: nothing was counted"
    state = "it is shown" if _shown(claim, bar) else "it is not yet shown"
    e_value = _e_value(claim.log_evidence)
    return f"{state} that {claim.statement}: e-value {e_value}, {bar:g} needed"


def _e_value(log_evidence: float) -> str:
    if log_evidence > math.log(_MOST_SHOWN):
        return f"above {_MOST_SHOWN}"
    if log_evidence < math.log(_LEAST_SHOWN):
        return f"below {_LEAST_SHOWN}"
    e_value = math.exp(log_evidence)
    return f"{e_value:.1f}" if e_value >= 1 else f"{e_value:.2g}"
