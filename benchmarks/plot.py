"""Draw the table: a line per case, a dot per service, and how far apart they are."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from benchmarks.cases import CASES, Case, Form, Service
from benchmarks.rounds import Figures

# Colours that differ in brightness too, and shapes that differ without colour.
_LOOKS = {
    Service.OURS: ("#c1272d", "o"),
    Service.STOCK: ("#1f4e79", "s"),
    Service.BY_HAND: ("#e69f00", "^"),
    Service.FLOOR: ("#7f7f7f", "|"),
}
_LINE_INCHES = 0.24


def draw(figures: Figures, path: Path) -> None:
    """Write the plot to `path`, in the format its name ends with."""
    lines = _lines(figures)
    drawing = Drawing(figsize=(9, 1.2 + _LINE_INCHES * len(lines)), layout="constrained")
    axes = drawing.add_subplot()
    for y, line in enumerate(lines):
        if isinstance(line, Case):
            _draw_line(axes, figures, line, y)
    axes.set_yticks(
        range(len(lines)), [line.title if isinstance(line, Case) else str(line) for line in lines]
    )
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        if not isinstance(line, Case):
            label.set_fontweight("bold")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("requests per second (a step is a factor of ten; more is better)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", which="major", color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    drawing.legend(
        handles=[
            Line2D([], [], color=colour, marker=marker, linestyle="none", label=str(service))
            for service, (colour, marker) in _LOOKS.items()
        ],
        loc="outside upper center",
        ncols=len(_LOOKS),
        frameon=False,
        title="hollow: in the plain form, JSON or typed",
        title_fontsize="small",
    )
    # Without a date and with fixed ids, the same figures make the same file; text stays text.
    with matplotlib.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        drawing.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_line(axes: Axes, figures: Figures, case: Case, y: int) -> None:
    rates = {
        service: figure.requests_per_second
        for service in Service
        if (other := case.compared_with(service)) is not None
        and (figure := figures.get(other, service)) is not None
    }
    if not rates:
        return
    axes.plot([min(rates.values()), max(rates.values())], [y, y], color="#cccccc", zorder=1)
    for service, rate in rates.items():
        colour, marker = _LOOKS[service]
        fill = colour if service in case.services else "white"
        axes.plot(
            *(rate, y, marker),
            color=colour,
            markerfacecolor=fill,
            markersize=6,
            markeredgewidth=1.5,
            zorder=2,
        )
    ratio = figures.ratio(case, Service.STOCK)
    if ratio is not None:
        # At the right edge, whatever the scale turns out to be.
        axes.annotate(
            f"{ratio:.1f} x MLServer",
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="small",
        )


def _lines(figures: Figures) -> list[Case | Form]:
    """Return the cases that have figures, each form's name before its own."""
    lines: list[Case | Form] = []
    for form in Form:
        cases = [
            case
            for case in CASES
            if case.form == form and any(figures.get(case, service) for service in Service)
        ]
        lines += [form, *cases] if cases else []
    return lines
