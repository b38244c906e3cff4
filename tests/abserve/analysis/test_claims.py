"""What a decision promises, tested as a promise: 2,000 experiments each, with all guardrails.

Each experiment is looked at after each of its 40 blocks, and counts if any look would promote (or
roll back) it. The tolerance is 3 standard errors of a share of 2,000.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from abserve.analysis import Counts, Observed, ObservedBlock, Question, analyse, compare
from abserve.experiment import Action, Blocks
from tests.abserve.analysis.values import DRIFT, ERRORS, LATENCY, REJECTIONS, experiment

N_EXPERIMENTS, N_BLOCKS, N_UNITS = 2000, 40, 1000
ALPHA = 0.05
HIGHEST = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / N_EXPERIMENTS)

STATED = experiment(guardrails=[ERRORS, REJECTIONS, LATENCY, DRIFT], alpha=ALPHA)
CLASSES = ("setosa", "virginica")
WEIGHTS = np.repeat([10, 25, 50, 75], N_BLOCKS // 4)
# The base rate drifts while the weight is raised.
BASE = np.linspace(0.6, 0.9, N_BLOCKS)

Metrics = Mapping[str, Blocks]

# Candidate - baseline of each metric: nothing is different, and nothing stands in the way.
EQUAL = {
    "accuracy": 0.0,
    "error_rate": 0.0,
    "rejection_rate": 0.0,
    "latency": 0.0,
    "prediction_drift:setosa": 0.0,
}
RATES = {
    "accuracy": BASE,
    "error_rate": np.full(N_BLOCKS, 0.01),
    "rejection_rate": np.full(N_BLOCKS, 0.01),
    "latency": np.full(N_BLOCKS, 0.97),
    "prediction_drift:setosa": BASE - 0.3,
}


def simulate(seed: int, **differences: float) -> Metrics:
    """Return blocks of shape (experiments, blocks) for each metric."""
    rng = np.random.default_rng(seed)
    shape = (N_EXPERIMENTS, N_BLOCKS)
    n_candidate = rng.binomial(N_UNITS, WEIGHTS / 100, shape)
    n_baseline = N_UNITS - n_candidate
    metrics = {
        name: Blocks.from_columns(
            WEIGHTS,
            n_baseline,
            rng.binomial(n_baseline, RATES[name]),
            n_candidate,
            rng.binomial(n_candidate, RATES[name] + difference),
        )
        for name, difference in {**EQUAL, **differences}.items()
    }
    # Of two classes, what is not the one is the other.
    metrics["prediction_drift:virginica"] = metrics["prediction_drift:setosa"].failures()
    return metrics


def evidence(questions: tuple[Question, ...], metrics: Metrics) -> np.ndarray:
    """Answer the questions that an analysis asks, of all experiments at once."""
    return np.stack(
        [
            replace(each, counted=replace(each.counted, blocks=metrics[each.metric])).log_evidence()
            for each in questions
        ]
    )


ASKED = compare(STATED, Observed((), 0.0, CLASSES))


def share_promoted(metrics: Metrics) -> float:
    all_shown = (evidence(ASKED.claims, metrics) >= -np.log(ALPHA)).all(axis=0)
    return float(all_shown.any(axis=-1).mean())


def share_rolled_back(metrics: Metrics) -> float:
    any_shown = (evidence(ASKED.harms, metrics) >= np.log(len(ASKED.harms) / ALPHA)).any(axis=0)
    return float(any_shown.any(axis=-1).mean())


UNFIT = {
    "no better": {},
    "too many errors": {"accuracy": 0.08, "error_rate": 0.01},
    "too many rejections": {"accuracy": 0.08, "rejection_rate": 0.02},
    "too slow": {"accuracy": 0.08, "latency": -0.02},
    "a class more often": {"accuracy": 0.08, "prediction_drift:setosa": 0.05},
    "a class less often": {"accuracy": 0.08, "prediction_drift:setosa": -0.05},
}


@pytest.mark.parametrize("differences", UNFIT.values(), ids=UNFIT.keys())
def test_a_candidate_that_fails_one_claim_is_promoted_at_most_as_often_as_stated(
    differences: dict[str, float],
) -> None:
    assert share_promoted(simulate(20261121, **differences)) <= HIGHEST


def test_a_candidate_that_does_no_harm_is_rolled_back_at_most_as_often_as_stated() -> None:
    at_every_margin = {
        "error_rate": 0.01,
        "rejection_rate": 0.02,
        "latency": -0.02,
        "prediction_drift:setosa": 0.05,
    }
    assert share_rolled_back(simulate(20261121, **at_every_margin)) <= HIGHEST


def test_a_better_candidate_is_promoted_nearly_always() -> None:
    assert share_promoted(simulate(20261121, accuracy=0.08)) >= 0.9


def test_a_harmful_candidate_is_rolled_back_nearly_always() -> None:
    assert share_rolled_back(simulate(20261121, error_rate=0.04)) >= 0.9


def test_an_analysis_decides_as_the_simulation_does() -> None:
    metrics = simulate(20261121, accuracy=0.05)
    simulated = (evidence(ASKED.claims, metrics)[..., -1] >= -np.log(ALPHA)).all(axis=0)[:20]
    analysed = [
        analyse(STATED, observed(metrics, number)).decision.action is Action.PROMOTE
        for number in range(20)
    ]
    assert analysed == simulated.tolist()


def observed(metrics: Metrics, number: int) -> Observed:
    def counts(metric: str, block: int) -> Counts:
        blocks = metrics[metric]
        return Counts(
            int(blocks.n_baseline[number, block]),
            int(blocks.k_baseline[number, block]),
            int(blocks.n_candidate[number, block]),
            int(blocks.k_candidate[number, block]),
        )

    return Observed(
        tuple(
            ObservedBlock(
                block + 1,
                60.0 * block,
                60.0 * block + 60,
                float(WEIGHTS[block]),
                counts("accuracy", block),
                {name: counts(name, block) for name in metrics},
            )
            for block in range(N_BLOCKS)
        ),
        60.0 * N_BLOCKS,
        CLASSES,
    )
