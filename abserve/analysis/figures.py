"""Plots of an analysis over time, as SVG to be set into a page.

This module takes matplotlib, which is not needed for anything else: `report` imports it when it
is asked for a page.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from abserve.analysis.analysis import Analysis
from abserve.analysis.questions import Comparison, Question
from abserve.analysis.wording import confidence, e_value, effect_in_words, metric_in_words
from abserve.experiment import SAMPLE_RATIO_BAR, effect, interval, log_sample_ratio
from abserve.pages.plots import FAINT, INK, LINES, SETTINGS, Plot, plot

_Floats = NDArray[np.float64]

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (7, 2, 1, 2)))

_WIDTH_INCHES, _HEIGHT_INCHES = 4.6, 2.3
_LEGEND_LINE_INCHES = 0.19
_LEGEND_WIDTH = 60

# A line of a plot 400 pixels wide shows no more than the highest and lowest of so many pieces.
_MOST_PIECES = 300
# An interval takes time in proportion to its blocks, a microsecond or five for each.
_MOST_LOOKS, _FEWEST_LOOKS = 200, 8
_BLOCKS_OF_ALL_LOOKS = 400_000
# Evidence against a claim may fall without end; how far it fell is not worth the height.
_LOWEST_OF_BAR = -1.5


def pictures(comparison: Comparison, analysis: Analysis) -> Iterator[Plot]:
    """Draw what is known over time; nothing if there are no blocks."""
    time = _Time.of(comparison)
    with mpl.rc_context(SETTINGS):
        if comparison.primary.blocks.n_blocks:
            yield _interval(comparison, analysis, time)
        for title, questions, findings in (
            ("Evidence for a promotion", comparison.claims, analysis.claims),
            ("Evidence for a rollback", comparison.harms, analysis.harms),
        ):
            if any(each.counted.blocks.n_blocks for each in questions):
                yield _evidence(title, questions, findings[0].log_bar, time)
        if comparison.units.blocks.n_blocks:
            yield _sample_ratio(comparison, time)
            yield _units(comparison, time)


@dataclass(frozen=True, slots=True)
class _Time:
    """What stands below the plots, and by what `TimedBlocks.ended` is divided for it."""

    label: str
    unit: float

    @classmethod
    def of(cls, comparison: Comparison) -> "_Time":
        if not comparison.timed:
            return cls("blocks", 1.0)
        units = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0))
        label, unit = next(
            (each for each in units if comparison.elapsed_seconds >= 2 * each[1]), ("seconds", 1.0)
        )
        return cls(f"{label} since the first block began", unit)


def _interval(comparison: Comparison, analysis: Analysis, time: _Time) -> Plot:
    counted = comparison.primary
    looks = looks_at(counted.blocks.n_blocks)
    blocks = [counted.blocks.until(look) for look in looks]
    found = [interval(each, analysis.alpha) for each in blocks]
    nan = math.nan
    lower = 100 * np.array([each.lower if each else nan for each in found])
    upper = 100 * np.array([each.upper if each else nan for each in found])
    effects = [effect(each) for each in blocks]
    middle = 100 * np.array([nan if each is None else each for each in effects])
    ended = counted.ended[np.array(looks) - 1] / time.unit
    figure, axes = _figure(time, f"{metric_in_words(comparison.metric)}, in points")
    axes.axhline(0, color=FAINT, linewidth=1)
    axes.plot(ended, middle, color=LINES[0], label="effect", **_as_seen(ended))
    label = f"its interval, which holds at all times with {confidence(analysis)}"
    axes.fill_between(ended, lower, upper, color=LINES[0], alpha=0.25, linewidth=0, label=label)
    difference = 100 * comparison.claims[0].difference
    if difference:
        axes.axhline(difference, color=INK, linewidth=1, linestyle="--", label="margin")
    # The first intervals are as wide as they can be, and would leave the rest no height.
    later = slice(len(looks) // 5, None)
    reach = np.concatenate([lower[later], upper[later], [0.0, difference]])
    _limit(axes, float(np.nanmin(reach)), float(np.nanmax(reach)))
    _legend(figure, axes)
    return plot(
        "Effect and its interval",
        f"The effect is {effect_in_words(analysis)}.",
        figure,
    )


def _evidence(title: str, questions: Sequence[Question], log_bar: float, time: _Time) -> Plot:
    figure, axes = _figure(time, "e-value")
    top, bottom, told = log_bar, 0.0, []
    for number, question in enumerate(questions):
        evidence = question.log_evidence()
        if not evidence.size:
            continue
        ended, shown = thinned(question.counted.ended / time.unit, evidence)
        axes.plot(
            ended,
            shown / math.log(10),
            color=LINES[number % len(LINES)],
            linestyle=_DASHES[number // len(LINES) % len(_DASHES)],
            label=question.statement,
            **_as_seen(ended),
        )
        top, bottom = max(top, shown.max()), min(bottom, shown.min())
        told.append(f"that {question.statement}: {e_value(float(evidence[-1]))}")
    _scale(axes, max(bottom, _LOWEST_OF_BAR * log_bar), top, log_bar)
    _legend(figure, axes)
    return plot(
        title,
        f"E-values after the last block, {e_value(log_bar)} needed: {'; '.join(told)}.",
        figure,
    )


def _sample_ratio(comparison: Comparison, time: _Time) -> Plot:
    evidence = log_sample_ratio(comparison.units.blocks)
    log_bar = math.log(SAMPLE_RATIO_BAR)
    figure, axes = _figure(time, "e-value")
    ended, shown = thinned(comparison.units.ended / time.unit, evidence)
    label = "units did not arrive in the configured weights"
    axes.plot(ended, shown / math.log(10), color=LINES[0], label=label, **_as_seen(ended))
    lowest = max(float(shown.min(initial=0.0)), _LOWEST_OF_BAR * log_bar)
    _scale(axes, lowest, max(log_bar, float(shown.max())), log_bar)
    _legend(figure, axes)
    return plot(
        "Evidence of a sample ratio mismatch",
        f"E-value that {label}: at most {e_value(float(evidence.max(initial=0.0)))}, "
        f"{e_value(log_bar)} is proof.",
        figure,
    )


def _units(comparison: Comparison, time: _Time) -> Plot:
    blocks, ended = comparison.units.blocks, comparison.units.ended / time.unit
    figure, axes = _figure(time, "units so far")
    shares = axes.twinx()
    for variant, n, colour in (
        ("baseline", blocks.n_baseline, LINES[0]),
        ("candidate", blocks.n_candidate, LINES[1]),
    ):
        at, total = thinned(ended, np.cumsum(n))
        axes.plot(at, total, color=colour, label=f"{variant}, units", **_as_seen(at))
    at, weight = thinned(ended, blocks.weight_candidate)
    shares.step(at, weight, where="pre", color=INK, linewidth=1.2, linestyle=":")
    # The legend is that of the first axes.
    axes.plot([], [], color=INK, linewidth=1.2, linestyle=":", label="candidate, weight in %")
    axes.set_ylim(bottom=0)
    shares.set_ylim(0, 100)
    shares.grid(visible=False)
    shares.set_ylabel("weight, %")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _legend(figure, axes)
    return plot(
        "Units and weights",
        f"{blocks.n_baseline.sum():,.0f} units of the baseline and "
        f"{blocks.n_candidate.sum():,.0f} of the candidate arrived; the candidate's weight went "
        f"from {blocks.weight_candidate[0]:g} to {blocks.weight_candidate[-1]:g} %.",
        figure,
    )


def looks_at(n_blocks: int) -> list[int]:
    """Return after how many blocks to look, so that all looks together take no long time.

    Evenly spaced; of very many blocks there are few looks, and some more at their beginning.
    """
    n_even = min(max(2 * _BLOCKS_OF_ALL_LOOKS // n_blocks, _FEWEST_LOOKS), _MOST_LOOKS)
    looks = np.linspace(n_blocks / n_even, n_blocks, n_even).round().astype(int).tolist()
    first = looks[0]
    while first > 1 and len(looks) < _MOST_LOOKS:
        first //= 2
        looks.append(first)
    return sorted({max(look, 1) for look in looks})


def thinned(at: _Floats, values: _Floats) -> tuple[_Floats, _Floats]:
    """Leave of each piece its first, lowest, highest and last value."""
    if values.size <= 4 * _MOST_PIECES:
        return at, values
    edges = np.linspace(0, values.size, _MOST_PIECES + 1).astype(int)
    kept = {
        begin + offset
        for begin, end in pairwise(edges.tolist())
        for offset in (
            0,
            int(values[begin:end].argmin()),
            int(values[begin:end].argmax()),
            end - begin - 1,
        )
    }
    index = sorted(kept)
    return at[index], values[index]


def _figure(time: _Time, label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(time.label)
    axes.set_ylabel(label)
    return figure, axes


def _as_seen(at: _Floats) -> dict[str, Any]:
    """Return how to draw a line of so many points: one alone would not be seen."""
    return {"marker": "o"} if at.size == 1 else {}


def _scale(axes: Axes, bottom: float, top: float, log_bar: float) -> None:
    """Give the axis of powers of ten e-values to read, and the bar."""
    label = f"{e_value(log_bar)} needed"
    axes.axhline(log_bar / math.log(10), color=INK, linewidth=1, linestyle="--", label=label)
    _limit(axes, bottom / math.log(10), top / math.log(10))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_formatter(lambda power, _: e_value(power * math.log(10)))


def _limit(axes: Axes, bottom: float, top: float) -> None:
    space = 0.08 * (top - bottom) or 1.0
    axes.set_ylim(bottom - space, top + space)


def _legend(figure: Figure, axes: Axes) -> None:
    """Explain the lines below the plot, in as much space as that takes."""
    lines, labels = axes.get_legend_handles_labels()
    labels = [fill(str(label), _LEGEND_WIDTH) for label in labels]
    n_lines = sum(1 + label.count("\n") for label in labels)
    figure.set_figheight(_HEIGHT_INCHES + n_lines * _LEGEND_LINE_INCHES)
    figure.legend(lines, labels, loc="outside lower left")
