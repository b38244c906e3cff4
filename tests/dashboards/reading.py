"""The dashboards as Grafana reads them: panels, expressions, variables."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.manifests.rendering import MANIFESTS

FOLDER = MANIFESTS / "monitoring" / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))

_VARIABLE = re.compile(r"\$(\w+)")
_LABEL_VALUES = re.compile(r"label_values\((?P<found>.+), (?P<label>\w+)\)")
_LEGEND = re.compile(r"{{(\w+)}}")


@dataclass(frozen=True)
class Expression:
    """A query of a dashboard: where it is, what it asks, and how it names what comes of it."""

    where: str
    text: str
    legend: str

    def __str__(self) -> str:
        return self.where

    @property
    def shown(self) -> frozenset[str]:
        """The labels that stand in a name."""
        return frozenset(_LEGEND.findall(self.legend))

    def named(self, labels: Mapping[str, str]) -> str:
        """Return what a series is called."""
        return _LEGEND.sub(lambda found: labels[found[1]], self.legend)

    def chosen(self, choices: Mapping[str, str]) -> str:
        """Return the query with its variables filled in; one that is not chosen is an error."""
        return _VARIABLE.sub(lambda found: choices[found[1]], self.text)


def dashboard(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def panels(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield panels, those in collapsed rows as well, and rows."""
    for panel in page["panels"]:
        yield panel
        yield from panel.get("panels", ())


def queried(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that show something, which rows do not."""
    return [panel for panel in panels(page) if panel["type"] != "row"]


def panel_expressions(page: Mapping[str, Any]) -> Iterator[Expression]:
    for panel in queried(page):
        for target in panel["targets"]:
            yield Expression(
                f"{page['uid']}: {panel['title']}, {target['refId']}",
                target["expr"],
                target["legendFormat"],
            )


def annotation_expressions(page: Mapping[str, Any]) -> Iterator[Expression]:
    for each in page["annotations"].get("list", ()):
        yield Expression(f"{page['uid']}: mark {each['name']}", each["expr"], each["textFormat"])


def variable_expressions(page: Mapping[str, Any]) -> Iterator[Expression]:
    for variable in page["templating"]["list"]:
        if variable["type"] == "query":
            found = _LABEL_VALUES.fullmatch(variable["query"])
            assert found, f"{variable['name']}: {variable['query']} is no label_values(...)"
            yield Expression(
                f"{page['uid']}: variable {variable['name']}",
                found["found"],
                f"{{{{{found['label']}}}}}",
            )


def expressions(page: Mapping[str, Any]) -> list[Expression]:
    return [
        *variable_expressions(page),
        *panel_expressions(page),
        *annotation_expressions(page),
    ]
