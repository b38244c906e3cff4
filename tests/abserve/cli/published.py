"""Versions that no training made, with the metadata that a test needs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from abserve.artifacts import CARD, METADATA, seal, to_json
from abserve.repository import Repository

NOW = datetime.now(UTC).replace(microsecond=0)


def metadata(version: str, days_ago: int = 0, **changes: Any) -> dict[str, Any]:
    """Return metadata as a training of our days writes it, with what is different."""
    return {
        "model": "iris",
        "version": version,
        "description": "Tells three species apart.",
        "trained_at": (NOW - timedelta(days=days_ago)).isoformat(),
        "git_commit": "0dbc874986f2",
        "git_dirty": False,
        "libraries": {"scikit-learn": "1.9.1"},
        "data": {"source": "sklearn:iris", "n_rows": 150, "columns": ["x"], "sha256": "03d1"},
        "estimator": "sklearn.linear_model.LogisticRegression",
        "parameters": {"C": 1.0},
        "seed": 7,
        "n_fitted": 105,
        "n_held_out": 45,
        "evaluation": {
            "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95},
            "log_loss": {"value": 0.3, "low": 0.2, "high": 0.4},
        },
        "class_recall": {"setosa": {"value": 1.0, "low": 0.9, "high": 1.0}},
        "gates": [
            {"gate": "accuracy", "bar": "at least 0.8", "found": 0.9, "by": 0.1, "passed": True}
        ],
        "parity": None,
        "notes": ["served by the scikit-learn runtime"],
        "about": {"owner": "Nobody"},
        "schema": {
            "features": [{"name": "x", "minimum": 0.0, "maximum": 1.0}],
            "classes": ["setosa", "virginica"],
        },
        **changes,
    }


def publish(url: str, version: str, days_ago: int = 0, **changes: Any) -> None:
    """Publish a version of iris that only says something of itself."""
    said = metadata(version, days_ago, **changes)
    files = {METADATA: to_json(said), CARD: f"<h1>iris {version}</h1>".encode()}
    Repository(url).publish(said["model"], version, seal(files))
