"""``make bench``: one command, one table, ratios within one run.

The same fitted model is served by each service in turn, and wrk sends each the same requests.
Absolute figures are those of the machine and the minute; the ratios are what is claimed.
"""

import argparse
import json
import platform
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import skops.io
from rich.console import Console
from rich.table import Table

from abserve.artifacts import MODEL_SKOPS
from abserve.repository import Repository
from benchmarks.services import NAMES, running, stock_settings
from training import read_definition, train
from training.definition import Definition, Estimator

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"

MODELS = {
    "linear": Estimator(estimator="sklearn.linear_model.LogisticRegression", scale=True),
    "forest of 100": Estimator(
        estimator="sklearn.ensemble.RandomForestClassifier",
        scale=False,
        parameters={"n_estimators": 100},
    ),
}
# Model, rows per request, connections at a time.
CASES = (
    ("linear", 1, 1),
    ("linear", 1, 8),
    ("linear", 1, 32),
    ("linear", 32, 8),
    ("linear", 1024, 8),
    ("forest of 100", 1, 1),
    ("forest of 100", 1, 8),
)

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def main() -> None:
    """Run the benchmark; print its table and write its figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="per figure (default 3)")
    seconds = parser.parse_args().seconds
    if shutil.which("wrk") is None:
        raise SystemExit("the load generator wrk is missing; on Debian: apt-get install wrk")
    console = Console(width=130)
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for model, estimator in MODELS.items():
            place = Path(folder) / model.replace(" ", "-")
            prepare(place, estimator)
            cases = [case for case in CASES if case[0] == model]
            for name in NAMES:
                with running(name, place) as url, console.status(f"{model}: {name}"):
                    figures += [
                        {"model": model, "rows": rows, "connections": connections, "service": name}
                        | measure(url, rows, connections, seconds, place)
                        for _, rows, connections in cases
                    ]
    console.print(table(figures))
    RESULTS.mkdir(exist_ok=True)
    report = {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "seconds_per_figure": seconds,
        "figures": figures,
    }
    path = RESULTS / "rest.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"written to {path.relative_to(ROOT)}")


def prepare(folder: Path, estimator: Estimator) -> None:
    """Fit one model, publish it for ours, and hand the same fitted pipeline to the peers."""
    described = read_definition(ROOT / "models", "iris")
    definition = Definition.model_validate(
        {**described.model_dump(), "versions": {"v1": estimator}}
    )
    repository = Repository((folder / "repository").as_uri())
    train(definition, "v1", repository, ROOT / "model-settings", lambda _: None)
    version = folder / "repository" / "iris" / "v1"
    shutil.copytree(version, folder / "abserve")
    content = (version / MODEL_SKOPS).read_bytes()
    # We wrote it a moment ago, so whatever types it names are ours.
    pipeline = skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
    (folder / "mlserver").mkdir()
    joblib.dump(pipeline, folder / "mlserver" / "model.joblib")
    stock_settings(folder / "mlserver")


def measure(url: str, rows: int, connections: int, seconds: int, folder: Path) -> dict[str, float]:
    """Return requests per second and latencies in seconds; the load ends by itself."""
    data = [5.1, 3.5, 1.4, 0.2] * rows
    # Stock MLServer takes any name, and its labels only: it is not asked for more.
    tensor = {"name": "features", "shape": [rows, 4], "datatype": "FP64", "data": data}
    script = folder / "request.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = '{json.dumps({'inputs': [tensor]})}'\n"
    )
    command = ["wrk", "-t1", f"-c{connections}", "--latency", "-s", str(script)]
    # Once for the caches, once for the figure.
    subprocess.run([*command, "-d1s", url], check=True, capture_output=True)
    done = subprocess.run([*command, f"-d{seconds}s", url], check=True, capture_output=True)
    said = done.stdout.decode()
    if "Non-2xx" in said:
        raise SystemExit(f"{url} refused requests:\n{said}")
    return {
        "requests_per_second": float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        "p50_seconds": _duration(said, 50),
        "p99_seconds": _duration(said, 99),
    }


def table(figures: list[dict[str, Any]]) -> Table:
    """Return a row per case: requests per second of each, and ours as a multiple of the peers."""
    shown = Table(title="REST JSON, requests per second", title_justify="left", box=None)
    shown.add_column("case")
    for name in NAMES:
        shown.add_column(name, justify="right")
    for name in NAMES[1:]:
        shown.add_column(f"x {name}", justify="right")
    shown.add_column("p99 ms", justify="right")
    for model, rows, connections in CASES:
        of_case = {
            figure["service"]: figure
            for figure in figures
            if (figure["model"], figure["rows"], figure["connections"])
            == (model, rows, connections)
        }
        rates = {name: of_case[name]["requests_per_second"] for name in NAMES}
        shown.add_row(
            f"{model}, {rows} row{'s' * (rows > 1)}, c={connections}",
            *(f"{rates[name]:,.0f}" for name in NAMES),
            *(f"{rates['abserve'] / rates[name]:.2f}" for name in NAMES[1:]),
            f"{of_case['abserve']['p99_seconds'] * 1000:.2f}",
        )
    return shown


def _duration(said: str, percent: int) -> float:
    value, unit = re.findall(rf"{percent}%\s+([\d.]+)(us|ms|s)\b", said)[0]
    return float(value) * _SECONDS[unit]


def _found(pattern: str, said: str) -> str:
    return str(re.findall(pattern, said)[0])


if __name__ == "__main__":
    main()
