"""Plots of what a model says of held-out rows.

Of classifiers: are probabilities as large as they should be, and does a threshold tell the classes
apart. Of regressors: predictions beside the ground truth, and what is left between them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from sklearn.metrics import auc, roc_curve

from abserve.pages.plots import FAINT, LINES, SETTINGS, Plot, plot
from abserve.schema import Schema
from training.card.evidence import Evidence
from training.evaluation import calibration_bins
from training.importance import Importance
from training.intervals import share as share_of_rows

_Floats = NDArray[np.float64]

_TWO = 2
_SIZE_INCHES = (4.2, 3.2)
_LEGEND_LINE_INCHES = 0.19
_DASHES = ("-", (0, (5, 2)))
_LONGEST_NAME = 24
# Two labels of so many letters fit beside each other.
_LONGEST_OF_TWO = 21

_N_HISTOGRAM_BINS = 20
_N_SHADES = 12
_MOST_CURVES = 10
_MOST_CURVE_POINTS = 200
# More dots hide each other, and take more room than all the rest of the page.
MOST_DOTS = 500
_DOT_POINTS = 14

HOW_TO_READ = {
    "Calibration": "Dots on the diagonal: what is called 80 % probable happens 80 times in 100. "
    "Each stands for about as many rows, with its 95 % interval; below, how many rows have which "
    "probability.",
    "ROC": "What each threshold of the probability would find, and what it would cost. The nearer "
    "to the upper left corner, the better; the diagonal is chance.",
    "Predicted and ground truth": f"A dot is a row, {MOST_DOTS} of them at most; on the diagonal "
    "the prediction is right.",
    "Residuals": "What is left over, by what was predicted; a slope or a bend is something that "
    "the model has not learnt. On the right, how many rows are wrong by how much.",
}


def plots_of_predictions(schema: Schema, target: str, evidence: Evidence) -> Iterator[Plot]:
    """Draw what the model says of the held-out rows; `target` is what a regressor predicts."""
    with mpl.rc_context(SETTINGS):
        if schema.classes is None:
            yield _predicted(shorten(target), evidence)
            yield _residuals(shorten(target), evidence)
        else:
            yield _calibration(schema.classes, evidence)
            if curves := _curves(schema.classes, evidence):
                yield _roc(curves)


def heat_map(importance: Importance) -> Plot:
    """Draw how much a model relies on each part of a picture."""
    with mpl.rc_context(SETTINGS):
        return _heat_map(importance)


def _calibration(classes: Sequence[str], evidence: Evidence) -> Plot:
    positive = _positive(classes, evidence)
    binary = len(classes) == _TWO
    bins = calibration_bins(evidence.predictions, evidence.targets, positive)
    positive_name = shorten(classes[positive])
    label = f"probability of {positive_name}" if binary else "probability of the answer"
    share = f"share that is {positive_name}" if binary else "share that is right"
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes, rows = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    counted = [(int(n), round(n * part)) for n, part in zip(bins.n_rows, bins.share, strict=True)]
    intervals = [share_of_rows(k, n) for n, k in counted]
    axes.vlines(
        bins.probability,
        [each.low for each in intervals],
        [each.high for each in intervals],
        color=LINES[0],
        linewidth=1.2,
        alpha=0.6,
    )
    axes.plot(bins.probability, bins.share, color=LINES[0], marker="o", markersize=5)
    axes.set_ylabel(share)
    of = _probability(evidence)
    shown = of[:, positive] if binary else of.max(axis=1)
    rows.hist(shown, bins=_N_HISTOGRAM_BINS, range=(0, 1), color=LINES[0], alpha=0.6)
    rows.set_xlabel(label)
    rows.set_ylabel("rows")
    rows.locator_params(axis="y", nbins=3)
    rows.set_xlim(-0.02, 1.02)
    for each in (axes.xaxis, axes.yaxis):
        each.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_ylim(-0.02, 1.02)
    told = "; ".join(
        f"{mean:.2f} and {k} of {n} rows"
        for mean, (n, k) in zip(bins.probability, counted, strict=True)
    )
    return plot("Calibration", f"Mean {label}, and {share}: {told}.", figure)


@dataclass(frozen=True, slots=True)
class _Curve:
    """A ROC curve: for every threshold, the shares above it of the others and of the class."""

    label: str
    others: _Floats
    found: _Floats


def _curves(classes: Sequence[str], evidence: Evidence) -> list[_Curve]:
    """Return the curve of the positive class, or those of several; of very many, none."""
    if len(classes) > _MOST_CURVES:
        return []
    probability = _probability(evidence)
    curves = []
    for index in [_positive(classes, evidence)] if len(classes) == _TWO else range(len(classes)):
        belongs = evidence.targets == index
        # Without rows of both kinds there is no curve.
        if belongs.any() and not belongs.all():
            others, found, _ = roc_curve(belongs, probability[:, index])
            shown = _thinned(len(others))
            label = f"{shorten(classes[index])}: AUC {auc(others, found):.3f}"
            curves.append(_Curve(label, others[shown], found[shown]))
    return curves


def _roc(curves: Sequence[_Curve]) -> Plot:
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    for number, curve in enumerate(curves):
        axes.plot(
            curve.others,
            curve.found,
            color=LINES[number % len(LINES)],
            linestyle=_DASHES[number // len(LINES)],
            label=curve.label,
        )
    axes.set_xlabel("share of the others taken for it")
    axes.set_ylabel("share of its rows found")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    for each in (axes.xaxis, axes.yaxis):
        each.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    _legend(figure, axes)
    return plot("ROC", f"{'; '.join(curve.label for curve in curves)}.", figure)


def _thinned(n: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_CURVE_POINTS)).round().astype(np.int64))


def _predicted(target: str, evidence: Evidence) -> Plot:
    truth, predicted = _dots(evidence)
    figure, axes = _figure(f"predicted {target}", f"{target}, ground truth")
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    axes.plot(ends, ends, color=FAINT, linewidth=1, linestyle="--")
    axes.scatter(predicted, truth, s=_DOT_POINTS, color=LINES[0], alpha=0.55, linewidth=0)
    return plot(
        "Predicted and ground truth",
        f"{len(truth)} held-out rows, ground truth from {truth.min():.4g} to {truth.max():.4g}, "
        f"predictions from {predicted.min():.4g} to {predicted.max():.4g}.",
        figure,
    )


def _residuals(target: str, evidence: Evidence) -> Plot:
    truth, predicted = _dots(evidence)
    residuals = evidence.targets - evidence.predictions.values
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes, rows = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    axes.scatter(
        predicted, truth - predicted, s=_DOT_POINTS, color=LINES[0], alpha=0.55, linewidth=0
    )
    axes.set_xlabel(f"predicted {target}")
    axes.set_ylabel("ground truth \N{MINUS SIGN} predicted")
    rows.hist(
        residuals, bins=_N_HISTOGRAM_BINS, orientation="horizontal", color=LINES[0], alpha=0.6
    )
    rows.set_xlabel("rows")
    for each in (axes, rows):
        each.axhline(0, color=FAINT, linewidth=1, linestyle="--")
    low, middle, high = np.quantile(residuals, (0.05, 0.5, 0.95))
    return plot(
        "Residuals",
        f"From {residuals.min():.4g} to {residuals.max():.4g}; nine of ten lie between {low:.4g} "
        f"and {high:.4g}; the median is {middle:.4g}.",
        figure,
    )


def _heat_map(importance: Importance) -> Plot:
    increase = np.maximum(importance.increase, 0)
    most = float(increase.max()) or 1.0
    down, across = increase.shape
    figure = Figure(figsize=(_SIZE_INCHES[0], 3.7), layout="constrained")
    axes, scale = figure.subplots(2, 1, height_ratios=(20, 1))
    for y, line in enumerate(increase.tolist()):
        for x, value in enumerate(line):
            # Their edges would show through between them.
            axes.add_patch(Rectangle((x, y), 1, 1, color=LINES[0], alpha=value / most, linewidth=0))
    axes.set_xlim(0, across)
    axes.set_ylim(down, 0)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(visible=True, color=FAINT)
    for step in range(_N_SHADES):
        part = Rectangle((step / _N_SHADES * most, 0), most / _N_SHADES, 1)
        part.set(color=LINES[0], alpha=(step + 0.5) / _N_SHADES, linewidth=0)
        scale.add_patch(part)
    scale.set_xlim(0, most)
    scale.set_yticks([])
    scale.grid(visible=False)
    scale.set_xlabel("by how much the log loss grows")
    row, column = divmod(int(increase.argmax()), across)
    part_name = "pixel" if importance.patch_pixels == 1 else "patch"
    return plot(
        "What it looks at",
        f"{down} x {across} {part_name}s. The log loss grows most, by {most:.3g}, by the "
        f"{part_name} in row {row + 1}, column {column + 1}.",
        figure,
    )


def _probability(evidence: Evidence) -> _Floats:
    probability = evidence.predictions.probability
    if probability is None:
        raise ValueError("a classifier's predictions have no probabilities; expected them")
    return probability


def _positive(classes: Sequence[str], evidence: Evidence) -> int:
    return len(classes) - 1 if evidence.positive is None else classes.index(evidence.positive)


def _dots(evidence: Evidence) -> tuple[_Floats, _Floats]:
    """Return ground truth and predictions of at most `MOST_DOTS` rows, the same each time."""
    n_rows = len(evidence.targets)
    taken = np.random.default_rng(0).permutation(n_rows)[:MOST_DOTS]
    return (
        evidence.targets[taken].astype(np.float64),
        evidence.predictions.values[taken].astype(np.float64),
    )


def shorten(name: str) -> str:
    """Return a name that fits into a plot."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _figure(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _legend(figure: Figure, axes: Axes) -> None:
    """Explain the lines below the plot, in as much space as that takes."""
    lines, labels = axes.get_legend_handles_labels()
    columns = 2 if max(len(str(label)) for label in labels) <= _LONGEST_OF_TWO else 1
    figure.set_figheight(_SIZE_INCHES[1] + -(-len(labels) // columns) * _LEGEND_LINE_INCHES)
    figure.legend(lines, labels, loc="outside lower left", ncols=columns)
