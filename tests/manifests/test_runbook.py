"""The runbook: every page is found, and every link leads somewhere."""

import re

import pytest
import yaml

from tests.manifests.rendering import MANIFESTS, ROOT

RUNBOOK = ROOT / "docs/runbook"
PAGES = sorted(each.name for each in RUNBOOK.glob("*.md") if each.name != "README.md")


def alerts() -> set[str]:
    """Return the pages that alerts link to."""
    rules = (MANIFESTS / "monitoring/rules").glob("*.yaml")
    return {
        rule["annotations"]["runbook_url"].rpartition("/")[2].partition("#")[0]
        for path in rules
        for document in yaml.safe_load_all(path.read_text())
        if document and document.get("kind") == "PrometheusRule"
        for group in document["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def test_every_page_is_linked_by_the_table_or_by_an_alert() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (RUNBOOK / "README.md").read_text()))
    assert set(PAGES) == linked | alerts()


@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_every_link_of_a_page_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (RUNBOOK / page).read_text())
    assert [each for each in links if not (RUNBOOK / each).is_file()] == []
