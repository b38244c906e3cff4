import re

import matplotlib as mpl
from matplotlib.figure import Figure

from abserve.pages.plots import LINES, SETTINGS, Plot, plot
from abserve.pages.style import STYLE


def drawn(title: str = "Growth", name: str = "a line") -> Plot:
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(4, 3))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=LINES[0], label=name)
        axes.legend()
        return plot(title, "From 0 to 1.", figure)


def test_the_same_figure_makes_the_same_plot() -> None:
    assert drawn() == drawn()


def test_a_plot_begins_as_an_element_of_a_page() -> None:
    assert drawn().svg.startswith('<svg role="img" aria-label="Growth. From 0 to 1."')


def test_names_in_plots_of_different_titles_differ() -> None:
    names = [set(re.findall(r' id="([^"]+)"', drawn(title).svg)) for title in ("a", "b")]
    assert names[0]
    assert not names[0] & names[1]


def test_colours_are_variables_of_the_style() -> None:
    svg = drawn().svg
    assert not re.search("#[0-9a-f]{6}", svg)
    used = set(re.findall(r"var\(--([\w-]+)\)", svg))
    assert {"ink", "line-1"} <= used <= set(re.findall(r"--([\w-]+):", STYLE))


def test_names_are_text_and_no_formulas() -> None:
    svg = drawn("<title>", "<b>$x$</b>").svg
    assert "&lt;b&gt;$x$&lt;/b&gt;" in svg
    assert 'aria-label="&lt;title&gt;.' in svg
    assert "<b>" not in svg
