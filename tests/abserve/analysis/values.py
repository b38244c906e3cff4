"""Experiments and blocks to analyse, in as few words as they take."""

from typing import Any

from abserve.analysis import Counts, Experiment, Observed, ObservedBlock

ERRORS = {"metric": "error_rate", "margin": 0.01}
REJECTIONS = {"metric": "rejection_rate", "margin": 0.02}
LATENCY = {"metric": "latency", "within_seconds": 0.05, "margin": 0.02}
DRIFT = {"metric": "prediction_drift", "margin": 0.05}

# 500 units of each variant in a block, and so many successes.
BETTER, EVEN, WORSE = (400, 450), (400, 400), (450, 400)


def experiment(**stated: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "deployment": "iris",
            "primary": {"metric": "accuracy"},
            "interval_seconds": 60,
            "maturity_seconds": 120,
            "maximum_seconds": 86400,
            "weight_steps": [50],
            "step_seconds": 3600,
            **stated,
        }
    )


def counts(k_baseline: float, k_candidate: float, n: int = 500) -> Counts:
    return Counts(n, k_baseline, n, k_candidate)


def observed(*by_metric: dict[str, Counts], **disturbed: Any) -> Observed:
    """Return one block per mapping, a minute each, with 500 units of each variant."""
    blocks = tuple(
        ObservedBlock(number, 60.0 * (number - 1), 60.0 * number, 50.0, counts(0, 0), known)
        for number, known in enumerate(by_metric, start=1)
    )
    return Observed(blocks, **{"elapsed_seconds": 60.0 * len(blocks), **disturbed})


def repeated(n_blocks: int, **known: Counts) -> list[dict[str, Counts]]:
    return [known] * n_blocks
