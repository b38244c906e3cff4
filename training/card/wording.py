"""Numbers and names as a reader of a card wants them."""

import math
from collections.abc import Mapping
from typing import Any

from abserve.metadata import Estimate
from abserve.schema import Feature

_DIGITS = 3
# Beyond these, digits would be counted instead of read.
_SMALL, _LARGE = 1e-4, 1e15
_LONGEST_FLOAT = 8

_METRICS = {
    "accuracy": ("accuracy", "share of rows that are right"),
    "macro_recall": ("macro recall", "recall of a class, averaged over the classes"),
    "log_loss": ("log loss", "surprise at the ground truth, in nats; 0 is certain and right"),
    "brier": ("Brier score", "mean squared distance of the probabilities from what was true"),
    "calibration_error": (
        "calibration error",
        "mean distance between probability and how often it came true",
    ),
    "roc_auc": ("ROC AUC", "how often a row of a class is ranked above one of another"),
    "mean_absolute_error": ("mean absolute error", "mean distance, in the target's unit"),
    "root_mean_squared_error": (
        "root mean squared error",
        "as the mean distance, but large errors weigh more",
    ),
    "r2": ("R²", "share of the target's variance that is explained"),
}


def metric_in_words(name: str) -> tuple[str, str]:
    """Return what a metric is called, and what it says."""
    return _METRICS.get(name, (name.replace("_", " "), ""))


def number(value: float, like: float | None = None) -> str:
    """Return a number with about three digits, or as many decimals as `like` gets."""
    size = abs(value if like is None else like)
    if not math.isfinite(value) or size >= _LARGE or 0 < size < _SMALL:
        return f"{value:.{_DIGITS}g}"
    # Without the sign of what is rounded to zero.
    return f"{value:z,.{_decimals(size)}f}"


def _decimals(size: float) -> int:
    return max(_DIGITS - math.ceil(math.log10(size)), 0) if size else _DIGITS


def exact(value: float | None) -> str:
    """Return a number as it was written, without a needless fraction."""
    return "" if value is None else f"{value:.15g}"


def estimate(found: Estimate) -> tuple[str, str]:
    """Return a metric and its interval; no text for an interval that there is not."""
    if found.low is None or found.high is None:
        return number(found.value), ""
    like = max(abs(found.value), abs(found.low), abs(found.high))
    return (
        number(found.value, like),
        f"{number(found.low, like)} to {number(found.high, like)}",
    )


def percent(share: float) -> str:
    """Return a share as whole percents, where neither all nor nothing is said of less or more."""
    if 0 < share < 0.005:  # noqa: PLR2004
        return "< 1 %"
    if 0.995 <= share < 1:  # noqa: PLR2004
        return "> 99 %"
    return f"{100 * share:.0f} %"


def seconds(value: float) -> str:
    """Return a duration, in which nothing below a hundredth of a second is of interest."""
    return f"{value:,.2f} s"


def parameter(value: Any) -> str:
    """Return a parameter as Python writes it, but numbers drawn by chance without all digits."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {parameter(each)}" for name, each in value.items())
    if isinstance(value, float) and len(repr(value)) > _LONGEST_FLOAT:
        return f"{value:.6g}"
    return repr(value)


def kind(feature: Feature) -> str:
    """Return which values a feature has."""
    if feature.categories is None:
        return {"number": "number", "integer": "whole number"}.get(feature.type, feature.type)
    return "; ".join(f"{index} is {name}" for index, name in enumerate(feature.categories))
