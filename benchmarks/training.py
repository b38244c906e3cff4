"""``python -m benchmarks.training``: how time and memory of a training grow with its rows.

Made-up tables of 20 columns are written as CSV; each is trained on, from the file to the published
version, in a process of its own that may not use more than 4 GiB. Processor seconds are what is
compared: they depend least on what else the machine does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure as Drawing
from pyarrow import csv as arrow_csv
from rich.console import Console

from abserve.errors import AbserveError
from benchmarks.models import ROOT
from benchmarks.one_training import FEATURES, LIMIT_BYTES, TARGET, Mark
from benchmarks.report import write_page

PAGE = ROOT / "docs" / "training-at-size.md"
PLOT = PAGE.with_suffix(".svg")
RESULTS = Path(__file__).parent / "results" / "training.json"

ROWS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
ESTIMATORS = (
    "sklearn.linear_model.LogisticRegression",
    "sklearn.ensemble.HistGradientBoostingClassifier",
)
_LOOKS = {ESTIMATORS[0]: ("#1f4e79", "o"), ESTIMATORS[1]: ("#c1272d", "s")}

_SEED = 7
# What models compute with, FP32, can say such a value exactly, and half of one.
_SMALLEST_STEP = 2.0**-10
_TIMEOUT_SECONDS = 600
_MIB = 2**20


class TrainingRunError(AbserveError):
    """A training of the benchmark failed, or needed more than it may."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one training took: processor seconds by step, and in all; and its peak of memory."""

    estimator: str
    n_rows: int
    steps: Mapping[str, float]
    elapsed_seconds: float
    peak_bytes: int

    @property
    def processor_seconds(self) -> float:
        return sum(self.steps.values())

    @property
    def name(self) -> str:
        return self.estimator.rpartition(".")[2]


def main() -> None:
    """Run the trainings; print the table, and write it, the plot and the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", help=f"other sizes than {ROWS}; then nothing is written"
    )
    sizes = parser.parse_args().rows
    console = Console(width=130)
    load, _, _ = os.getloadavg()
    try:
        with tempfile.TemporaryDirectory() as folder, console.status("") as status:
            runs = []
            for n_rows in sizes or ROWS:
                csv = Path(folder) / f"{n_rows}.csv"
                write_table(csv, n_rows)
                for estimator in ESTIMATORS:
                    status.update(f"{estimator} on {n_rows:,} rows")
                    runs.append(measure(estimator, csv, n_rows, Path(folder)))
    except AbserveError as error:
        sys.exit(f"bench: {error}")
    console.print(as_markdown(runs, load), markup=False, soft_wrap=True)
    if sizes is None:
        document = {"load": load, "runs": [asdict(run) for run in runs]}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
        draw(runs, PLOT)
        write_page(PAGE, as_markdown(runs, load))
        console.print(f"written: {RESULTS}, {PLOT}, {PAGE}", soft_wrap=True)


def write_table(path: Path, n_rows: int) -> None:
    """Write rows of 20 numbers and one of two kinds, that some of the numbers tell with noise."""
    random = np.random.default_rng(_SEED)
    rows = random.normal(size=(n_rows, len(FEATURES)))
    rows = np.round(rows / _SMALLEST_STEP) * _SMALLEST_STEP
    score = rows[:, 0] + rows[:, 1] / 2 - rows[:, 2] + rows[:, 3] * rows[:, 4]
    kind = np.where(score + random.logistic(size=n_rows) > 0, "yes", "no")
    arrow_csv.write_csv(pa.table({**dict(zip(FEATURES, rows.T, strict=True)), TARGET: kind}), path)


def measure(estimator: str, csv: Path, n_rows: int, folder: Path) -> Run:
    """Train in a process of its own.

    Raises
    ------
    TrainingRunError
        If it fails; that it needs more memory than it may is one reason.
    """
    with tempfile.TemporaryDirectory(dir=folder) as own:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.one_training", estimator, str(csv), own],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.splitlines() or ["it said nothing"])[-1]
        raise TrainingRunError(f"{estimator} on {n_rows:,} rows failed: {last}")
    marks = [Mark(*mark) for mark in json.loads(done.stdout)]
    return Run(
        estimator,
        n_rows,
        {before.step: after.processor - before.processor for before, after in pairwise(marks)},
        marks[-1].elapsed - marks[0].elapsed,
        marks[-1].peak_bytes,
    )


def as_markdown(runs: Sequence[Run], load: float) -> str:
    """Return the tables of the page: all of a training, and its steps."""
    smallest = {run.estimator: run for run in reversed(runs)}
    lines = [
        "| estimator | rows | work | memory | processor s | elapsed s | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for run in runs:
        base = smallest[run.estimator]
        lines.append(
            f"| {run.name} | {run.n_rows:,} "
            f"| x {run.processor_seconds / base.processor_seconds:.1f} "
            f"| x {run.peak_bytes / base.peak_bytes:.1f} "
            f"| {run.processor_seconds:.1f} | {run.elapsed_seconds:.1f} "
            f"| {run.peak_bytes / _MIB:,.0f} |"
        )
    largest = [run for run in runs if run.n_rows == max(run.n_rows for run in runs)]
    steps = list(largest[0].steps)
    lines += [
        "",
        f"Processor seconds of each step at {largest[0].n_rows:,} rows:",
        "",
        f"| estimator | {' | '.join(steps)} |",
        f"| --- |{' ---: |' * len(steps)}",
        *(
            f"| {run.name} | {' | '.join(f'{run.steps[step]:.1f}' for step in steps)} |"
            for run in largest
        ),
        "",
        f"Every training ran under a limit of {LIMIT_BYTES // 2**30} GiB. {os.cpu_count()} "
        f"processors; the load of the machine was {load:.1f} when it began.",
    ]
    return "\n".join(lines)


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw work and memory over the number of rows, both axes by powers of ten."""
    drawing = Drawing(figsize=(9, 3.8), layout="constrained")
    work, memory = drawing.subplots(1, 2)
    for estimator in dict.fromkeys(run.estimator for run in runs):
        own = [run for run in runs if run.estimator == estimator]
        colour, marker = _LOOKS[estimator]
        rows = [run.n_rows for run in own]
        look = {"color": colour, "marker": marker, "label": own[0].name}
        work.plot(rows, [run.processor_seconds for run in own], **look)
        memory.plot(rows, [run.peak_bytes / _MIB for run in own], **look)
    memory.axhline(LIMIT_BYTES / _MIB, color="#7f7f7f", linestyle="--")
    memory.annotate(
        "limit: 4 GiB",
        (ROWS[0], LIMIT_BYTES / _MIB),
        (0, -12),
        textcoords="offset points",
        fontsize="small",
        color="#555555",
    )
    for axes, title in ((work, "processor seconds"), (memory, "peak memory, MiB")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("rows of 20 columns")
        axes.set_title(title, loc="left", fontsize="medium")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axis.set_minor_formatter(lambda *_: "")
        axes.grid(which="major", color="#dddddd")
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    memory.set_ylim(100, 10_000)
    work.legend(frameon=False, fontsize="small")
    # Without a date and with fixed ids, the same figures make the same file; text stays text.
    with matplotlib.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        drawing.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
