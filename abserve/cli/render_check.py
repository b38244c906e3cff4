"""What a check of manifests found, as people read it."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from abserve.cli.render import plain_table

if TYPE_CHECKING:
    from abserve.manifests import Checked, Finding


def checked_page(checked: "Checked") -> RenderableType:
    """Return one row per finding, and below them how many there are."""
    last = Text(
        f"{_counted(checked.n_documents, 'object')} of "
        f"{_counted(checked.n_kustomizations, 'kustomization')}: "
        f"{_counted(checked.n_errors, 'error')}, "
        f"{_counted(len(checked.findings) - checked.n_errors, 'note')}"
    )
    if not checked.findings:
        return last
    table = plain_table()
    table.add_column("", no_wrap=True)
    table.add_column("rule", no_wrap=True)
    # Nothing is cut: a file is what one opens next, and names are what one looks for.
    table.add_column("finding", overflow="fold", ratio=1)
    for each in checked.findings:
        table.add_row(each.severity.value, each.rule, _told(each))
    return Group(table, Text(), last)


def _told(finding: "Finding") -> Text:
    where = " ".join(each for each in (finding.file, finding.subject) if each)
    lines = [*([where] if where else []), finding.message]
    others = [each for each in finding.folders if not finding.file.startswith(f"{each}/")]
    if others:
        lines.append(f"in {', '.join(others)}")
    return Text("\n".join(lines))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
