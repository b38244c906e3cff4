"""All pages by the name of their file, and how one becomes JSON."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.experiment import experiment
from dashboards.mlserver import mlserver
from dashboards.model import model
from dashboards.slo import slo

FOLDER = Path(__file__).resolve().parents[1] / "manifests" / "monitoring" / "dashboards"

PAGES: Mapping[str, Callable[[], Dashboard]] = {
    "mlserver": mlserver,
    "model": model,
    "experiment": experiment,
    "slo": slo,
}


def as_json(page: Dashboard) -> str:
    """Return a page as git holds it: the same text for the same page."""
    return json.dumps(page, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
