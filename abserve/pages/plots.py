"""Figures of matplotlib as parts of a page: SVG in the page's own colours and type.

Colours are variables of the page's style sheet, so that one plot is readable on light and dark
ground. Text stays text. The same figure gives the same bytes.
"""

import html
import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Stand-ins that matplotlib takes for colours; in the page they are the variables of this name.
INK, FAINT, GRID = "#010101", "#010102", "#010103"
LINES = ("#020201", "#020202", "#020203", "#020204", "#020205", "#020206")
_VARIABLES = {
    INK: "ink",
    FAINT: "faint",
    GRID: "grid",
    **{colour: f"line-{number}" for number, colour in enumerate(LINES, 1)},
}

# To draw with: `matplotlib.rc_context(SETTINGS)`.
SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    # A name may hold dollars, and is no formula.
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of a page: `description` says in words what it shows."""

    title: str
    description: str
    svg: str


def plot(title: str, description: str, figure: Figure) -> Plot:
    """Make a part of a page of a figure; a page has one plot of each title."""
    file = io.StringIO()
    # Names inside of one plot are to differ from those in the others on the page.
    with mpl.rc_context({"svg.hashsalt": title}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return Plot(title, description, _for_page(file.getvalue(), title, description))


def _for_page(svg: str, title: str, description: str) -> str:
    """Make a part of a page of a file: no prologue, no names twice, the page's font and colours."""
    svg = svg[svg.index("<svg") :]
    # The style sheet in it would be the whole page's.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)[\")]", svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"font-family: [^;\"]+; ", "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    label = html.escape(f"{title}. {description}")
    # The page decides how wide it is.
    return re.sub(
        r'<svg [^>]*?(viewBox="[^"]+")[^>]*>',
        rf'<svg role="img" aria-label="{label}" xmlns:xlink="http://www.w3.org/1999/xlink" \1>',
        svg,
        count=1,
    )
