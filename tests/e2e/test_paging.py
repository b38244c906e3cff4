"""Somebody is called: an outage of what really serves comes out of Alertmanager as a page.

::

    clients ──> gateway ──> replicas, which are killed
                   └── Prometheus, our rules ──> Alertmanager, our routes ──> web server

Rules are evaluated once a second instead of once a minute, and nothing else differs.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.alertmanager_process import Inbox, alertmanager_telling, stack_values
from tests.e2e.debian import needs
from tests.e2e.local_cluster import ROOT, LocalCluster, infer, wait_until
from tests.e2e.prometheus_process import Prometheus
from tests.e2e.test_dashboards import _gateway, _rules

pytestmark = [
    pytest.mark.e2e,
    needs("prometheus"),
    needs("prometheus-alertmanager"),
]

# As kube-prometheus-stack has it.
WATCHDOG = {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}}
RUNBOOK = "https://github.com/abserve/abserve/blob/main/"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    box = Inbox()
    yield box
    box.close()


@pytest.fixture
def prometheus(iris_cluster: LocalCluster, inbox: Inbox, tmp_path: Path) -> Iterator[Prometheus]:
    config = stack_values()["alertmanager"]["config"]
    alertmanager = alertmanager_telling(inbox, config, tmp_path)
    watchdog = tmp_path / "watchdog.yaml"
    watchdog.write_text(yaml.safe_dump({"groups": [{"name": "general", "rules": [WATCHDOG]}]}))
    rules = [*_rules(tmp_path), watchdog]
    running = Prometheus(tmp_path, [_gateway(iris_cluster)], rules, alertmanager)
    yield running
    running.kill()
    alertmanager.kill()


def test_an_outage_calls_somebody_and_says_where_to_read_on(
    iris_cluster: LocalCluster, prometheus: Prometheus, inbox: Inbox
) -> None:
    url = iris_cluster.url()

    def answered(status: int) -> bool:
        return infer(url).status_code == status

    def well() -> bool:
        found = prometheus.query('abserve:error_ratio:rate5m{deployment="iris"} == 0')
        return answered(200) and bool(found)

    def told() -> bool:
        for pod in iris_cluster.pods("iris"):
            name = pod["metadata"]["name"]
            iris_cluster.must("kubectl", "delete", "pod", name, "--now", "--ignore-not-found")
        for _ in range(20):
            infer(url)
        return bool(inbox.received["/page"])

    wait_until(well, lambda: prometheus.query("abserve:gateway_requests:rate5m"))
    wait_until(told, lambda: prometheus.query("ALERTS"))
    page = inbox.received["/page"][0]
    assert page["groupLabels"] == {"namespace": "default", "deployment": "iris"}
    assert inbox.names("/page")[0] == ["AvailabilityBudgetBurn"] * 2
    for alert in page["alerts"]:
        assert alert["labels"]["severity"] == "page"
        runbook = alert["annotations"]["runbook_url"]
        assert (ROOT / runbook.removeprefix(RUNBOOK)).is_file()
    # The ticket on the same thing is kept back, and the heartbeat goes on.
    assert inbox.names("/ticket") == []
    assert inbox.names("/heartbeat")[0] == ["Watchdog"]
