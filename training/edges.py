"""Rows at the edges of a schema, where an exported model is most likely to differ.

Held-out rows say how two models compare where the data is dense. A request may hold anything that
the schema lets through: a value at its bound or just inside of it, a category that is rare, a value
that is missing, and several of these at once.
"""

import numpy as np
from numpy.typing import NDArray

from abserve.schema import Feature, Schema
from training.dataset import Rows

MAX_EDGE_ROWS = 1000
_N_MIXED = 200
_MAX_SAMPLE = 10_000
_LARGEST = float(np.finfo(np.float32).max)


def edge_rows(schema: Schema, fitted_rows: Rows, seed: int) -> Rows:
    """Return rows at the edges of a schema: equal arguments give equal rows.

    There is a row of every feature's least value, one of the largest, of the middle, and one
    without any value that may be missing. There are those in which one feature is at an edge while
    the others have a usual value, as many as fit; and some in which each feature is at an edge of
    its own, drawn by the seed.

    Parameters
    ----------
    schema : Schema
        The edges of a feature are its bounds, the numbers just inside of them, the middle, each of
        its categories, and NaN where it may be missing. Where it has no bound, the extreme of the
        fitted rows takes its place.
    fitted_rows : ndarray of shape (n_rows, n_features)
        Their medians are the usual values.
    seed : int
        What is drawn depends on it.

    Returns
    -------
    ndarray of shape (n_edge_rows, n_features), float64
        At most `MAX_EDGE_ROWS`, all numbers such as float32 can hold: that is what a runtime gets.
    """
    chance = np.random.default_rng(seed)
    edges = [
        _edges(feature, column)
        for feature, column in zip(schema.features, fitted_rows.T, strict=True)
    ]
    usual = np.array([_usual(column, at) for column, at in zip(fitted_rows.T, edges, strict=True)])
    rows = [*_alike(edges), *_one_each(edges, usual, chance), *_mixed(edges, chance)]
    return np.unique(np.array(rows), axis=0)


def _alike(edges: list[Rows]) -> Rows:
    """Return the rows whose features are all at the same edge: least, middle, largest, missing."""
    present = [at[~np.isnan(at)] for at in edges]
    missing = [at[-1] for at in edges]
    return np.array(
        [
            [at[0] for at in present],
            [at[len(at) // 2] for at in present],
            [at[-1] for at in present],
            missing,
        ]
    )


def _one_each(edges: list[Rows], usual: Rows, chance: np.random.Generator) -> Rows:
    """Return rows that differ from the usual one in a single feature."""
    features = np.repeat(np.arange(len(edges)), [len(at) for at in edges])
    values = np.concatenate(edges)
    most = MAX_EDGE_ROWS - _N_MIXED - 4
    if len(values) > most:
        chosen = np.sort(chance.choice(len(values), most, replace=False))
        features, values = features[chosen], values[chosen]
    rows = np.tile(usual, (len(values), 1))
    rows[np.arange(len(values)), features] = values
    return rows


def _mixed(edges: list[Rows], chance: np.random.Generator) -> Rows:
    """Return rows each of whose features is at one of its edges."""
    return np.column_stack([chance.choice(at, _N_MIXED) for at in edges])


def _edges(feature: Feature, column: NDArray[np.float64]) -> Rows:
    """Return the values of a feature to look at, ascending, NaN last."""
    low, high = _bounds(feature, column)
    if feature.categories is not None:
        values = np.arange(len(feature.categories), dtype=np.float64)
    elif feature.type == "integer":
        values = np.array([low, low + 1, np.floor((low + high) / 2), high - 1, high])
    else:
        near = np.nextafter(np.array([low, high], np.float32), np.array([high, low], np.float32))
        values = np.array([low, *near, low / 2 + high / 2, high])
    values = np.unique(np.clip(values, low, high).astype(np.float32).astype(np.float64))
    return np.append(values, np.nan) if feature.missing == "allow" else values


def _bounds(feature: Feature, column: NDArray[np.float64]) -> tuple[float, float]:
    known = column[~np.isnan(column)]
    least, largest = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    low = least if feature.minimum is None else feature.minimum
    high = largest if feature.maximum is None else feature.maximum
    return max(float(low), -_LARGEST), min(float(high), _LARGEST)


def _usual(column: NDArray[np.float64], edges: Rows) -> float:
    """Return the median as a value that occurs: whole numbers and categories remain such."""
    known = column[~np.isnan(column)][:: max(1, len(column) // _MAX_SAMPLE)]
    if not len(known):
        return float(edges[0])
    return float(np.float32(np.quantile(known, 0.5, method="lower")))
