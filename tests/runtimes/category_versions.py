"""A version with a column of each type: a number, a whole number and a category."""

from functools import cache

import numpy as np
from sklearn.linear_model import LinearRegression

from abserve.artifacts import METADATA, MODEL_ONNX, MODEL_SETTINGS
from tests.runtimes.versions import change_json, export, version_files

COLOURS = ["red", "green", "dark blue", "größer"]
FEATURES = [
    {"name": "size"},
    {"name": "rooms", "type": "integer", "missing": "allow"},
    {"name": "colour", "type": "category", "categories": COLOURS},
]


@cache
def _fitted() -> LinearRegression:
    rows = np.random.default_rng(0).uniform(0, 3, (50, 3))
    return LinearRegression().fit(rows, rows @ [1, 10, 100])


def category_files() -> dict[str, bytes]:
    """Return the unsealed files of a version that answers size + 10 rooms + 100 colour."""
    files = {**version_files(), MODEL_ONNX: export(_fitted(), len(FEATURES))}
    files = change_json(files, METADATA, schema={"features": FEATURES, "classes": None})
    return change_json(files, MODEL_SETTINGS, implementation="runtimes.tabular.TabularRegressor")
