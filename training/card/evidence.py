"""What a card is made of, beside what the version says of itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from abserve.metadata import Estimate
from training.dataset import Predictions, Rows, Targets
from training.importance import Importance


@dataclass(frozen=True, slots=True)
class Baseline:
    """The version that serves now, and its evaluation on the same held-out rows."""

    version: str
    evaluation: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The held-out rows, at least one, and what the model as it is served says of them.

    `positive` is the class that plots of two classes are about; the last one, if there is none.
    """

    rows: Rows
    targets: Targets
    predictions: Predictions
    predict: Callable[[Rows], Predictions]
    importance: Importance
    positive: str | None = None
    baseline: Baseline | None = None
