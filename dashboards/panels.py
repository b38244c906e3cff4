"""Panels: each says in words what it shows, what is normal, and in which unit.

Colours are of Okabe and Ito's palette, which the colour-blind can tell apart: blue is fine,
yellow wants a look, vermilion wants somebody now. Colour never says what words do not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import bargauge, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as AnyDataquery
from grafana_foundation_sdk.models import common, dashboard

from dashboards.queries import Query

AnyPanel: TypeAlias = timeseries.Panel | stat.Panel | bargauge.Panel | statetimeline.Panel

BLUE, YELLOW, VERMILION = "#0072B2", "#E69F00", "#D55E00"
_GREY = "#999999"

RUNBOOK = "https://github.com/abserve/abserve/blob/main/docs/runbook"
DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="$datasource")

HEIGHT = 8
_LOW = 4
_THIN, _THICK = 1, 2
_PALE, _SOLID = 15, 70


@dataclass(frozen=True, slots=True)
class Levels:
    """From which value on a reader should look (`warn`), and from which somebody must act (`act`).

    With `low_is_bad`, the same downwards.
    """

    warn: float
    act: float
    low_is_bad: bool = False

    def build(self) -> dashboard_builders.ThresholdsConfig:
        steps: Sequence[tuple[float | None, str]] = (
            ((None, VERMILION), (self.act, YELLOW), (self.warn, BLUE))
            if self.low_is_bad
            else ((None, BLUE), (self.warn, YELLOW), (self.act, VERMILION))
        )
        return _thresholds(steps)


class _Shown(Protocol):
    """What every kind of panel's builder of the SDK can do."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: dashboard.DataSourceRef) -> Self: ...
    def height(self, h: int) -> Self: ...
    def span(self, w: int) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def no_value(self, no_value: str) -> Self: ...
    def links(self, links: list[Builder[dashboard.DashboardLink]]) -> Self: ...
    def targets(self, targets: list[Builder[AnyDataquery]]) -> Self: ...


_Panel = TypeVar("_Panel", bound=_Shown)


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 12,
    minimum: float | None = 0,
    maximum: float | None = None,
    levels: Levels | None = None,
    bar: float | None = None,
    stacked: bool = False,
    logarithmic: bool = False,
    runbook: str = "",
) -> timeseries.Panel:
    """Return a panel of values over time.

    Parameters
    ----------
    title, description, unit : str
        What it shows; what is normal, and what to do otherwise; Grafana's name of the unit.
    *queries : Query
        What is drawn.
    width : int, optional
        In 24ths of the page.
    minimum, maximum : float or None, optional
        Of the axis; None follows the data.
    levels : Levels, optional
        Drawn as lines.
    bar : float, optional
        One line that is to be reached.
    stacked, logarithmic : bool, optional
        Areas on top of each other; a logarithmic axis.
    runbook : str, optional
        The page of the runbook on the alert about this.
    """
    panel = _shown(timeseries.Panel(), title, description, unit, queries, width, HEIGHT, runbook)
    panel.line_width(_THICK).fill_opacity(_PALE if stacked else 0)
    panel.show_points(common.VisibilityMode.NEVER)
    panel.tooltip(
        common_builders.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    panel.legend(
        common_builders.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs(["mean", "max", "lastNotNull"])
    )
    if minimum is not None:
        panel.min(minimum)
    if maximum is not None:
        panel.max(maximum)
    if stacked:
        panel.line_width(_THIN)
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if logarithmic:
        panel.scale_distribution(
            common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        )
    if levels:
        panel.thresholds(levels.build())
    if bar is not None:
        panel.thresholds(_thresholds(((None, _GREY), (bar, BLUE))))
    if levels or bar is not None:
        panel.thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        )
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 6,
    levels: Levels | None = None,
    decimals: int | None = None,
    none: str = "no data",
    runbook: str = "",
) -> stat.Panel:
    """Return a panel of the latest values as numbers; of several series, each with its name."""
    panel = _shown(
        stat.Panel(), title, description, unit, queries, width, _LOW, runbook, latest=True
    )
    panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.no_value(none).graph_mode(common.BigValueGraphMode.NONE)
    panel.color_mode(common.BigValueColorMode.VALUE)
    panel.thresholds(levels.build() if levels else _thresholds(((None, BLUE),)))
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def words(
    title: str,
    description: str,
    query: Query,
    *,
    width: int = 6,
    none: str = "no data",
    runbook: str = "",
) -> stat.Panel:
    """Return a panel that shows the labels of series, and no number."""
    panel = number(title, description, "none", query, width=width, none=none, runbook=runbook)
    return panel.text_mode(common.BigValueTextMode.NAME)


def bars(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 12,
    maximum: float | None = None,
    levels: Levels | None = None,
    runbook: str = "",
) -> bargauge.Panel:
    """Return a panel of the latest values as bars, one below the other."""
    panel = _shown(
        bargauge.Panel(), title, description, unit, queries, width, HEIGHT, runbook, latest=True
    )
    panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.orientation(common.VizOrientation.HORIZONTAL)
    panel.display_mode(common.BarGaugeDisplayMode.BASIC).min(0)
    panel.thresholds(levels.build() if levels else _thresholds(((None, BLUE),)))
    if maximum is not None:
        panel.max(maximum)
    return panel


def states(
    title: str,
    description: str,
    query: Query,
    *,
    names: Mapping[int, str],
    width: int = 24,
) -> statetimeline.Panel:
    """Return a panel that shows when each series was 1, 0, ... by the `names` of these values."""
    panel = _shown(statetimeline.Panel(), title, description, "none", (query,), width, HEIGHT)
    shades = (_GREY, BLUE, YELLOW, VERMILION)
    results = {
        str(value): dashboard.ValueMappingResult(text=name, color=shades[value], index=value)
        for value, name in names.items()
    }
    panel.mappings([dashboard.ValueMap(options=results)])
    panel.show_value(common.VisibilityMode.AUTO).merge_values(True)
    return panel.line_width(0).fill_opacity(_SOLID)


def coloured_by_variant(panel: timeseries.Panel, dashed: str = "") -> timeseries.Panel:
    """Draw all that begins with the name of a variant in its colour.

    What matches the regular expression `dashed` is drawn as dashes.
    """
    for variant, colour in (("baseline", BLUE), ("candidate", YELLOW)):
        fixed = {"mode": "fixed", "fixedColor": colour}
        chosen = dashboard.DynamicConfigValue(id_val="color", value=fixed)
        panel = panel.override_by_regexp(f"/^{variant}/", [chosen])
    if dashed:
        style = {"fill": "dash", "dash": [8, 8]}
        value = dashboard.DynamicConfigValue(id_val="custom.lineStyle", value=style)
        panel = panel.override_by_regexp(dashed, [value])
    return panel


def banded(panel: timeseries.Panel, upper: str, lower: str) -> timeseries.Panel:
    """Fill what is between two series, each found by its whole name."""
    band = [
        dashboard.DynamicConfigValue(id_val="custom.fillBelowTo", value=lower),
        dashboard.DynamicConfigValue(id_val="custom.fillOpacity", value=_PALE),
        dashboard.DynamicConfigValue(id_val="custom.lineWidth", value=_THIN),
    ]
    thin = [dashboard.DynamicConfigValue(id_val="custom.lineWidth", value=_THIN)]
    return panel.override_by_name(upper, band).override_by_name(lower, thin)


def _shown(
    panel: _Panel,
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    width: int,
    height: int,
    runbook: str = "",
    *,
    latest: bool = False,
) -> _Panel:
    panel.title(title).description(description).datasource(DATASOURCE)
    if runbook:
        panel.links([_runbook_link(runbook)])
    panel.unit(unit).span(width).height(height).no_value("no data")
    return panel.targets([_target(each, at, latest=latest) for at, each in enumerate(queries)])


def _target(query: Query, at: int, *, latest: bool) -> Dataquery:
    target = Dataquery().expr(query.expression).legend_format(query.legend)
    target.ref_id("ABCDEFGH"[at]).datasource(DATASOURCE)
    return target.instant() if latest else target.range()


def _runbook_link(page: str) -> dashboard_builders.DashboardLink:
    return (
        dashboard_builders.DashboardLink("What to do about it")
        .type(dashboard.DashboardLinkType.LINK)
        .url(f"{RUNBOOK}/{page}.md")
        .target_blank(True)
    )


def _thresholds(
    steps: Sequence[tuple[float | None, str]],
) -> dashboard_builders.ThresholdsConfig:
    built = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return (
        dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(built)
    )
