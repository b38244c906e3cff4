"""Make what the page shows: ``python docs/pooled-z-test/make.py``.

A day of a service whose two variants are equally good at every moment. From 08:00 to 20:00 the
candidate's weight is raised from 5 to 50 %, and the same hours make the requests easier for both:

::

    weight    5 %  |  10 %  |  25 %  |  50 %
    accuracy  0.80 ───────────────────> 0.92    of the baseline and of the candidate

The candidate gets most of its requests when they are easy. Counts that are added up over the day
take the hour for its merit.
"""

import csv
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from abserve.experiment import Blocks, log_evidence

HERE = Path(__file__).parent
COLUMNS = ("weight_candidate", "n_baseline", "k_baseline", "n_candidate", "k_candidate")

SEED = 20260316
PER_HOUR = 6
N_REQUESTS = 300
STEPS = (5, 10, 25, 50)
WEIGHT = np.repeat(STEPS, 3 * PER_HOUR)
# When each block ends.
HOUR = 8 + np.arange(1, WEIGHT.size + 1) / PER_HOUR
ACCURACY = np.linspace(0.80, 0.92, WEIGHT.size)

Z_BAR = 1.96
LOG_BAR = float(np.log(20))

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "faint": "#d1d9e0",
    "baseline": "#59636e",
    "candidate": "#0969da",
    "wrong": "#cf222e",
}
DARK = {
    "paper": "#0d1117",
    "ink": "#e6edf3",
    "faint": "#30363d",
    "baseline": "#9198a1",
    "candidate": "#58a6ff",
    "wrong": "#ff7b72",
}

Floats = NDArray[np.float64]


def days(*shape: int) -> Blocks:
    """Return the counts of one day, or of as many as `shape` says, before the axis of blocks."""
    rng = np.random.default_rng(SEED)
    n_candidate = rng.binomial(N_REQUESTS, WEIGHT / 100, (*shape, WEIGHT.size))
    n_baseline = N_REQUESTS - n_candidate
    k_baseline, k_candidate = (rng.binomial(n, ACCURACY) for n in (n_baseline, n_candidate))
    return Blocks.from_columns(WEIGHT, n_baseline, k_baseline, n_candidate, k_candidate)


def pooled_z(blocks: Blocks) -> Floats:
    """Return the two-proportion z statistic of all counts so far, after each block."""
    n_a, k_a, n_b, k_b = (np.cumsum(getattr(blocks, column), axis=-1) for column in COLUMNS[1:])
    rate = (k_a + k_b) / (n_a + n_b)
    z: Floats = (k_b / n_b - k_a / n_a) / np.sqrt(rate * (1 - rate) * (1 / n_a + 1 / n_b))
    return z


def write_counts(blocks: Blocks, file: Path) -> None:
    """Write the blocks of one day as ``abserve analyze --counts`` reads them."""
    rows = np.column_stack([getattr(blocks, column) for column in COLUMNS]).astype(int)
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows.tolist())


def draw(blocks: Blocks, colours: dict[str, str], file: Path) -> None:
    """Draw the accuracy, the z statistic and the evidence of one day, one below the other."""
    paper, ink, faint = colours["paper"], colours["ink"], colours["faint"]
    style = {
        "axes.edgecolor": faint,
        "axes.facecolor": paper,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.labelcolor": ink,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "grid.color": faint,
        "grid.linewidth": 0.6,
        # The same file each time.
        "svg.hashsalt": "pooled-z-test",
        "text.color": ink,
        "xtick.color": ink,
        "ytick.color": ink,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(8, 8.5), layout="constrained", facecolor=paper)
        rates, z, evidence = figure.subplots(3, 1, sharex=True)
        _draw_rates(rates, blocks, colours)
        _draw_z(z, pooled_z(blocks), colours)
        _draw_evidence(evidence, log_evidence(blocks), colours)
        for axes in (rates, z, evidence):
            for hour in HOUR[np.flatnonzero(np.diff(WEIGHT))]:
                axes.axvline(hour, color=faint, linewidth=1, zorder=0)
        hours = range(8, 21, 2)
        evidence.set_xticks(hours, [f"{hour:02}:00" for hour in hours])
        evidence.set_xlabel("time of day; the vertical lines are changes of the weights")
        figure.savefig(file, metadata={"Date": None})


def _draw_rates(axes: Axes, blocks: Blocks, colours: dict[str, str]) -> None:
    n_a, k_a, n_b, k_b = (
        getattr(blocks, column).reshape(-1, PER_HOUR).sum(axis=1) for column in COLUMNS[1:]
    )
    middle = 8.5 + np.arange(n_a.size)
    axes.plot(HOUR, ACCURACY, color=colours["ink"], linewidth=1, label="true accuracy of both")
    axes.plot(middle, k_a / n_a, "o", color=colours["baseline"], label="baseline, counted hourly")
    axes.plot(middle, k_b / n_b, "D", color=colours["candidate"], label="candidate, counted hourly")
    axes.set(
        ylabel="accuracy", ylim=(0.66, 1.0), title="Both variants are equally good", xlim=(8, 20)
    )
    axes.legend(frameon=False, loc="lower right")
    for step, weight in enumerate(STEPS):
        where = (9.5 + 3 * step, 0.975)
        axes.annotate(f"candidate at {weight} %", where, horizontalalignment="center")


def _draw_z(axes: Axes, z: Floats, colours: dict[str, str]) -> None:
    crossed = int(np.argmax(z > Z_BAR))
    axes.plot(HOUR, z, color=colours["wrong"], linewidth=1.8)
    axes.plot(HOUR[crossed], z[crossed], "o", color=colours["wrong"])
    axes.annotate(
        "it promotes",
        (HOUR[crossed], z[crossed]),
        (-8, 8),
        textcoords="offset points",
        horizontalalignment="right",
        color=colours["wrong"],
    )
    _draw_bar(axes, Z_BAR, "1.96", colours)
    axes.set(
        ylabel="z statistic", title="The z-test of the pooled counts is sure of a better candidate"
    )


def _draw_evidence(axes: Axes, evidence: Floats, colours: dict[str, str]) -> None:
    axes.plot(HOUR, evidence, color=colours["candidate"], linewidth=1.8)
    _draw_bar(axes, LOG_BAR, "ln 20", colours)
    axes.set(
        ylabel="logarithm of the e-process",
        ylim=(None, LOG_BAR + 1.5),
        title="abserve compares within each block and finds nothing",
    )


def _draw_bar(axes: Axes, height: float, said: str, colours: dict[str, str]) -> None:
    axes.axhline(height, color=colours["ink"], linewidth=1, linestyle="--")
    axes.annotate(f"bar: {said}", (8.1, height), (0, 4), textcoords="offset points")


def main() -> None:
    """Write the counts, and the plot in two sets of colours."""
    day = days()
    write_counts(day, HERE / "counts.csv")
    draw(day, LIGHT, HERE / "light.svg")
    draw(day, DARK, HERE / "dark.svg")


if __name__ == "__main__":
    main()
