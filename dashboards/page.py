"""A page: rows of panels, what one chooses at its top, and where one goes from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

from dashboards.panels import DATASOURCE, RUNBOOK, AnyPanel
from dashboards.queries import DEPLOYMENT, REPLICAS

TAG = "abserve"

Variable: TypeAlias = Builder[dashboard.VariableModel]


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading; a `collapsed` row asks nothing of Prometheus until it is opened."""

    title: str
    panels: tuple[AnyPanel, ...]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Mark(Builder[dashboard.AnnotationQuery]):
    """A mark at each moment that `expression` ever had as its value, on every panel over time.

    The value is in seconds since 1970. So the mark is where it belongs however far apart the
    points of a panel are, and a series that goes away and comes back makes no second one.
    """

    name: str
    expression: str
    text: str
    colour: str

    def build(self) -> dashboard.AnnotationQuery:
        return _Annotation(self)


class _Annotation(dashboard.AnnotationQuery):
    """An annotation with the text that the Prometheus data source knows and the SDK does not."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(
            name=mark.name,
            datasource=DATASOURCE,
            enable=True,
            icon_color=mark.colour,
            # Grafana counts milliseconds.
            expr=f"1000 * {mark.expression}",
        )
        self._text = mark.text

    def to_json(self) -> dict[str, object]:
        return {
            **super().to_json(),
            "titleFormat": self.name,
            "textFormat": self._text,
            "useValueForTime": True,
            "step": "60s",
        }


def page(
    name: str,
    title: str,
    description: str,
    variables: Sequence[Variable],
    rows: Sequence[Row],
    *,
    marks: Sequence[Mark] = (),
    since: str = "now-6h",
) -> dashboard.Dashboard:
    """Return a dashboard, its panels numbered in the order of reading.

    Its `uid` is ``abserve-<name>``, so links to it survive.
    """
    built = (
        builders.Dashboard(title)
        .uid(f"abserve-{name}")
        .description(description)
        .tags([TAG])
        .readonly()
        .refresh("30s")
        .time(since, "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables([_datasource(), *variables])
        .links([_pages_link(), _runbook_link()])
    )
    if marks:
        built.annotations(list(marks))
    numbers = iter(range(1, 1000))
    for row in rows:
        _add(built, row, numbers)
    return built.build()


def _add(built: builders.Dashboard, row: Row, numbers: Iterator[int]) -> None:
    head = builders.Row(row.title).id(next(numbers)).collapsed(row.collapsed)
    panels = [panel.id(next(numbers)) for panel in row.panels]
    if row.collapsed:
        for panel in panels:
            head.with_panel(panel)
    built.with_row(head)
    if not row.collapsed:
        for panel in panels:
            built.with_panel(panel)


def namespace(metric: str) -> builders.QueryVariable:
    """Return the choice of a namespace, of those in which `metric` is."""
    return _choice("namespace", "Namespace", "Where the SeldonDeployment is", metric)


def deployment(metric: str) -> builders.QueryVariable:
    """Return the choice of a SeldonDeployment, of those of which there is `metric`."""
    found = f'{metric}{{namespace="$namespace"}}'
    return _choice("deployment", "SeldonDeployment", "Whose predictors are shown", found)


def replicas_and_versions() -> list[builders.QueryVariable]:
    """Return the choices of predictors, models and versions: all of them at first."""
    info = "abserve_model_info"
    return [
        _choices("predictor", "Predictor", "Predictors", f"{info}{{{DEPLOYMENT}}}"),
        _choices("model", "Model", "Models", f"{info}{{{REPLICAS}}}"),
        _choices("version", "Version", "Versions", f'{info}{{{REPLICAS},model=~"$model"}}'),
    ]


def window(default: str = "1h") -> builders.CustomVariable:
    """Return the choice of how far back what is rare is added up."""
    chosen = dashboard.VariableOption(selected=True, text=default, value=default)
    return (
        builders.CustomVariable("window")
        .label("Window")
        .description("How far back feedback is added up: it is rarer than requests")
        .values("15m,1h,6h,1d,7d")
        .current(chosen)
    )


def _datasource() -> builders.DatasourceVariable:
    return (
        builders.DatasourceVariable("datasource")
        .label("Prometheus")
        .description("Which Prometheus is asked")
        .type("prometheus")
    )


def _choice(name: str, label: str, description: str, found: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(DATASOURCE)
        .query(f"label_values({found}, {name})")
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )


def _choices(name: str, label: str, description: str, found: str) -> builders.QueryVariable:
    everything = dashboard.VariableOption(selected=True, text="All", value="$__all")
    return (
        _choice(name, label, f"{description} that are shown", found)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


def _pages_link() -> builders.DashboardLink:
    return (
        builders.DashboardLink("abserve")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .tooltip("The other pages, of the same SeldonDeployment and time")
        .include_vars(True)
        .keep_time(True)
    )


def _runbook_link() -> builders.DashboardLink:
    return (
        builders.DashboardLink("Runbook")
        .type(dashboard.DashboardLinkType.LINK)
        .url(RUNBOOK)
        .icon("doc")
        .tooltip("What to do about each alert")
        .target_blank(True)
    )
