"""Definitions of models whose rows lie in a file."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.dataset import Dataset
from training.definition import Definition
from training.sources import load

CLASSIFIER = "sklearn.tree.DecisionTreeClassifier"
REGRESSOR = "sklearn.linear_model.Ridge"


def definition_of(url: Path | str, estimator: str = CLASSIFIER, **changes: Any) -> Definition:
    """A model of two features, `width` and `height`, and the target `kind`."""
    if isinstance(url, Path):
        url = f"file://{url}"
    source = "parquet" if url.endswith(".parquet") else "csv"
    described = {
        "model": "flowers",
        "description": "Tells flowers apart.",
        "pipeline": "regression" if estimator == REGRESSOR else "classification",
        "data": {"source": source, "url": url},
        "features": [{"name": "width"}, {"name": "height"}],
        "target": {"name": "kind"},
        "split": {"held_out": 0.3, "seed": 7},
        "versions": {"v1": {"estimator": estimator, "scale": False}},
    }
    return Definition.model_validate({**described, **changes})


def load_csv(folder: Path, content: str | bytes, **changes: Any) -> Dataset:
    """Load a file ``rows.csv`` of this content."""
    path = folder / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load(definition_of(path, **changes), lambda _: None)


def load_parquet(folder: Path, columns: dict[str, Any], **changes: Any) -> Dataset:
    """Load a file ``rows.parquet`` of these columns."""
    path = folder / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return load(definition_of(path, **changes), lambda _: None)
