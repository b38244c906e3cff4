"""The page on the pooled z-test says what its counts say."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from abserve.analysis import analyse_counts
from abserve.cli import cli
from abserve.experiment import Rules, log_evidence

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/pooled-z-test"
COUNTS = FOLDER / "counts.csv"


@pytest.fixture(scope="module")
def page() -> str:
    return (FOLDER / "README.md").read_text()


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_the_counts_that_are_shown(make: ModuleType, tmp_path: Path) -> None:
    make.write_counts(make.days(), tmp_path / "counts.csv")
    assert (tmp_path / "counts.csv").read_bytes() == COUNTS.read_bytes()


def test_the_z_test_promotes_that_day_and_abserve_goes_on(make: ModuleType, page: str) -> None:
    day = make.days()
    z = make.pooled_z(day)
    first = int(np.argmax(z > make.Z_BAR))
    assert make.HOUR[first] == 17
    assert "from 17:00 on" in page
    assert round(z[-1], 1) == 5.9
    assert "at z = 5.9" in page
    analysis = analyse_counts(day, Rules())
    assert analysis.decision.action == "CONTINUE"
    assert log_evidence(day).max() < make.LOG_BAR


def test_the_totals_are_those_of_the_day(make: ModuleType, page: str) -> None:
    day = make.days()
    for variant, n, k in (
        ("baseline", day.n_baseline.sum(), day.k_baseline.sum()),
        ("candidate", day.n_candidate.sum(), day.k_candidate.sum()),
    ):
        assert f"| {variant} | {n:,.0f} | {k:,.0f} | {k / n:.1%}".replace("%", " %") in page


def test_the_z_test_promotes_on_every_such_day_and_abserve_on_few(
    make: ModuleType, page: str
) -> None:
    days = make.days(2000)
    z = make.pooled_z(days)
    assert (z > make.Z_BAR).any(axis=-1).all()
    assert (z[:, -1] > make.Z_BAR).all()
    promoted = int((log_evidence(days) >= make.LOG_BAR).any(axis=-1).sum())
    told = re.search(r"for better on (\d+), ([\d.]+) %", page)
    assert told is not None
    # NumPy's binomial draws differ in a few places from one build of it to another.
    assert int(told[1]) == pytest.approx(promoted, abs=5)
    assert told[2] == f"{int(told[1]) / 20:.1f}"
    assert promoted <= 0.05 * 2000


def test_the_plots_can_be_drawn(make: ModuleType, tmp_path: Path) -> None:
    for name, colours in (("light", make.LIGHT), ("dark", make.DARK)):
        make.draw(make.days(), colours, tmp_path / f"{name}.svg")
        assert (tmp_path / f"{name}.svg").stat().st_size > 10_000
        assert (FOLDER / f"{name}.svg").exists()


def test_the_command_answers_what_is_shown(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = re.search(r"```sh\nabserve (.*)\n```\n\n```\n(.*?)\n```", page, re.DOTALL)
    assert found is not None
    command, shown = found.groups()
    ended = CliRunner(env={"COLUMNS": "80"}).invoke(cli, command.split())
    assert ended.exit_code == 3, ended.output
    assert [line.rstrip() for line in ended.stdout.rstrip().splitlines()] == shown.splitlines()
