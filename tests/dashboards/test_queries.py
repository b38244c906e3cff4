"""Every query of every dashboard parses, and asks for what there is."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.slo import AVAILABILITY, LATENCY, Objective
from tests.dashboards.promql import Exposed, UnknownNameError, labels_of
from tests.dashboards.reading import FILES, dashboard, expressions, queried
from tests.manifests.live_metrics import live_metrics
from tests.manifests.rendering import MANIFESTS, ROOT

RULES = MANIFESTS / "monitoring" / "rules"
CHOICES = {
    "namespace": "models",
    "deployment": "iris",
    "predictor": ".*",
    "model": ".*",
    "version": ".*",
    "window": "1h",
    "__rate_interval": "1m",
    "__range": "6h",
}
EXAMPLE: Exposed = {
    "seen_total": frozenset({"pod", "outcome"}),
    "size_bucket": frozenset({"pod", "le"}),
}


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for file in sorted(RULES.glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
        for group in document["spec"]["groups"]
        for rule in group["rules"]
        if "record" in rule
    ]


@pytest.fixture(scope="module")
def exposed() -> Exposed:
    """What live processes expose, and what our rules record of it, in their order."""
    found = {name: frozenset(labels) for name, labels in live_metrics().items()}
    for rule in rules():
        recorded = labels_of(rule["expr"], found)
        found[rule["record"]] = found.get(rule["record"], frozenset()) | recorded
    return found


@pytest.mark.e2e
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_name_is_one_that_is_exposed(exposed: Exposed, file: Path) -> None:
    for each in expressions(dashboard(file)):
        labels = labels_of(each.chosen(CHOICES), exposed)
        assert each.shown <= labels, f"{each} names {sorted(each.shown - labels)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_variables_of_queries_can_be_chosen_on_the_page(file: Path) -> None:
    page = dashboard(file)
    choices = {each["name"]: "x" for each in page["templating"]["list"]}
    for each in expressions(page):
        each.chosen({**choices, "__rate_interval": "1m", "__range": "6h"})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_lead_to_pages_of_the_runbook_that_exist(file: Path) -> None:
    folder = ROOT / "docs" / "runbook"
    for panel in queried(dashboard(file)):
        for link in panel.get("links", ()):
            assert (folder / link["url"].rpartition("/")[2]).is_file(), link["url"]


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("sum by (pod) (rate(seen_total[1m]))", {"pod"}),
        ("sum without (pod) (seen_total)", {"outcome"}),
        ("sum(seen_total)", set()),
        ("histogram_quantile(0.5, sum by (pod, le) (rate(size_bucket[1m])))", {"pod"}),
        ('label_replace(seen_total, "new", "x", "", "")', {"pod", "outcome", "new"}),
        ("sum by (pod) (seen_total) / on (pod) group_left () sum by (pod) (seen_total)", {"pod"}),
        ("time() - seen_total", {"pod", "outcome"}),
        ("seen_total unless seen_total offset 2m == 1", {"pod", "outcome"}),
    ],
)
def test_labels_of_a_result_are_known(expression: str, labels: set[str]) -> None:
    assert labels_of(expression, EXAMPLE) == labels


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("seen_totals", "nothing exposes seen_totals"),
        ('seen_total{outcomes="ok"}', r"seen_total has no label \['outcomes'\]"),
        ("sum by (version) (seen_total)", r"has no label \['version'\]"),
        ("histogram_quantile(0.5, sum by (pod) (size_bucket))", r"has no label \['le'\]"),
        ("seen_total / on (le) size_bucket", r"both sides of / has no label \['le'\]"),
    ],
)
def test_wrong_names_are_noticed(expression: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        labels_of(expression, EXAMPLE)


@pytest.mark.parametrize("objective", [AVAILABILITY, LATENCY], ids=lambda each: each.name)
def test_budgets_are_those_that_the_alerts_know(objective: Objective) -> None:
    alerts = (RULES / "slo.yaml").read_text()
    assert f"{objective.ratio}1h > 14.4 * {objective.budget}\n" in alerts
    assert f"{objective.ratio}6h > 6 * {objective.budget}\n" in alerts
    assert f"/docs/runbook/{objective.runbook}.md" in alerts
