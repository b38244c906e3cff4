"""Hold a version against the bars that its definition sets, before it is published.

A bar is absolute, or a margin on what the version that serves now reaches on the same held-out
rows. It is the measured number itself that decides; its interval of confidence is for the reader,
who chose the bar knowing how many rows there are to measure on. What could not be measured has not
passed, and there is no way around a gate: one that is too strict is changed in the definition,
where everybody sees it.
"""

import math
from collections.abc import Iterator, Mapping

from abserve.errors import GateError
from abserve.metadata import Estimate, Fingerprint, GateOutcome, Metadata, Parity, Slice
from training.definition import Bar, Gates
from training.evaluation import Evaluation
from training.metric_names import METRIC_NAMES

# Relative. A margin of 0.1 below 0.8 is not 0.7 to a computer.
_ROUNDING = 1e-12
_NOT_MEASURED = "could not be measured"


def judge(
    gates: Gates,
    candidate: Evaluation,
    slices: Mapping[str, Slice],
    serving: Evaluation | None,
    latency_ms: float,
    size_bytes: int,
    parity: Parity,
) -> tuple[GateOutcome, ...]:
    """Hold a version against every gate, whatever the others say.

    Parameters
    ----------
    gates : Gates
        The bars.
    candidate, serving : Evaluation
        Of the version and of the one that serves now, on the same rows. Where none serves, the
        bars against it have no outcome; `remarks` says so.
    slices : mapping of str to Slice
        The evaluation of the slices that the gates name.
    latency_ms, size_bytes, parity
        Of the model as it is served.

    Returns
    -------
    tuple of GateOutcome
        One for each bar, in the order of the gates.
    """
    return (
        *_of_metrics(gates.metrics, candidate.metrics),
        *(
            _outcome(f"recall of {name}", bar, _value(candidate.class_recall, name))
            for name, bar in gates.recall.items()
        ),
        *_against_serving(gates, candidate, serving),
        *(
            outcome
            for name, gate in gates.slices.items()
            for outcome in _of_metrics(
                gate.metrics, slices[name].metrics if name in slices else {}, f"{name}: "
            )
        ),
        *(
            _outcome(name, bar, found)
            for name, bar, found in (
                ("latency_ms", gates.latency_ms, latency_ms),
                ("size_bytes", gates.size_bytes, float(size_bytes)),
            )
            if bar is not None
        ),
        _of_parity(gates.parity, parity),
    )


def check(outcomes: tuple[GateOutcome, ...]) -> None:
    """Refuse a version that has not passed every gate.

    Raises
    ------
    GateError
        With all `outcomes`, and a sentence for each that failed.
    """
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if failed:
        sentences = "; ".join(_sentence(outcome) for outcome in failed)
        raise GateError(
            f"{len(failed)} of {len(outcomes)} gates failed, and nothing was published: "
            f"{sentences}. Improve the version, or state in the definition what is good enough",
            outcomes,
        )


def remarks(gates: Gates, data: Fingerprint, serving: Metadata | None) -> tuple[str, ...]:
    """Return what a reader of the outcomes against the version that serves now has to know."""
    if not gates.serving:
        return ()
    if serving is None:
        return (
            "No version served when this one was trained, so it was not compared with one: "
            f"gates.serving ({', '.join(gates.serving)}) did not apply",
        )
    if serving.data is not None and serving.data.sha256 == data.sha256:
        return ()
    return (
        f"{serving.version}, which served when this version was trained, was fitted on other data: "
        "rows that are held out here may have been among them, which favours it in the comparison",
    )


def _of_metrics(
    bars: Mapping[str, Bar], found: Mapping[str, Estimate], prefix: str = ""
) -> Iterator[GateOutcome]:
    for name, bar in bars.items():
        yield _outcome(f"{prefix}{name}", bar, _value(found, name))


def _against_serving(
    gates: Gates, candidate: Evaluation, serving: Evaluation | None
) -> Iterator[GateOutcome]:
    if serving is None:
        return
    for name, allowed in gates.serving.items():
        reached = _value(serving.metrics, name)
        margin = allowed.margin + _ROUNDING * abs(reached)
        higher_is_better = METRIC_NAMES[name].better == "higher"
        outcome = _held(
            f"{name} against serving",
            reached - margin if higher_is_better else reached + margin,
            _value(candidate.metrics, name),
            at_least=higher_is_better,
        )
        note = f"the version that serves has {reached:.6g}, the margin is {allowed.margin:.6g}"
        yield outcome if outcome.note else outcome.model_copy(update={"note": note})


def _of_parity(bar: Bar, parity: Parity) -> GateOutcome:
    outcome = _outcome("parity", bar, parity.largest_difference)
    if outcome.passed and not parity.n_different_labels:
        return outcome
    advice = "try another estimator, or another scale: trees need none, sums need one"
    if parity.n_different_labels:
        n_rows = parity.n_rows + parity.n_edge_rows
        advice = (
            f"{parity.n_different_labels} of {n_rows} rows get another label from the model as it "
            f"is served than from the fitted one; {advice}"
        )
    return outcome.model_copy(update={"passed": False, "note": advice})


def _outcome(gate: str, bar: Bar, found: float) -> GateOutcome:
    if bar.at_least is not None:
        return _held(gate, bar.at_least, found, at_least=True)
    limit = math.nan if bar.at_most is None else bar.at_most
    return _held(gate, limit, found, at_least=False)


def _held(gate: str, limit: float, found: float, *, at_least: bool) -> GateOutcome:
    by = found - limit if at_least else limit - found
    return GateOutcome(
        gate=gate,
        bar=f"at {'least' if at_least else 'most'} {limit:.6g}",
        found=found,
        by=by,
        # Not `not by < 0`: what is no number has not passed.
        passed=by >= 0,
        note=_NOT_MEASURED if math.isnan(by) else None,
    )


def _value(estimates: Mapping[str, Estimate], name: str) -> float:
    return estimates[name].value if name in estimates else math.nan


def _sentence(outcome: GateOutcome) -> str:
    if math.isnan(outcome.by):
        return f"{outcome.gate} {outcome.note}, expected {outcome.bar}"
    apart = "" if outcome.by >= 0 else f", {-outcome.by:.3g} away"
    note = f" ({outcome.note})" if outcome.note else ""
    return f"{outcome.gate} is {outcome.found:.6g}, expected {outcome.bar}{apart}{note}"
