"""What cards are made of, small: metadata and evidence of a classifier, a regressor and pictures.

The models are real functions of the rows, so that what a card says can be worked out.
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from abserve.metadata import Metadata
from abserve.schema import Picture, Schema
from training.card import Evidence
from training.dataset import Predictions, Rows, Targets
from training.evaluation import evaluate
from training.importance import permutation_importance

PASSED = {"gate": "accuracy", "bar": "at least 0.9", "found": 0.95, "by": 0.05, "passed": True}


def classify(rows: Rows) -> Predictions:
    """Take each row for the class whose column is the largest, by softmax."""
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    probability = powers / powers.sum(axis=1, keepdims=True)
    return Predictions(probability.argmax(axis=1), probability)


def regress(rows: Rows) -> Predictions:
    return Predictions(rows[:, 0] + 2 * rows[:, 1], None)


def classifier(
    classes: tuple[str, ...] = ("ant", "bee", "cat"), n_rows: int = 90, **changes: Any
) -> tuple[Metadata, Evidence]:
    """A classifier with a column for each class, which is right for four rows of five."""
    rng = np.random.default_rng(3)
    targets = np.arange(n_rows) % len(classes)
    rows = rng.normal(0, 0.5, (n_rows, len(classes)))
    said = np.where(np.arange(n_rows) % 5 == 0, (targets + 1) % len(classes), targets)
    rows[np.arange(n_rows), said] += 4
    schema = Schema.model_validate(
        {"features": [{"name": f"like_{i}"} for i in range(len(classes))], "classes": classes}
    )
    return _made(schema, rows, targets, classify, **changes)


def regressor(n_rows: int = 60, **changes: Any) -> tuple[Metadata, Evidence]:
    rng = np.random.default_rng(4)
    rows = rng.uniform(0, 10, (n_rows, 2))
    targets = rows[:, 0] + 2 * rows[:, 1] + rng.normal(0, 1, n_rows)
    schema = Schema.model_validate(
        {"features": [{"name": "width", "minimum": 0.0, "maximum": 10.0}, {"name": "height"}]}
    )
    return _made(schema, rows, targets, regress, **changes)


def pictures(picture: Picture, n_rows: int = 40, **changes: Any) -> tuple[Metadata, Evidence]:
    """A classifier of dark and light pictures, by the mean of all pixels."""
    rng = np.random.default_rng(5)
    n_features = picture.width * picture.height * picture.n_channels
    black, white = np.array(picture.black), np.array(picture.white)
    targets = np.arange(n_rows) % 2
    shares = rng.uniform(0, 0.6, (n_rows, n_features)) + 0.4 * targets[:, np.newaxis]
    channel = np.arange(n_features) % picture.n_channels
    rows = black[channel] + (white - black)[channel] * shares

    def lightness(rows: Rows) -> Predictions:
        light = ((rows - black[channel]) / (white - black)[channel]).mean(axis=1)
        return classify(20 * np.column_stack([1 - light, light]))

    schema = Schema.model_validate(
        {
            "features": [{"name": f"pixel_{i}"} for i in range(n_features)],
            "classes": ("dark", "light"),
            "picture": picture.model_dump(),
        }
    )
    return _made(schema, rows, targets, lightness, **changes)


def _made(
    schema: Schema, rows: Rows, targets: Targets, predict: Any, **changes: Any
) -> tuple[Metadata, Evidence]:
    predictions = predict(rows)
    evaluation = evaluate(predictions, targets, schema.classes, None, 7)
    metadata = {
        "model": "shop",
        "version": "v3",
        "description": "Tells one thing from another.",
        "trained_at": datetime(2025, 1, 2, 3, 4, tzinfo=UTC),
        "git_commit": "0123abc",
        "git_dirty": False,
        "libraries": {"numpy": "2.0.0"},
        "data": {
            "source": "s3://shop/things.csv",
            "n_rows": 4 * len(rows),
            "columns": [*schema.feature_names, "thing"],
            "sha256": "ab" * 32,
        },
        "target": "thing",
        "estimator": "sklearn.linear_model.Ridge",
        "parameters": {"alpha": 0.5},
        "seed": 7,
        "n_fitted": 3 * len(rows),
        "n_held_out": len(rows),
        "evaluation": evaluation.metrics,
        "class_recall": evaluation.class_recall,
        "gates": [PASSED],
        "parity": {"n_rows": len(rows), "n_different_labels": 0, "largest_difference": 2e-7},
        "schema": schema.model_dump(),
        **changes,
    }
    evidence = Evidence(
        rows=rows,
        targets=targets,
        predictions=predictions,
        predict=predict,
        importance=permutation_importance(predict, rows, targets, schema, 7),
    )
    return Metadata.model_validate(metadata), evidence
