"""From answers to counts, many at a time.

::

    count_answer ──> pending answers ──┬─ 512 requests or 8192 rows ─┬──> Counts
       (event loop)                    └─ a scrape (another thread) ─┘

To count one answer costs more than to compute it, to count five hundred at once next to nothing. So
an answer is put aside, and counted with others as soon as many wait or somebody looks.

Answers come from the event loop, while MLServer serves ``/metrics`` from a thread. Whoever counts
holds the version's lock; the event loop never waits for it, for then the other one is counting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from threading import Lock
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from abserve.metadata import MAX_REFERENCE_FEATURES, Distribution
from abserve.schema import Feature, Schema
from runtimes.drift import Drift
from runtimes.inference import Classified, Result, Rows
from runtimes.outcomes import Outcomes
from runtimes.refusals import REASONS
from runtimes.units import Units, unit_header_from_environment

SECONDS = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

MAX_PENDING_REQUESTS = 512
MAX_PENDING_ROWS = 8192
_MAX_PENDING_VALUES = 1 << 20  # 4 MB, for models of many features or classes
_MANY_CLASSES = 32

Answer: TypeAlias = tuple[float, Rows, Result]


class Buckets:
    """A histogram, as Prometheus has it: each bound belongs to the bucket below it.

    Parameters
    ----------
    bounds : sequence of float
        Ascending upper bounds; a last bucket without one is added.
    dtype : optional
        In what precision values and bounds are compared.
    """

    def __init__(self, bounds: Sequence[float], dtype: DTypeLike = np.float64) -> None:
        self._bounds = np.asarray(bounds, dtype=dtype)
        self._names = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self.sum = 0.0

    @property
    def n(self) -> int:
        """How many values were added."""
        return int(self._counts.sum())

    def add(self, values: ArrayLike) -> None:
        array = np.asarray(values)
        buckets = np.searchsorted(self._bounds, array)
        self._counts += np.bincount(buckets, minlength=len(self._counts))
        self.sum += float(array.sum(dtype=np.float64))

    def cumulative(self) -> list[tuple[str, float]]:
        """Return each bound's name with the number of values at or below it."""
        return list(zip(self._names, self._counts.cumsum().tolist(), strict=True))


@dataclass(slots=True)
class Counts:
    """What was counted of one version's requests since it was first loaded.

    `lock` guards what is counted from answers. `rejected`, by reason, `n_failed` and `units` are
    changed by the event loop alone.
    """

    lock: Lock = field(default_factory=Lock)
    rejected: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    n_failed: int = 0
    units: Units = field(default_factory=lambda: Units(unit_header_from_environment()))
    seconds: Buckets = field(default_factory=lambda: Buckets(SECONDS))
    batch_size: Buckets = field(default_factory=lambda: Buckets(ROWS))
    confidence: Buckets = field(default_factory=lambda: Buckets(CONFIDENCE, np.float32))
    predictions: dict[str, int] = field(default_factory=dict)
    out_of_range: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Feedback:
    """What became known of one version's answers.

    `rows` counts those with ground truth by outcome, of which a classifier knows other ones than a
    regressor; the sums of errors are the latter's.
    """

    rows: dict[str, int] = field(default_factory=dict)
    absolute_error: float = 0.0
    squared_error: float = 0.0
    n_rewards: int = 0
    reward: float = 0.0
    outcomes: Outcomes = field(default_factory=Outcomes)


class Tally:
    """Counts the answers of one version.

    Of a model with many features, the first `MAX_REFERENCE_FEATURES` are watched: counted when out
    of range, and compared with the reference.

    Parameters
    ----------
    schema : Schema
        What the rows and the predictions are.
    reference : mapping of str to Distribution
        What the features were like when the version was fitted; may lack any of them.
    counts : Counts
        Where to count.
    """

    def __init__(
        self, schema: Schema, reference: Mapping[str, Distribution], counts: Counts
    ) -> None:
        self._schema = schema
        self._reference = reference
        self._counts = counts
        watched = schema.features[:MAX_REFERENCE_FEATURES]
        names = [feature.name for feature in watched]
        self._n_watched = len(watched)
        self._low, self._high = _bounds(watched)
        self._bounded = [
            (column, name)
            for column, name in enumerate(names)
            if np.isfinite(self._low[column]) or np.isfinite(self._high[column])
        ]
        self.drift = Drift(names, reference) if not reference.keys().isdisjoint(names) else None
        for name in schema.classes or ():
            counts.predictions.setdefault(name, 0)
        for _, name in self._bounded:
            counts.out_of_range.setdefault(name, 0)
        self._pending: list[Answer] = []
        values_per_row = len(schema.features) + len(schema.classes or ())
        self._room_when_empty = max(min(MAX_PENDING_ROWS, _MAX_PENDING_VALUES // values_per_row), 1)
        # Beside its rows, each request takes its part of the room, so that one check bounds both.
        self._room_per_request = max(self._room_when_empty // MAX_PENDING_REQUESTS - 1, 0)
        self._room = self._room_when_empty

    def is_of(self, schema: Schema, reference: Mapping[str, Distribution]) -> bool:
        """Return whether a version of this content would be counted alike."""
        return (self._schema, self._reference) == (schema, reference)

    def add(self, seconds: float, rows: Rows, result: Result) -> None:
        """Put one answer aside to be counted; its arrays must not change any more."""
        self._pending.append((seconds, rows, result))
        # A scrape may reset it meanwhile. Then the next counting comes sooner or later than it
        # would have; no answer is lost by that.
        self._room -= len(rows) + self._room_per_request
        if self._room <= 0 and self._counts.lock.acquire(blocking=False):
            try:
                self.count_pending()
            finally:
                self._counts.lock.release()

    def count_pending(self) -> None:
        """Count what was put aside; the caller holds the lock of the counts."""
        # Only whoever holds the lock takes answers away, and those that come meanwhile come after.
        n = len(self._pending)
        answers = self._pending[:n]
        del self._pending[:n]
        self._room = self._room_when_empty
        if not answers:
            return
        seconds, rows, results = zip(*answers, strict=True)
        self._counts.seconds.add(seconds)
        self._counts.batch_size.add([len(each) for each in rows])
        if self._bounded or self.drift is not None:
            self._count_features(rows)
        if self._schema.classes is not None:
            self._count_classes(self._schema.classes, cast("Sequence[Classified]", results))

    def _count_features(self, rows: Sequence[Rows]) -> None:
        if len(self._schema.features) > self._n_watched:
            rows = [each[:, : self._n_watched] for each in rows]
        values = np.concatenate(rows)
        for column, name in self._bounded:
            # Missing values compare false with everything, and so are within.
            below = np.count_nonzero(values[:, column] < self._low[column])
            above = np.count_nonzero(values[:, column] > self._high[column])
            self._counts.out_of_range[name] += int(below + above)
        if self.drift is not None:
            self.drift.add(values)

    def _count_classes(self, classes: Sequence[str], results: Sequence[Classified]) -> None:
        indices, probabilities = zip(*results, strict=True)
        counts = np.bincount(np.concatenate(indices), minlength=len(classes)).tolist()
        for name, count in zip(classes, counts, strict=True):
            self._counts.predictions[name] += count
        largest = _largest(np.concatenate(probabilities))
        # In FP32 the largest of probabilities that sum to 1 may exceed it by a rounding error.
        self._counts.confidence.add(np.minimum(largest, 1))


def _bounds(features: Sequence[Feature]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the bounds of each feature whose values are counted beyond them, infinite if open.

    They are rounded as the rows are, so that a value at the bound is within.
    """
    bounds = [
        (feature.minimum, feature.maximum) if feature.outside == "count" else (None, None)
        for feature in features
    ]
    with np.errstate(over="ignore"):
        low = np.array([-np.inf if low is None else low for low, _ in bounds]).astype(np.float32)
        high = np.array([np.inf if high is None else high for _, high in bounds]).astype(np.float32)
    return low, high


def _largest(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest probability of each row."""
    if probability.shape[1] > _MANY_CLASSES:
        return cast("NDArray[np.float32]", probability.max(axis=1))
    # The same, but many times faster for short rows.
    columns: Any = probability.T
    return cast("NDArray[np.float32]", reduce(np.maximum, columns))
