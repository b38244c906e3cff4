"""Say what a run found: as tables for a terminal, for a page, and as JSON."""

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from abserve.errors import AbserveError
from benchmarks.cases import CASES, PEERS, Case, Form, Service
from benchmarks.goals import Goal, Results, judge
from benchmarks.models import ROOT
from benchmarks.rounds import Figure, Figures
from training.lineage import git_state

_BEGIN, _END = "<!-- bench -->", "<!-- /bench -->"
_NOTHING = "-"
_MET = {True: "met", False: "missed", None: _NOTHING}
_STYLES = {True: "green", False: "red", None: "dim"}
_LIBRARIES = ("mlserver", "mlserver-sklearn", "fastapi", "uvicorn", "scikit-learn", "onnxruntime")
_COLUMNS = (
    *(f"{service}" for service in Service),
    *(f"x {peer}" for peer in PEERS),
    "p50 ms",
    "p99 ms",
    "spread",
)
LEGEND = (
    "Requests per second; how many times the peer's ours are; latency and spread are ours. Spread "
    "is half of what lies between the slowest and the fastest round. MLServer and the floor answer "
    "less than ours: labels only, and a constant. * against the peer's plain form, JSON or typed."
)


class PageError(AbserveError):
    """The page has no place for the table."""


def figures_table(figures: Figures) -> Table:
    """Return a line per case, in a section per form."""
    shown = Table(title="ours beside its peers", title_justify="left", box=None, pad_edge=False)
    shown.add_column("case", no_wrap=True)
    for column in _COLUMNS:
        shown.add_column(column, justify="right", no_wrap=True)
    for form in Form:
        cases = list(_measured(figures, form))
        if cases:
            shown.add_section()
            shown.add_row(f"[bold]{form}")
        for case in cases:
            shown.add_row(case.title, *_cells(figures, case))
    return shown


def goals_table(goals: list[Goal]) -> Table:
    """Return a line per goal, met or missed."""
    shown = Table(title="goals", title_justify="left", box=None, pad_edge=False)
    for column in ("case", "goal", "measured", ""):
        shown.add_column(column, justify="right" if column == "measured" else "left")
    for goal in goals:
        style = _STYLES[goal.met]
        shown.add_row(goal.case, goal.goal, goal.measured, f"[{style}]{_MET[goal.met]}")
    return shown


def remarks(results: Results) -> Iterator[str]:
    """Give what the tables leave out: the noise, and who did not answer, and why."""
    figures = results.figures.of.values()
    spreads = [figure.spread for figure in figures if figure.samples and figure.spread is not None]
    if spreads:
        yield f"spread over all services: median {median(spreads):.1%}, at most {max(spreads):.1%}"
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for figure in figures:
        if figure.no_answer is not None:
            key = str(figure.service), str(figure.case.form), figure.no_answer
            reasons.setdefault(key, []).append(figure.case.title)
    for (service, form, reason), titles in reasons.items():
        yield f"no answer from {service}, {form} ({'; '.join(titles)}): {reason}"
    yield from results.problems


def as_json(results: Results, n_rounds: int, seconds: int) -> dict[str, Any]:
    """Return all of it, each sample included, and what it was measured with."""
    commit, dirty = git_state(Path(__file__))
    many = results.many_models
    requests = results.many_requests
    return {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "n_cores": os.cpu_count(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "n_rounds": n_rounds,
        "seconds_per_sample": seconds,
        "figures": [_figure(figure) for figure in results.figures.of.values()],
        "many_models": many
        and {**asdict(many), "ratio": many.ratio, "bytes_per_model": many.bytes_per_model},
        "many_requests": requests and {**asdict(requests), "growth": requests.growth},
        "goals": [asdict(goal) for goal in judge(results)],
        "problems": results.problems,
    }


def as_markdown(document: Mapping[str, Any], results: Results) -> str:
    """Return both tables, and the conditions they hold under."""
    figures, goals = results.figures, judge(results)
    lines = [
        f"Taken on {document['taken_at'][:10]} on {document['n_cores']} cores with Python "
        f"{document['python']}; medians over {document['n_rounds']} x "
        f"{document['seconds_per_sample']} s.",
        "",
        "| case | goal | measured | |",
        "| --- | --- | --- | --- |",
        *(f"| {goal.case} | {goal.goal} | {goal.measured} | {_MET[goal.met]} |" for goal in goals),
        "",
        f"| case | {' | '.join(_COLUMNS)} |",
        f"| --- |{' ---: |' * len(_COLUMNS)}",
    ]
    for form in Form:
        lines += [
            f"| {form}: {case.title} | {' | '.join(_cells(figures, case))} |"
            for case in _measured(figures, form)
        ]
    return "\n".join([*lines, "", LEGEND])


def write_page(path: Path, content: str) -> None:
    """Put `content` between the page's two marks, and leave the rest as it is.

    Raises
    ------
    PageError
        If the page has not each mark once, in their order.
    """
    before, begin, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise PageError(
            f"{path.relative_to(ROOT)} has no {_BEGIN} ... {_END}; add both, and the table is "
            "written between them"
        )
    path.write_text(f"{before}{_BEGIN}\n\n{content}\n\n{_END}{after}")


def _measured(figures: Figures, form: Form) -> Iterator[Case]:
    """Give the cases of a form that someone was asked in, in the table's order."""
    for case in CASES:
        if case.form == form and any((case, service) in figures.of for service in Service):
            yield case


def _cells(figures: Figures, case: Case) -> list[str]:
    cells = []
    for service in Service:
        figure = figures.get(case, service)
        asked = (case, service) in figures.of
        missing = "no answer" if asked else _NOTHING
        cells.append(missing if figure is None else f"{figure.requests_per_second:,.0f}")
    for peer in PEERS:
        ratio, other = figures.ratio(case, peer), case.compared_with(peer)
        star = " *" if other is not None and other.form != case.form else ""
        cells.append(_NOTHING if ratio is None else f"{ratio:.2f}{star}")
    mine = figures.get(case, Service.OURS)
    if mine is None:
        return [*cells, _NOTHING, _NOTHING, _NOTHING]
    p50, p99 = mine.p50_seconds * 1000, mine.p99_seconds * 1000
    spread = _NOTHING if mine.spread is None else f"{mine.spread:.0%}"
    return [*cells, f"{p50:.2f}", f"{p99:.2f}", spread]


def _figure(figure: Figure) -> dict[str, Any]:
    case = figure.case
    described = {
        "model": case.model,
        "form": str(case.form),
        "n_rows": case.n_rows,
        "n_connections": case.n_connections,
        "service": str(figure.service),
    }
    if not figure.samples:
        return {**described, "no_answer": figure.no_answer}
    return {
        **described,
        "requests_per_second": round(figure.requests_per_second, 1),
        "p50_seconds": round(figure.p50_seconds, 6),
        "p99_seconds": round(figure.p99_seconds, 6),
        "spread": None if figure.spread is None else round(figure.spread, 4),
        "samples": [asdict(sample) for sample in figure.samples],
    }
