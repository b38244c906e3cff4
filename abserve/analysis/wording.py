"""Numbers of an analysis as people say them: in tables, reports and headlines alike."""

import math

from abserve.analysis.analysis import Analysis, Finding
from abserve.experiment import Action

_MOST_PLAIN, _LEAST_PLAIN = 1_000_000, 0.0001
_LARGE = 100
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_ADVICE = {
    Action.PROMOTE: "the candidate may take the baseline's place",
    Action.ROLLBACK: "the baseline should stay",
    Action.CONTINUE: "it is too early to tell",
    Action.INVALID: "nothing may be concluded from these counts",
}


def headline(analysis: Analysis) -> str:
    """Return the decision and what it means."""
    action = analysis.decision.action
    return f"{action}: {_ADVICE[action]}"


def effect_in_words(analysis: Analysis) -> str:
    """Return how the candidate compares, with its interval.

    Examples
    --------
    >>> from abserve.experiment import Decision, Interval
    >>> effect_in_words(Analysis("reward", 0.05, Decision(Action.CONTINUE, ()), 0.018,
    ...                          Interval(0.003, 0.034)))
    '+1.80 points, between +0.30 and +3.40 at all times with 95 %'
    """
    if analysis.effect is None:
        return "not known"
    said = f"{points(analysis.effect)} points"
    if analysis.interval is None:
        return f"{said} on average, but no one difference fits all blocks: it changed over time"
    lower, upper = points(analysis.interval.lower), points(analysis.interval.upper)
    return f"{said}, between {lower} and {upper} at all times with {confidence(analysis)}"


def units_in_words(analysis: Analysis) -> str:
    n_blocks = analysis.n_blocks
    return (
        f"{analysis.n_baseline:,} units of the baseline and {analysis.n_candidate:,} of the "
        f"candidate, in {n_blocks:,} {'block' if n_blocks == 1 else 'blocks'}"
    )


def confidence(analysis: Analysis) -> str:
    return f"{100 * (1 - analysis.alpha):g} %"


def points(difference: float) -> str:
    """Return a difference of rates in percentage points, with its sign."""
    # Adding 0 takes the sign from what rounds to -0.
    return f"{round(100 * difference, 2) + 0.0:+.2f}"


def e_value(log_evidence: float | None) -> str:
    """Return an e-value that may be too large for a float.

    Examples
    --------
    >>> e_value(3.5), e_value(-9.0), e_value(1000.0), e_value(None)
    ('33.1', '0.00012', '10⁴³⁴', '-')
    """
    if log_evidence is None:
        return "-"
    if math.log(_LEAST_PLAIN) <= log_evidence <= math.log(_MOST_PLAIN):
        value = math.exp(log_evidence)
        if value >= _LARGE:
            return f"{value:,.0f}"
        return f"{value:.3g}" if value >= 1 else f"{value:.2g}"
    power = f"{log_evidence / math.log(10):.0f}"
    return f"10{power.translate(_RAISED)}"


def progress(finding: Finding) -> float:
    """Return how far the evidence has come towards its bar, on the scale of logarithms."""
    if finding.log_evidence is None:
        return 0.0
    return min(max(finding.log_evidence / finding.log_bar, 0.0), 1.0)


def metric_in_words(metric: str) -> str:
    return metric.replace("_", " ")
