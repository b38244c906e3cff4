"""One training in a process of its own, which may not use more than 4 GiB.

``python -m benchmarks.one_training ESTIMATOR CSV FOLDER`` trains a version from the file, publishes
it in the folder, and prints its marks as one line of JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

LIMIT_BYTES = 4 * 2**30
N_FEATURES = 20
FEATURES = tuple(f"x{number}" for number in range(N_FEATURES))
TARGET = "kind"

_MODEL = "table"
_STATUS = Path("/proc/self/status")


class Mark(NamedTuple):
    """What had been used when a step began: both clocks in seconds, the peak of memory."""

    step: str
    elapsed: float
    processor: float
    peak_bytes: int


def main() -> None:
    """Train as the arguments say, within the limit."""
    estimator, csv, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    # All that the process allocates counts, also what the imports below do.
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    sys.stdout.write(json.dumps(train_one(estimator, csv, folder)))


def train_one(estimator: str, csv: Path, folder: Path) -> list[Mark]:
    """Train and publish; return a mark where each step began, and one at the end."""
    from abserve.repository import Repository  # noqa: PLC0415  # within the limit
    from training import Definition, Order, train  # noqa: PLC0415

    definition = Definition.model_validate(
        {
            "model": _MODEL,
            "description": "Tells two kinds apart in a made-up table.",
            "data": {"source": "csv", "url": csv.as_uri()},
            "features": [{"name": name} for name in FEATURES],
            "target": {"name": TARGET},
            "split": {"held_out": 0.2, "seed": 7},
            "versions": {"v1": {"estimator": estimator, "scale": "linear" in estimator}},
        }
    )
    settings = folder / "model-settings"
    settings.mkdir(parents=True)
    model_settings = {"name": _MODEL, "implementation": "runtimes.tabular.TabularClassifier"}
    (settings / f"{_MODEL}.json").write_text(json.dumps(model_settings))
    (settings / "settings.json").write_text("{}")

    marks: list[Mark] = []

    def report(step: str, _: str) -> None:
        if not marks or marks[-1].step != step:
            marks.append(_mark(step))

    repository = Repository((folder / "repository").as_uri())
    train(Order(definition, "v1", "v1"), repository, settings, report)
    return [*marks, _mark("")]


def _mark(step: str) -> Mark:
    return Mark(step, time.perf_counter(), time.process_time(), _peak_bytes())


def _peak_bytes() -> int:
    """Return the most that was resident so far: unlike `ru_maxrss`, of this program alone."""
    lines = _STATUS.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
