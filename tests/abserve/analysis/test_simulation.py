"""Simulations decide as the analysis does, and come to what the methods promise."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abserve.analysis import Counts, Experiment, Observed, ObservedBlock, analyse
from abserve.analysis.assumptions import Assumptions, Drawn, draw, weights
from abserve.analysis.outcomes import Duration, End, Share
from abserve.analysis.simulation import ENDS, first_decisions, simulate
from abserve.errors import ExperimentError
from abserve.experiment import Action, Blocks

GUARDRAILS = [
    {"metric": "error_rate", "margin": 0.1},
    {"metric": "rejection_rate", "margin": 0.2},
    {"metric": "latency", "within_seconds": 0.05, "margin": 0.1},
    {"metric": "prediction_drift", "margin": 0.2},
]


def experiment(**fields: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "deployment": "iris",
            "primary": {"metric": "accuracy"},
            "interval_seconds": 60,
            "maturity_seconds": 0,
            "maximum_seconds": 6000,
            "weight_steps": [50],
            "step_seconds": 6000,
            **fields,
        }
    )


def quietly(_: str) -> None:
    """Report nothing."""


# As it is decided block by block.


def counts(blocks: Blocks, run: int, block: int) -> Counts:
    return Counts(
        int(blocks.n_baseline[run, block]),
        float(blocks.k_baseline[run, block]),
        int(blocks.n_candidate[run, block]),
        float(blocks.k_candidate[run, block]),
    )


def observed(stated: Experiment, assumed: Assumptions, drawn: Drawn, run: int, n: int) -> Observed:
    """Return what is known of a run at the end of its `n`-th block."""
    interval, primary = stated.interval_seconds, stated.primary.metric
    now = n * interval
    return Observed(
        tuple(
            ObservedBlock(
                number=block + 1,
                began_at=float(block * interval),
                ended_at=float((block + 1) * interval),
                weight_candidate=float(drawn.units.weight_candidate[run, block]),
                units=counts(drawn.units, run, block),
                by_metric={
                    name: counts(blocks, run, block)
                    for name, blocks in drawn.by_metric.items()
                    if name != primary or (block + 1) * interval + stated.maturity_seconds <= now
                },
            )
            for block in range(n)
        ),
        elapsed_seconds=float(now),
        classes=assumed.classes,
    )


def first_decision(
    stated: Experiment, assumed: Assumptions, drawn: Drawn, run: int
) -> tuple[End, float]:
    n = 0
    action = Action.CONTINUE
    while action is Action.CONTINUE:
        n += 1
        decision = analyse(stated, observed(stated, assumed, drawn, run, n)).decision
        action = decision.action
    if action is Action.ROLLBACK and decision.reasons[0].startswith("the time of"):
        return End.UNDECIDED, float(n * stated.interval_seconds)
    ends = {
        Action.PROMOTE: End.PROMOTED,
        Action.ROLLBACK: End.ROLLED_BACK,
        Action.INVALID: End.INVALID,
    }
    return ends[action], float(n * stated.interval_seconds)


SMALL = {
    "ramp": (
        experiment(
            guardrails=GUARDRAILS,
            maximum_seconds=720,
            weight_steps=[10, 25, 50],
            step_seconds=120,
            maturity_seconds=90,
        ),
        Assumptions(0.5, 0.75, 6000, n_classes=3, error_rate=0.02, within_share=0.97),
    ),
    "worse": (
        experiment(maximum_seconds=700, step_seconds=600, guardrails=GUARDRAILS[:1]),
        Assumptions(0.6, 0.4, 6000),
    ),
    "no harm, few units": (
        experiment(maximum_seconds=600, step_seconds=600, alpha=0.5, minimum_units=150),
        Assumptions(0.5, 0.55, 3000, labelled=0.5),
    ),
    "not before a time": (
        experiment(maximum_seconds=600, step_seconds=600, alpha=0.3, minimum_seconds=400),
        Assumptions(0.5, 0.7, 3000),
    ),
    "lower is better, within a margin": (
        experiment(
            primary={
                "metric": "reward",
                "direction": "lower",
                "claim": "non-inferiority",
                "margin": 0.1,
            },
            maximum_seconds=600,
            step_seconds=300,
            weight_steps=[30, 60],
            maturity_seconds=60,
        ),
        Assumptions(0.4, 0.42, 9000),
    ),
    "hardly any requests": (
        experiment(maximum_seconds=600, step_seconds=600, alpha=0.9),
        Assumptions(0.5, 0.9, 60, labelled=0.3),
    ),
}


@pytest.mark.parametrize(("stated", "assumed"), SMALL.values(), ids=SMALL.keys())
def test_every_run_is_decided_as_the_analysis_decides(
    stated: Experiment, assumed: Assumptions
) -> None:
    drawn = draw(stated, assumed, 25, np.random.default_rng(20261121))
    decisions = first_decisions(stated, assumed, drawn)
    assert [
        (ENDS[end], seconds) for end, seconds in zip(decisions.ends, decisions.seconds, strict=True)
    ] == [first_decision(stated, assumed, drawn, run) for run in range(25)]


def test_the_runs_above_end_in_every_way_but_by_mismatch() -> None:
    ends = {
        ENDS[end]
        for stated, assumed in SMALL.values()
        for end in first_decisions(
            stated, assumed, draw(stated, assumed, 25, np.random.default_rng(20261121))
        ).ends
    }
    assert ends == {End.PROMOTED, End.ROLLED_BACK, End.UNDECIDED}


def test_a_sample_ratio_mismatch_is_invalid_as_in_the_analysis() -> None:
    stated, assumed = experiment(maximum_seconds=6000), Assumptions(0.5, 0.5, 6000)
    drawn = draw(stated, assumed, 10, np.random.default_rng(1))
    units = drawn.units
    lossy = replace(
        drawn,
        units=Blocks.from_columns(
            units.weight_candidate, units.n_baseline, 0, units.n_candidate // 2, 0
        ),
    )
    decisions = first_decisions(stated, assumed, lossy)
    assert {ENDS[end] for end in decisions.ends} == {End.INVALID}
    assert decisions.seconds.tolist() == [
        first_decision(stated, assumed, lossy, run)[1] for run in range(10)
    ]


# What is drawn.


def test_each_weight_lasts_its_step_and_the_last_one_stays() -> None:
    stated = experiment(weight_steps=[10, 25, 50], step_seconds=120, maximum_seconds=500)
    assert weights(stated).tolist() == [10, 10, 25, 25, 50, 50, 50, 50, 50]


def test_what_is_drawn_has_the_assumed_rates() -> None:
    stated = experiment(guardrails=GUARDRAILS, weight_steps=[20])
    assumed = Assumptions(
        0.9,
        0.8,
        60_000,
        labelled=0.5,
        error_rate=0.1,
        rejection_rate=0.2,
        within_share=0.7,
        n_classes=4,
    )
    drawn = draw(stated, assumed, 20, np.random.default_rng(1))
    units = drawn.units
    n = units.n_baseline.sum() + units.n_candidate.sum()
    assert n == pytest.approx(20 * 100_000, rel=0.01)
    assert units.n_candidate.sum() / n == pytest.approx(0.2, abs=0.002)
    answered = drawn.by_metric["latency"]
    assert answered.n_baseline.sum() / units.n_baseline.sum() == pytest.approx(0.7, abs=0.002)
    primary = drawn.by_metric["accuracy"]
    assert primary.n_baseline.sum() / answered.n_baseline.sum() == pytest.approx(0.5, abs=0.002)
    for name, baseline, candidate in (
        ("accuracy", 0.9, 0.8),
        ("error_rate", 0.1, 0.1),
        ("rejection_rate", 0.2, 0.2),
        ("latency", 0.7, 0.7),
        ("prediction_drift:1", 0.25, 0.25),
        ("prediction_drift:4", 0.25, 0.25),
    ):
        blocks = drawn.by_metric[name]
        rates = (
            blocks.k_baseline.sum() / blocks.n_baseline.sum(),
            blocks.k_candidate.sum() / blocks.n_candidate.sum(),
        )
        # Of 200,000 units at least: four standard errors of a half.
        assert rates == pytest.approx((baseline, candidate), abs=4 * 0.5 / np.sqrt(200_000)), name


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"baseline": 1.5}, "baseline is assumed to be 1.5; expected a rate"),
        ({"candidate": float("nan")}, "candidate is assumed to be nan; expected a rate"),
        ({"units_per_hour": 0}, "units per hour are assumed to be 0; expected a number above 0"),
        ({"units_per_hour": float("inf")}, "units per hour are assumed to be inf"),
        ({"labelled": 0}, "the share of units with feedback is assumed to be 0"),
        ({"error_rate": 0.5, "rejection_rate": 0.5}, "expected less than 1 together"),
        ({"n_classes": 65}, "65 classes are assumed; expected from 2 to 64"),
        ({"n_classes": 1}, "1 classes are assumed; expected from 2 to 64"),
    ],
    ids=str,
)
def test_impossible_assumptions_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        Assumptions(**{"baseline": 0.9, "candidate": 0.9, "units_per_hour": 100, **fields})


# What it comes to, of 2,000 runs each.

N_RUNS = 2000
UNITS_PER_HOUR = 200 * 60


def share_at_most(alpha: float) -> float:
    return alpha + 3 * float(np.sqrt(alpha * (1 - alpha) / N_RUNS))


@pytest.mark.parametrize(
    ("weight", "baseline", "candidate", "power"), [(50, 0.10, 0.12, 0.85), (10, 0.02, 0.04, 0.93)]
)
def test_power_is_that_of_the_method(
    weight: int, baseline: float, candidate: float, power: float
) -> None:
    """20,000 units in 100 blocks."""
    stated = experiment(weight_steps=[weight])
    assumed = Assumptions(baseline, candidate, UNITS_PER_HOUR, error_rate=0.0, rejection_rate=0.0)
    simulation = simulate(stated, assumed, N_RUNS, 20260306, quietly)
    assert simulation.claim_is_true
    assert simulation.as_assumed.ends[End.PROMOTED].value >= power
    assert simulation.remedies == ()
    border = simulation.at_the_border
    assert border.ends[End.PROMOTED].value <= share_at_most(stated.alpha)
    assert border.ends[End.ROLLED_BACK].value <= share_at_most(stated.alpha)


def test_non_inferiority_at_the_margin_is_seldom_promoted() -> None:
    stated = experiment(
        primary={"metric": "accuracy", "claim": "non-inferiority", "margin": 0.03},
        weight_steps=[5, 10, 25, 50, 75],
        step_seconds=1200,
        maturity_seconds=300,
    )
    assumed = Assumptions(0.10, 0.10, UNITS_PER_HOUR)
    simulation = simulate(stated, assumed, N_RUNS, 20260307, quietly)
    assert simulation.at_the_border.candidate == pytest.approx(0.07)
    assert simulation.at_the_border.ends[End.PROMOTED].value <= share_at_most(stated.alpha)
    assert simulation.at_the_border.ends[End.ROLLED_BACK].value <= share_at_most(stated.alpha)
    assert simulation.as_assumed.ends[End.PROMOTED].value > 0.9


def test_where_lower_is_better_the_border_is_above() -> None:
    primary = {
        "metric": "reward",
        "direction": "lower",
        "claim": "non-inferiority",
        "margin": 0.05,
    }
    assumed = Assumptions(0.10, 0.10, UNITS_PER_HOUR)
    simulation = simulate(experiment(primary=primary), assumed, 10, 1, quietly)
    assert simulation.at_the_border.candidate == pytest.approx(0.15)
    assert simulation.claim_is_true


def test_a_margin_below_which_nothing_is_left_is_refused() -> None:
    primary = {"metric": "accuracy", "claim": "non-inferiority", "margin": 0.2}
    with pytest.raises(ExperimentError, match="no candidate can be worse by that"):
        simulate(experiment(primary=primary), Assumptions(0.1, 0.1, 100), 10, 1, quietly)


def test_a_candidate_of_which_the_claim_is_false_is_said_to_be_so() -> None:
    simulation = simulate(experiment(), Assumptions(0.5, 0.4, 6000), 20, 1, quietly)
    assert not simulation.claim_is_true
    assert simulation.as_assumed.ends[End.ROLLED_BACK].value > 0.9
    assert simulation.remedies == ()


def test_where_power_is_low_more_time_is_proposed_and_is_enough() -> None:
    stated = experiment(maximum_seconds=6000)
    assumed = Assumptions(0.10, 0.113, UNITS_PER_HOUR)
    simulation = simulate(stated, assumed, 300, 1, quietly)
    assert simulation.as_assumed.ends[End.PROMOTED].value < 0.7
    (remedy,) = simulation.remedies
    assert remedy.field == "maximum_seconds"
    mended = experiment(maximum_seconds=remedy.value)
    promoted = simulate(mended, assumed, 300, 2, quietly).as_assumed.ends[End.PROMOTED]
    assert promoted.value == pytest.approx(0.8, abs=4 * np.hypot(0.024, 0.024))


def test_where_blocks_are_too_few_a_shorter_interval_is_proposed() -> None:
    stated = experiment(interval_seconds=3000, step_seconds=6000)
    assumed = Assumptions(0.10, 0.12, UNITS_PER_HOUR)
    simulation = simulate(stated, assumed, 300, 1, quietly)
    assert simulation.as_assumed.ends[End.PROMOTED].value < 0.8
    assert ("interval_seconds", 300) in [(each.field, each.value) for each in simulation.remedies]


def test_the_same_seed_gives_the_same_answer() -> None:
    assumed = Assumptions(0.10, 0.11, UNITS_PER_HOUR)
    first, again, other = (simulate(experiment(), assumed, 20, seed, quietly) for seed in (7, 7, 8))
    assert first == again
    assert first.as_assumed != other.as_assumed


def test_too_many_blocks_are_refused() -> None:
    stated = experiment(interval_seconds=1, maximum_seconds=1_000_001)
    with pytest.raises(ExperimentError, match="1000001 blocks; expected at most 1000000"):
        simulate(stated, Assumptions(0.1, 0.2, 100), 1, 1, quietly)


def test_one_run_says_nothing_of_the_error_of_a_mean() -> None:
    assert Duration.of(np.array([60.0])) == Duration(60.0, None, 60.0)


def test_none_of_a_few_runs_is_not_taken_for_never() -> None:
    assert Share(0, 10).value == 0
    assert Share(0, 10).standard_error > 0.05
