"""What Prometheus scrapes, records and warns of: it is what there is, and every alert can fire."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from abserve.seldon import SeldonDeployment
from runtimes.tally import SECONDS
from tests.e2e.debian import needs
from tests.manifests.live_metrics import live_metrics
from tests.manifests.rendering import MANIFESTS, ROOT, rendered

MONITORING = MANIFESTS / "monitoring"
RULES = sorted(each.stem for each in (MONITORING / "rules").glob("*.yaml"))
CASES = sorted(each.stem for each in (MONITORING / "tests").glob("*.yaml"))
RUNBOOK = "https://github.com/abserve/abserve/blob/main/docs/runbook/"
MODELS = ("iris", "breast-cancer", "diabetes", "digits")
ENVIRONMENTS = ("staging", "production")
needs_promtool = needs("promtool", "prometheus")


def rules_of(file: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((MONITORING / "rules" / f"{file}.yaml").read_text())
    return [rule for group in document["spec"]["groups"] for rule in group["rules"]]


ALL_RULES = [rule for file in RULES for rule in rules_of(file)]
ALERTS = [rule for rule in ALL_RULES if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})


def kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def page_of(alert: str) -> Path:
    return ROOT / "docs/runbook" / f"{kebab(alert)}.md"


def promtool(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules without what Kubernetes needs around them, beside their cases."""
    folder = tmp_path_factory.mktemp("rules")
    for file in RULES:
        document = yaml.safe_load((MONITORING / "rules" / f"{file}.yaml").read_text())
        (folder / f"{file}.yaml").write_text(yaml.safe_dump(document["spec"]))
    for file in CASES:
        shutil.copy(MONITORING / "tests" / f"{file}.yaml", folder / f"test-{file}.yaml")
    return folder


# Rules.


@needs_promtool
@pytest.mark.parametrize("file", RULES)
def test_promtool_takes_the_rules(plain: Path, file: str) -> None:
    promtool(plain, "check", "rules", "--lint=all", "--lint-fatal", f"{file}.yaml")


@needs_promtool
@pytest.mark.parametrize("file", CASES)
def test_rules_record_and_warn_as_their_cases_say(plain: Path, file: str) -> None:
    promtool(plain, "test", "rules", f"test-{file}.yaml")


def cases() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for file in CASES:
        for test in yaml.safe_load((MONITORING / "tests" / f"{file}.yaml").read_text())["tests"]:
            for case in test.get("alert_rule_test", ()):
                yield case["alertname"], case["exp_alerts"]


@pytest.mark.parametrize("alert", NAMES)
def test_every_alert_has_a_case_in_which_it_is_silent(alert: str) -> None:
    assert [] in [expected for name, expected in cases() if name == alert]


@pytest.mark.parametrize(
    ("alert", "labels"),
    [
        pytest.param(
            rule["alert"], rule["labels"], id="-".join([rule["alert"], *rule["labels"].values()])
        )
        for rule in ALERTS
    ],
)
def test_every_alert_has_a_case_in_which_it_fires(alert: str, labels: dict[str, str]) -> None:
    fired = [each["exp_labels"] for name, expected in cases() if name == alert for each in expected]
    assert any(labels.items() <= each.items() for each in fired)


def test_of_what_is_empty_idle_or_gone_no_alert_says_anything() -> None:
    silence = yaml.safe_load((MONITORING / "tests/silence.yaml").read_text())
    for test in silence["tests"]:
        assert {each["alertname"] for each in test["alert_rule_test"]} == set(NAMES)
        assert [each for each in test["alert_rule_test"] if each["exp_alerts"]] == []


@pytest.mark.parametrize("alert", ["AvailabilityBudgetBurn", "LatencyBudgetBurn"])
def test_windows_take_the_shares_of_the_budget_that_the_sre_workbook_has(alert: str) -> None:
    """Chapter 5: 2 % of 30 days in an hour and 5 % in six page, 10 % in three days do not."""
    hours = {"5m": 1 / 12, "30m": 0.5, "1h": 1, "6h": 6, "3d": 72}
    found = []
    for rule in rules_of("slo"):
        if rule["alert"] == alert:
            (long, factor), (short, same_factor) = re.findall(
                r"_ratio:rate(\w+) > ([\d.]+) \*", rule["expr"]
            )
            assert factor == same_factor
            assert hours[short] == hours[long] / 12
            assert rule["labels"]["window"] == long
            share = float(factor) * hours[long] / (30 * 24)
            found.append((rule["labels"]["severity"], long, round(share, 12)))
    assert found == [("page", "1h", 0.02), ("page", "6h", 0.05), ("ticket", "3d", 0.1)]


# What alerts say.


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert annotations["runbook_url"] == f"{RUNBOOK}{kebab(rule['alert'])}.md"
    assert len(annotations["summary"]) < 100
    where = "exported_namespace" if rule["alert"] == "GitNotApplied" else "namespace"
    assert f"{{{{ $labels.{where} }}}}" in annotations["description"]


@pytest.mark.parametrize("alert", NAMES)
def test_every_alert_has_its_page_of_the_runbook(alert: str) -> None:
    page = page_of(alert).read_text()
    assert page.startswith(f"# {alert}\n")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings == ["What it means", "How to look", "What to do"]
    look = page.partition("## How to look")[2].partition("## What to do")[0]
    assert "```sh\n" in look


def test_a_link_of_a_page_leads_somewhere() -> None:
    for alert in NAMES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page_of(alert).read_text()):
            assert (page_of(alert).parent / target).exists(), f"{alert}: {target}"


def test_the_page_on_monitoring_names_every_alert() -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    told = re.findall(r"^\| \[`(\w+)`\]\(runbook/([a-z-]+)\.md\)", page, re.MULTILINE)
    assert sorted(told) == [(name, kebab(name)) for name in NAMES]


# Names in queries.


@cache
def known() -> Mapping[str, set[str]]:
    """All names that can be queried, with their labels: of servers, and what is recorded."""
    found = dict(live_metrics())
    for rule in ALL_RULES:
        if "record" in rule:
            found[rule["record"]] = labels_of(promql_parser.parse(rule["expr"]), found)
    return found


def labels_of(node: Any, names: Mapping[str, set[str]]) -> set[str]:
    """Return the labels of what an expression yields; all that could be, if it does not say."""
    if isinstance(node, promql_parser.AggregateExpr):
        assert node.modifier is None or node.modifier.type == promql_parser.AggModifierType.By
        return set(node.modifier.labels) if node.modifier else set()
    if isinstance(node, promql_parser.VectorSelector):
        return names[node.name]
    return set().union(*(labels_of(each, names) for each in below(node)))


def below(node: Any) -> list[Any]:
    if isinstance(node, promql_parser.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, promql_parser.Call):
        return [each for each in node.args if not isinstance(each, promql_parser.StringLiteral)]
    if isinstance(node, promql_parser.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, promql_parser.AggregateExpr | promql_parser.ParenExpr):
        return [node.expr]
    return []


def wrong_names(expression: str, names: Mapping[str, set[str]]) -> list[str]:
    """Return what an expression asks for that there is not: metrics, and labels of metrics."""
    return list(_wrong(promql_parser.parse(expression), names))


def _wrong(node: Any, names: Mapping[str, set[str]]) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        if node.name not in names:
            yield node.name
            return
        asked = {each.name for each in node.matchers.matchers}
        yield from (f"{node.name}{{{label}}}" for label in sorted(asked - names[node.name]))
        return
    inner = [*below(node)]
    for each in inner:
        yield from _wrong(each, names)
    if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
        made = {*_metrics_labels(node.expr, names), *_replaced(node.expr)}
        yield from (f"by ({label})" for label in sorted({*node.modifier.labels} - made))


def _metrics_labels(node: Any, names: Mapping[str, set[str]]) -> set[str]:
    if isinstance(node, promql_parser.VectorSelector):
        return names.get(node.name, set())
    return set().union(*(_metrics_labels(each, names) for each in below(node)))


def _replaced(node: Any) -> set[str]:
    """Return the labels that label_replace makes."""
    found = set().union(*(_replaced(each) for each in below(node)))
    if isinstance(node, promql_parser.Call) and node.func.name == "label_replace":
        found.add(node.args[1].val)
    return found


@pytest.mark.parametrize(
    "rule", ALL_RULES, ids=lambda rule: str(rule.get("alert") or rule.get("record"))
)
def test_every_name_in_a_rule_is_one_that_is_exposed(rule: dict[str, Any]) -> None:
    assert wrong_names(rule["expr"], known()) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("rate(abserve_request_total[5m])", ["abserve_request_total"]),
        ('abserve_requests_total{result="ok"}', ["abserve_requests_total{result}"]),
        ("sum by (variant) (rate(abserve_requests_total[5m]))", ["by (variant)"]),
        ('sum by (outcome) (abserve_requests_total{version="v1"})', []),
    ],
)
def test_a_name_that_is_not_exposed_is_found(expression: str, wrong: list[str]) -> None:
    assert wrong_names(expression, known()) == wrong


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_labels_in_what_an_alert_says_are_those_that_it_has(rule: dict[str, Any]) -> None:
    said = re.findall(r"\$labels\.(\w+)", "".join(rule["annotations"].values()))
    expression = promql_parser.parse(rule["expr"])
    assert set(said) <= labels_of(expression, known()) | _replaced(expression)


def test_the_latency_objective_is_a_bound_of_the_histogram() -> None:
    bounds = {
        float(bound) for rule in ALL_RULES for bound in re.findall(r'le="([0-9.]+)"', rule["expr"])
    }
    assert bounds == {0.05}
    assert bounds <= set(SECONDS)


# What is scraped.


@pytest.fixture(scope="module")
def monitors() -> dict[str, dict[str, Any]]:
    found = [each for each in rendered(MONITORING) if each["kind"] == "PodMonitor"]
    return {each["metadata"]["name"]: each["spec"] for each in found}


def test_all_rules_are_rendered() -> None:
    found = [each for each in rendered(MONITORING) if each["kind"] == "PrometheusRule"]
    assert len(found) == len(RULES)
    assert {each["metadata"]["namespace"] for each in found} == {"monitoring"}


def test_replicas_are_scraped_as_a_rollout_needs_it(monitors: dict[str, dict[str, Any]]) -> None:
    spec = monitors["abserve-runtimes"]
    (endpoint,) = spec["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/prometheus")
    # At most half of --prometheus-recent, which is 60 s.
    assert endpoint["interval"] == "15s"
    assert spec["podTargetLabels"] == ["seldon-deployment-id"]
    added = {each["targetLabel"] for each in endpoint["relabelings"]}
    assert added == {"deployment", "predictor", "node"}
    # It would rename the version that the metrics are labelled with, or the model.
    assert not added & {"version", "model"}


def test_the_controllers_port_is_scraped_and_let_through(
    monitors: dict[str, dict[str, Any]],
) -> None:
    by_kind = {each["kind"]: each for each in rendered(MANIFESTS / "base/rollout")}
    template = by_kind["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    (port,) = container["ports"]
    assert f"--metrics-port={port['containerPort']}" in container["args"]
    spec = monitors["abserve-rollout"]
    assert spec["podMetricsEndpoints"][0]["port"] == port["name"]
    assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (ingress,) = by_kind["NetworkPolicy"]["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": port["name"]}]


# The versions that git wants.


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_prometheus_is_told_the_versions_that_git_wants(environment: str, model: str) -> None:
    found = rendered(MANIFESTS / "overlays" / environment / model)
    (document,) = [each for each in found if each["kind"] == "SeldonDeployment"]
    (rule,) = [each for each in found if each["kind"] == "PrometheusRule"]
    assert rule["metadata"]["name"] == f"{model}-versions"
    assert rule["metadata"]["namespace"] == document["metadata"]["namespace"]
    (group,) = rule["spec"]["groups"]
    assert [each["labels"] for each in group["rules"]] == [
        {
            "namespace": document["metadata"]["namespace"],
            "deployment": model,
            "predictor": predictor.name,
            "version": str(predictor.graph.model_uri).rpartition("/")[2],
        }
        for predictor in SeldonDeployment.parse(document).spec.predictors
    ]


def test_one_machine_is_told_nothing_that_it_does_not_know() -> None:
    kinds = {each["kind"] for each in rendered(MANIFESTS / "overlays/local/iris")}
    assert "PrometheusRule" not in kinds
