import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from abserve.cli import main
from tests.abserve.promotion.local_api import LocalApi


class Ended(NamedTuple):
    """How a command ended: exit code, and what it said on stdout and stderr."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def abserve(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line as the console script does, with a home of the test's own."""
    for variable in ("KUBECONFIG", "ABSERVE_GATEWAY", "ABSERVE_REPOSITORY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ABSERVE_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["abserve", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def on_cluster(abserve: Run, api: LocalApi) -> Run:
    """Run commands on the cluster of `api`, in the namespace of its deployments."""

    def run(*arguments: str | Path) -> Ended:
        return abserve("--kubeconfig", api.kubeconfig, "-n", "shop", *arguments)

    return run
