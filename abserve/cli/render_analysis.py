"""An analysis as a table that people read."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from abserve.analysis.wording import (
    e_value,
    effect_in_words,
    headline,
    metric_in_words,
    points,
    progress,
    units_in_words,
)
from abserve.cli.render import plain_table
from abserve.experiment import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import RenderableType

    from abserve.analysis import Analysis, Finding

_BAR_WIDTH = 8
_STYLES = {
    Action.PROMOTE: "bold green",
    Action.ROLLBACK: "bold red",
    Action.CONTINUE: "bold",
    Action.INVALID: "bold yellow",
}


def analysis_lines(analysis: "Analysis", of: str) -> "Iterator[RenderableType]":
    """Yield what is known: the decision, the effect, the evidence, and the reasons.

    Parameters
    ----------
    analysis : Analysis
        The answer.
    of : str
        What was analysed: a SeldonDeployment, or a file.
    """
    action = analysis.decision.action
    yield Text.assemble(f"{of}: ", (headline(analysis), _STYLES[action]))
    if analysis.claims:
        yield Text(f"{metric_in_words(analysis.metric)}: {effect_in_words(analysis)}")
        yield Text(units_in_words(analysis))
        yield Text()
        yield evidence_table(analysis)
    reasons = [each for each in analysis.decision.reasons if not _is_in_table(analysis, each)]
    if reasons:
        yield Text()
        yield Text("What else there is to say:" if analysis.claims else "What is wrong:")
        yield _list(reasons)


def evidence_table(analysis: "Analysis") -> Table:
    """Return one row for each claim, each harm, and the sample ratio."""
    table = plain_table()
    table.add_column("candidate: for a promotion, all of", ratio=1)
    for heading in ("e-value", "needed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("on the way", no_wrap=True)
    table.add_column("effect", justify="right", no_wrap=True)
    for claim in analysis.claims:
        table.add_row(*_cells(claim))
    table.add_row()
    table.add_row(Text("candidate: for a rollback, one of", style="bold"))
    for harm in analysis.harms:
        table.add_row(*_cells(harm))
    if analysis.sample_ratio is not None:
        table.add_row()
        table.add_row(Text("nothing may be concluded if ever", style="bold"))
        table.add_row(*_cells(analysis.sample_ratio))
    return table


def sources_table(sources: "Mapping[str, str]") -> Table:
    """Return what an analysis was computed from."""
    table = Table.grid(padding=(0, 1))
    for term, text in sources.items():
        table.add_row(f"{term}:", Text(text))
    return table


def _cells(finding: "Finding") -> "tuple[RenderableType, ...]":
    done = progress(finding)
    # Rounded down, so that only what has arrived is said to have.
    filled = int(done * _BAR_WIDTH)
    bar = f"{'█' * filled}{'░' * (_BAR_WIDTH - filled)} {int(done * 100):3d} %"
    return (
        Text(finding.statement),
        e_value(finding.log_evidence),
        e_value(finding.log_bar),
        Text(bar, style="bold" if finding.shown else ""),
        "" if finding.effect is None else points(finding.effect),
    )


def _is_in_table(analysis: "Analysis", reason: str) -> bool:
    """Tell whether a reason says how far the evidence of a row is, and nothing else."""
    return any(each.statement in reason for each in (*analysis.claims, *analysis.harms))


def _list(sentences: "Iterable[str]") -> Table:
    table = Table.grid(padding=(0, 1))
    for sentence in sentences:
        table.add_row("-", Text(sentence))
    return table
