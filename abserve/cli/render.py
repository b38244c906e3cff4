"""Answers as tables that people read."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abserve.promotion import DeploymentStatus, DeploymentSummary, PredictorStatus

_NOTHING = "-"
_LARGE = 100


def plain_table(title: str = "", caption: str = "", *, headings: bool = True) -> Table:
    """Return a table without lines, as all answers have."""
    return Table(
        # As text: either may hold brackets, which are markup in a string.
        title=Text(title, style="table.title") if title else None,
        caption=Text(caption, style="table.caption") if caption else None,
        box=None,
        padding=(0, 1),
        pad_edge=False,
        collapse_padding=True,
        title_justify="left",
        caption_justify="left",
        show_header=headings,
    )


def status_table(status: "DeploymentStatus") -> Table:
    """Return one row per predictor; what a shadow gets and what is wrong stand below."""
    title = f"{status.name} in {status.namespace}: {status.state}"
    notes = [
        f"{each.name} gets copies of {each.weight} % of the requests"
        for each in status.predictors
        if each.shadow
    ]
    if status.description:
        notes.append(status.description)
    table = plain_table(title, "\n".join(notes))
    for heading in ("predictor", "version"):
        table.add_column(heading, no_wrap=True)
    for heading in (
        "weight",
        "ready",
        "requests",
        "errors",
        "p50 ms",
        "p99 ms",
        "accuracy",
        "feedback",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for predictor in status.predictors:
        table.add_row(*_cells(predictor))
    return table


def deployments_table(deployments: "Sequence[DeploymentSummary]", *, everywhere: bool) -> Table:
    """Return one row per SeldonDeployment; with their namespaces, if they are of several."""
    table = plain_table()
    for heading in (*["namespace"] * everywhere, "name", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("predictors")
    for each in deployments:
        predictors = [f"{name} {weight} %" for name, weight in each.weights.items()]
        if each.shadow:
            predictors.append(f"{each.shadow} shadow")
        shown = Text(", ".join(predictors))
        if each.description:
            shown.append(f"\n{each.description}")
        table.add_row(*[each.namespace] * everywhere, each.name, each.state, shown)
    return table


def milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return _NOTHING
    value = seconds * 1000
    # To three digits at least, and never wider than the column.
    return f"{value:.2f}" if value < _LARGE else f"{value:.0f}"


def share(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.1%}"


def _cells(predictor: "PredictorStatus") -> tuple[str, ...]:
    counts, counted = predictor.counts, predictor.version is not None
    return (
        predictor.name,
        predictor.version or _NOTHING,
        _NOTHING if predictor.shadow else f"{predictor.weight} %",
        f"{predictor.n_ready}/{predictor.n_replicas}",
        str(counts.n_requests) if counted else _NOTHING,
        str(counts.n_rejected + counts.n_failed) if counted else _NOTHING,
        milliseconds(counts.seconds.quantile(0.5)),
        milliseconds(counts.seconds.quantile(0.99)),
        share(counts.accuracy),
        str(counts.n_feedback) if counted else _NOTHING,
    )
