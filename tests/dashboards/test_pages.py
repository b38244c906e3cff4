"""The dashboards in git are what the code writes, and what Grafana can show."""

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.page import TAG
from dashboards.pages import PAGES, as_json
from dashboards.panels import RUNBOOK, Levels, lines
from dashboards.queries import Query
from tests.dashboards.reading import FILES, FOLDER, dashboard, panels, queried
from tests.manifests.rendering import rendered

# The ids of units are Grafana's (its package @grafana/data, valueFormats/categories); one that it
# does not know would be printed behind each number.
UNITS = {
    *("none", "short", "percent", "percentunit", "bytes", "s"),
    *("reqps", "rowsps", "cps"),
}
PAGE_WIDTH = 24
OKABE_ITO = {"#0072B2", "#E69F00", "#D55E00", "#999999"}

each_page = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def area(panel: Mapping[str, Any]) -> set[tuple[int, int]]:
    at = panel["gridPos"]
    return {
        (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    }


@pytest.mark.parametrize("name", PAGES)
def test_git_holds_what_the_code_writes(name: str) -> None:
    written = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert written == as_json(PAGES[name]()), "run: python -m dashboards"


def test_every_page_has_its_file_and_no_file_is_left_over() -> None:
    assert [file.stem for file in FILES] == sorted(PAGES)


@each_page
def test_grafanas_own_model_reads_the_page_and_loses_nothing(file: Path) -> None:
    register_default_plugins()
    page = dashboard(file)
    read = json.loads(json.dumps(Dashboard.from_json(page), cls=JSONEncoder))
    for each in page["annotations"].get("list", ()):
        # The SDK does not know these; Grafana's Prometheus data source does.
        for own in ("titleFormat", "textFormat", "useValueForTime", "step"):
            del each[own]
    assert read == page


@each_page
def test_panels_have_numbers_of_their_own(file: Path) -> None:
    ids = [panel["id"] for panel in panels(dashboard(file))]
    assert ids == list(range(1, len(ids) + 1))


@each_page
def test_panels_are_within_the_page_and_none_covers_another(file: Path) -> None:
    shown = list(panels(dashboard(file)))
    assert [p["title"] for p in shown if p["gridPos"]["x"] + p["gridPos"]["w"] > PAGE_WIDTH] == []
    covered = [
        (one["title"], other["title"])
        for one, other in combinations(shown, 2)
        if area(one) & area(other)
    ]
    assert covered == []


@each_page
def test_every_panel_says_what_it_shows_in_which_unit_and_what_to_do(file: Path) -> None:
    for panel in queried(dashboard(file)):
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]


@each_page
def test_titles_are_told_apart(file: Path) -> None:
    titles = [panel["title"] for panel in panels(dashboard(file))]
    assert len(set(titles)) == len(titles)


@each_page
def test_colours_of_levels_are_told_apart_by_the_colour_blind(file: Path) -> None:
    steps = [
        step
        for panel in queried(dashboard(file))
        for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ())
    ]
    assert {step["color"] for step in steps} <= OKABE_ITO


@each_page
def test_whoever_opens_a_page_chooses_where_and_can_go_on_from_there(file: Path) -> None:
    page = dashboard(file)
    assert page["uid"] == f"abserve-{file.stem}"
    assert page["refresh"] == "30s"
    names = [variable["name"] for variable in page["templating"]["list"]]
    assert names[:3] == ["datasource", "namespace", "deployment"]
    to_pages, to_runbook = page["links"]
    assert to_pages["tags"] == [TAG]
    assert page["tags"] == [TAG]
    assert to_pages["includeVars"]
    assert to_pages["keepTime"]
    assert to_runbook["url"] == RUNBOOK


@each_page
def test_every_query_asks_the_prometheus_that_was_chosen(file: Path) -> None:
    page = dashboard(file)
    asked = [
        *(target["datasource"] for panel in queried(page) for target in panel["targets"]),
        *(panel["datasource"] for panel in queried(page)),
        *(each["datasource"] for each in page["annotations"].get("list", ())),
        *(each["datasource"] for each in page["templating"]["list"] if each["type"] == "query"),
    ]
    assert {(each["type"], each["uid"]) for each in asked} == {("prometheus", "$datasource")}


def test_each_page_is_a_config_map_that_grafanas_sidecar_finds() -> None:
    maps = rendered(FOLDER)
    held = {name: text for each in maps for name, text in each["data"].items()}
    assert held == {file.name: file.read_text(encoding="utf-8") for file in FILES}
    assert {each["kind"] for each in maps} == {"ConfigMap"}
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in maps} == {"1"}
    # A ConfigMap holds 1 MiB at most, and kubectl apply keeps it a second time, in 256 KiB.
    assert all(len(text.encode()) < 250_000 for text in held.values())


def test_flux_leaves_grafanas_variables_alone() -> None:
    annotations = [each["metadata"]["annotations"] for each in rendered(FOLDER)]
    switches = {each["kustomize.toolkit.fluxcd.io/substitute"] for each in annotations}
    assert switches == {"disabled"}


def test_levels_are_crossed_upwards_or_downwards() -> None:
    upwards = Levels(warn=1, act=2).build().build().to_json()["steps"]
    downwards = Levels(warn=2, act=1, low_is_bad=True).build().build().to_json()["steps"]
    assert [(step.value, step.color) for step in upwards] == [
        (None, "#0072B2"),
        (1, "#E69F00"),
        (2, "#D55E00"),
    ]
    assert [(step.value, step.color) for step in downwards] == [
        (None, "#D55E00"),
        (1, "#E69F00"),
        (2, "#0072B2"),
    ]


def test_queries_of_a_panel_are_lettered_in_order() -> None:
    panel = lines("Two", "Two lines.", "s", Query("up", "up"), Query("time()", "now")).build()
    assert [target.ref_id for target in panel.targets or ()] == ["A", "B"]
