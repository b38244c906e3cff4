"""Answers as tables that people read."""

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from abserve.promotion import DeploymentStatus, PredictorStatus

_NOTHING = "-"


def status_table(status: "DeploymentStatus") -> Table:
    """Return one row per predictor."""
    title = f"{status.name} in {status.namespace}: {status.state}"
    table = Table(
        title=title,
        caption=status.description or None,
        box=None,
        padding=(0, 1),
        pad_edge=False,
        collapse_padding=True,
        title_justify="left",
        caption_justify="left",
    )
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


def milliseconds(seconds: float | None) -> str:
    return _NOTHING if seconds is None else f"{seconds * 1000:.2f}"


def share(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.1%}"


def _cells(predictor: "PredictorStatus") -> tuple[str, ...]:
    counts = predictor.counts
    shadow = "shadow " if predictor.shadow else ""
    return (
        predictor.name,
        predictor.version or _NOTHING,
        f"{shadow}{predictor.weight} %",
        f"{predictor.n_ready}/{predictor.n_replicas}",
        str(counts.n_requests),
        str(counts.n_rejected + counts.n_failed),
        milliseconds(counts.seconds.quantile(0.5)),
        milliseconds(counts.seconds.quantile(0.99)),
        share(counts.accuracy),
        str(counts.n_feedback),
    )
