"""A training as people read it: its steps while it goes on, its evaluation, its gates."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.table import Table

from abserve.cli.progress import Progress
from abserve.cli.render import plain_table

if TYPE_CHECKING:
    from abserve.metadata import Estimate, GateOutcome, Metadata

# What to tell first of an evaluation: what people ask first.
_TELLING = ("accuracy", "mean_absolute_error")


class TrainingProgress:
    """Tells each step of a training when it is over, and shows the one at work.

    Parameters
    ----------
    title : str
        What is trained.
    to_stderr : bool
        Whether lines go to stderr, because stdout is for machines.
    """

    def __init__(self, title: str, *, to_stderr: bool) -> None:
        self._progress = Progress(title, to_stderr=to_stderr)
        self._title = title
        self._step = ""
        self._what = ""
        self._began = 0.0

    def __enter__(self) -> Self:
        self._progress.__enter__()
        self._progress.say(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._finish()
        self._progress.__exit__(kind, error, traceback)

    def report(self, step: str, what: str) -> None:
        """Tell that `step` has begun, or is doing something else than before."""
        if step != self._step:
            self._finish()
            self._step, self._what, self._began = step, what, time.monotonic()
        self._progress.show(f"{self._title}: {what}")

    def _finish(self) -> None:
        if self._step:
            seconds = time.monotonic() - self._began
            self._progress.say(f"  {self._step:<9} {self._what} ({seconds:.1f} s)")


def evaluation_in_words(metadata: "Metadata") -> str:
    """Return what was fitted, its first metric, and whether the export repeats it."""
    said = metadata.estimator.rpartition(".")[2]
    for name in _TELLING:
        if name in metadata.evaluation:
            estimate = metadata.evaluation[name]
            said += f", {name.replace('_', ' ')} {estimate_in_words(estimate)}"
    said += f" on {metadata.n_held_out} held-out rows"
    if metadata.parity is not None:
        said += (
            "; exported model equal to the fitted one within "
            f"{metadata.parity.largest_difference:.1e}"
        )
    return said


def estimate_in_words(estimate: "Estimate") -> str:
    """Return a metric with its interval: ``0.978 (0.884 to 0.996)``."""
    said = f"{estimate.value:.4g}"
    if estimate.low is None or estimate.high is None:
        return said
    return f"{said} ({estimate.low:.4g} to {estimate.high:.4g})"


def gates_table(outcomes: "Sequence[GateOutcome]") -> Table:
    """Return one row per gate, those that failed first."""
    table = plain_table()
    for heading in ("gate", "bar"):
        table.add_column(heading)
    for heading in ("found", "by"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for outcome in sorted(outcomes, key=lambda each: each.passed):
        table.add_row(
            outcome.gate,
            outcome.bar,
            f"{outcome.found:.4g}",
            f"{outcome.by:+.4g}",
            "passed" if outcome.passed else "[bold red]failed[/]",
        )
    return table
