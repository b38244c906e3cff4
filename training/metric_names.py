"""The names of the metrics of an evaluation, so that a definition can be checked against them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True)
class MetricName:
    """What a metric is about, and which of two values of it is the better one."""

    kind: Kind
    better: Literal["higher", "lower"]


METRIC_NAMES: Mapping[str, MetricName] = {
    "accuracy": MetricName("classification", "higher"),
    "macro_recall": MetricName("classification", "higher"),
    "log_loss": MetricName("classification", "lower"),
    "brier": MetricName("classification", "lower"),
    "calibration_error": MetricName("classification", "lower"),
    "roc_auc": MetricName("classification", "higher"),
    "mean_absolute_error": MetricName("regression", "lower"),
    "root_mean_squared_error": MetricName("regression", "lower"),
    "r2": MetricName("regression", "higher"),
}


def names_of(kind: Kind) -> tuple[str, ...]:
    """Return the metrics that models of a kind are judged by."""
    return tuple(name for name, metric in METRIC_NAMES.items() if metric.kind == kind)
