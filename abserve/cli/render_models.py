"""Versions of the model repository as tables that people read."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from abserve.cli.render import plain_table
from abserve.cli.render_training import estimate_in_words, gates_table

if TYPE_CHECKING:
    from abserve.cli.comparison import Comparison
    from abserve.cli.described import Described
    from abserve.cli.pruning import Fate
    from abserve.metadata import Estimate, Metadata
    from abserve.promotion import Use

_NOTHING = "-"
_KIBI = 1024
# What to show of an evaluation where there is room for two metrics.
_MAIN_METRICS = ("accuracy", "macro_recall", "mean_absolute_error", "r2")


def versions_table(
    model: str,
    versions: "Sequence[Described]",
    users: "Mapping[str, Sequence[Use]] | None",
) -> Table:
    """Return one row per version of a model; what cannot be read is told below.

    Without `users`, nothing is said about who uses them.
    """
    evaluations = [each.metadata.evaluation for each in versions if each.metadata]
    metrics = [name for name in _MAIN_METRICS if any(name in each for each in evaluations)]
    faults = [f"{each.stored.version}: {each.fault}" for each in versions if each.fault]
    table = plain_table(title=model, caption="\n".join(faults))
    for heading in ("version", "trained"):
        table.add_column(heading, no_wrap=True)
    table.add_column("estimator", overflow="fold")
    for metric in metrics:
        table.add_column(metric.replace("_", " "))
    for heading in ("rows", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("signed", no_wrap=True)
    if users is not None:
        table.add_column("used by")
    for each in versions:
        metadata = each.metadata
        table.add_row(
            each.stored.version,
            f"{each.trained_at:%Y-%m-%d}",
            _class_name(metadata.estimator) if metadata else _NOTHING,
            *(_short(metadata.evaluation.get(metric) if metadata else None) for metric in metrics),
            str(metadata.n_fitted + metadata.n_held_out) if metadata else _NOTHING,
            _size(each.stored.size_bytes),
            "yes" if each.stored.signed else "no",
            *([] if users is None else [_lines(users[each.stored.version])]),
        )
    return table


def version_page(metadata: "Metadata", used_by: "Sequence[Use] | None") -> Group:
    """Return all that a version says of itself, except its reference distributions."""
    parts: list[RenderableType] = [
        Text(f"{metadata.model} {metadata.version}", style="bold"),
        *([Text(metadata.description)] if metadata.description else []),
        _facts("lineage", _lineage(metadata)),
        _facts("data", _data(metadata)),
        _facts("fitted", _fitted(metadata)),
        _evaluation(metadata),
    ]
    if metadata.gates:
        parts.append(_titled("gates", gates_table(metadata.gates)))
    if metadata.about:
        parts.append(_facts("about", metadata.about))
    if metadata.notes:
        parts.append(_titled("notes", Text("\n".join(metadata.notes))))
    if used_by is not None:
        parts.append(_titled("used by", Text(_lines(used_by) or "no SeldonDeployment")))
    return Group(*_with_space_between(parts))


def comparison_page(model: str, comparison: "Comparison") -> Group:
    """Return the metrics of two versions side by side, and below what else is different."""
    first, second = comparison.first, comparison.second
    metrics = plain_table(title=f"{model} {first} and {second}")
    metrics.add_column("metric", no_wrap=True)
    for heading in (first, second):
        metrics.add_column(heading, justify="right")
    metrics.add_column("difference", justify="right", no_wrap=True)
    metrics.add_column("intervals")
    for pair in comparison.metrics:
        metrics.add_row(
            pair.name.replace("_", " "),
            _estimate(pair.first),
            _estimate(pair.second),
            _NOTHING if pair.difference is None else f"{pair.difference:+.4g}",
            {True: "overlap", False: "do not overlap", None: _NOTHING}[pair.overlap],
        )
    differences = plain_table(title="what else is different")
    differences.add_column("", no_wrap=True)
    for heading in (first, second):
        differences.add_column(heading, overflow="fold")
    for each in comparison.differences:
        differences.add_row(each.what, Text(_shown(each.first)), Text(_shown(each.second)))
    warnings = [Text(each, style="bold yellow") for each in comparison.warnings]
    return Group(*_with_space_between([*warnings, metrics, differences]))


def fates_table(model: str, fates: "Sequence[Fate]") -> Table:
    """Return one row per version: what keeps it, or that it goes."""
    table = plain_table(title=model)
    for heading in ("version", "trained", ""):
        table.add_column(heading, no_wrap=True)
    table.add_column("why")
    for each in fates:
        told = ("goes", "old, and not in use") if each.kept is None else ("stays", each.kept)
        table.add_row(each.version.stored.version, f"{each.version.trained_at:%Y-%m-%d}", *told)
    return table


def _size(size_bytes: int) -> str:
    """Return a size in the largest unit of which there is one: ``35 KiB``."""
    value, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < _KIBI:
            break
        value, unit = value / _KIBI, larger
    return f"{value:.0f} {unit}"


def _lineage(metadata: "Metadata") -> dict[str, Any]:
    commit = metadata.git_commit
    return {
        "trained": f"{metadata.trained_at:%Y-%m-%d %H:%M %Z}",
        "commit": f"{commit}, with changes" if commit and metadata.git_dirty else commit,
        "described as": metadata.described_as,
        "pipeline": metadata.pipeline,
        "seed": metadata.seed,
        "libraries": ", ".join(f"{name} {each}" for name, each in metadata.libraries.items()),
        "durations": ", ".join(
            f"{step} {seconds:.1f} s" for step, seconds in metadata.durations_seconds.items()
        ),
    }


def _data(metadata: "Metadata") -> dict[str, Any]:
    data = metadata.data
    known = (
        {
            "source": data.source,
            "rows": data.n_rows,
            "columns": ", ".join(data.columns),
            "fingerprint": data.sha256,
        }
        if data
        else {}
    )
    return {
        **known,
        "target": metadata.target,
        "rows fitted": metadata.n_fitted,
        "rows held out": metadata.n_held_out,
    }


def _fitted(metadata: "Metadata") -> dict[str, Any]:
    parity, search = metadata.parity, metadata.search
    return {
        "estimator": metadata.estimator,
        "parameters": ", ".join(
            f"{name}={_shown(value)}" for name, value in metadata.parameters.items()
        ),
        "search": (
            f"{search.kind} by {search.scoring}: {search.n_tried} tried on {search.folds} folds"
            if search
            else None
        ),
        "served as": metadata.served,
        "parity": (
            f"{parity.n_different_labels} different labels, largest difference "
            f"{parity.largest_difference:.1e}, on {parity.n_rows} held-out rows"
            + (f" and {parity.n_edge_rows} at the edges" if parity.n_edge_rows else "")
            if parity
            else None
        ),
    }


def _evaluation(metadata: "Metadata") -> Table:
    table = plain_table(title="evaluation")
    table.add_column("metric", no_wrap=True)
    table.add_column("held-out rows", justify="right")
    table.add_column("value")
    rows = str(metadata.n_held_out)
    for name, estimate in metadata.evaluation.items():
        table.add_row(name.replace("_", " "), rows, estimate_in_words(estimate))
    for name, estimate in metadata.class_recall.items():
        table.add_row(f"recall of {name}", "", estimate_in_words(estimate))
    for name, part in metadata.slices.items():
        for metric, estimate in part.metrics.items():
            shown = f"{name}: {metric.replace('_', ' ')}"
            table.add_row(shown, str(part.n_rows), estimate_in_words(estimate))
    return table


def _facts(title: str, facts: Mapping[str, Any]) -> Table:
    table = plain_table(title=title, headings=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in (None, "", (), []):
            table.add_row(name, Text(_shown(value)))
    return table


def _titled(title: str, content: RenderableType) -> Group:
    return Group(Text(title, style="table.title"), content)


def _with_space_between(parts: Sequence[RenderableType]) -> list[RenderableType]:
    return [each for part in parts for each in (part, Text())][:-1]


def _class_name(path: str) -> str:
    return path.rpartition(".")[2]


def _estimate(estimate: "Estimate | None") -> str:
    return estimate_in_words(estimate) if estimate else _NOTHING


def _short(estimate: "Estimate | None") -> str:
    if estimate is None:
        return _NOTHING
    said = f"{estimate.value:.3g}"
    if estimate.low is None or estimate.high is None:
        return said
    return f"{said} ({estimate.low:.3g} to {estimate.high:.3g})"


def _lines(values: Sequence[object]) -> str:
    return "\n".join(map(str, values))


def _shown(value: Any) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return "\n".join(value)
    return json.dumps(value)
