"""Small pipelines, fitted as training fits them, with the schema of what they were fitted on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes, load_iris
from sklearn.pipeline import Pipeline

from abserve.schema import Feature, Schema
from training import fit
from training.dataset import Parts, Rows, Targets
from training.definition import Estimator

IRIS = ("setosa", "versicolor", "virginica")


@dataclass(frozen=True)
class Case:
    """Rows to fit on, and what is known of them."""

    schema: Schema
    parts: Parts


def case_of(features: tuple[Feature, ...], classes: Any, rows: Rows, targets: Targets) -> Case:
    """Every third row is held out."""
    rows = rows.astype(np.float32).astype(np.float64)
    held_out = np.arange(len(rows)) % 3 == 0
    parts = Parts(rows[~held_out], targets[~held_out], rows[held_out], targets[held_out])
    return Case(Schema(features=features, classes=classes), parts)


def iris() -> Case:
    rows, targets = load_iris(return_X_y=True)
    return case_of(_bounded(rows), IRIS, rows, targets)


def diabetes() -> Case:
    rows, targets = load_diabetes(return_X_y=True, scaled=False)
    return case_of(_bounded(rows), None, rows, targets)


def mixed(*, regression: bool = False, missing: bool = False) -> Case:
    """A number, one that is whole, one that may be missing, and two categories."""
    chance = np.random.default_rng(1)
    rows = np.column_stack(
        [
            chance.normal(50, 10, 300),
            chance.integers(0, 100, 300),
            chance.normal(0, 1, 300),
            chance.integers(0, 3, 300),
            chance.integers(0, 4, 300),
        ]
    )
    score = rows[:, 0] / 10 + 2 * rows[:, 3] - rows[:, 4] + rows[:, 2]
    if missing:
        rows[chance.random(300) < 0.1, 2] = np.nan
    may_miss = "allow" if missing else "refuse"
    features = (
        Feature(name="weight", minimum=0, maximum=120),
        Feature(name="visits", type="integer", minimum=0, maximum=99),
        Feature(name="change", missing=may_miss),
        Feature(name="colour", type="category", categories=("red", "green", "blue")),
        Feature(name="size", type="category", categories=("s", "m", "l", "xl"), missing=may_miss),
    )
    if regression:
        return case_of(features, None, rows, score)
    return case_of(features, ("low", "high"), rows, (score > np.median(score)).astype(np.int64))


def pipeline_of(case: Case, estimator: str, *, scale: bool = False, **parameters: Any) -> Pipeline:
    """Fit an estimator of scikit-learn, by its import path."""
    described = Estimator(estimator=f"sklearn.{estimator}", scale=scale, parameters=parameters)
    pipeline = fit.build(described, case.schema.features, seed=7)
    return fit.fit(pipeline, case.parts, described, 7, lambda _: None).pipeline


def _bounded(rows: Rows) -> tuple[Feature, ...]:
    return tuple(
        Feature(name=f"column_{index}", minimum=float(column.min()), maximum=float(column.max()))
        for index, column in enumerate(rows.T)
    )
