"""The image of the rollout controller: its lock has all that it imports."""

import subprocess
import sys
from pathlib import Path

from tests.image_files import modules_outside

# Starts the command as if what is named were not installed.
START = """
import importlib, pkgutil, sys
from importlib.abc import MetaPathFinder

class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in missing:
            raise ModuleNotFoundError(f"the image has no {name!r}", name=name)
        return None

missing = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Without())
for package in ("abserve.promotion", "abserve.rollout"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(module.name)
from abserve.cli import main
sys.argv = ["abserve", *sys.argv[2:]]
main()
"""


def run(folder: Path, *arguments: str, without: str = "") -> "subprocess.CompletedProcess[str]":
    missing = ",".join({*modules_outside("requirements-rollout.lock"), without})
    return subprocess.run(
        [sys.executable, "-c", START, missing, *arguments],
        env={"HOME": "/nonexistent"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_runs_with_what_is_locked(tmp_path: Path) -> None:
    done = run(tmp_path, "rollout", "--help")
    assert done.returncode == 0, done.stderr
    assert "--keep-watching" in done.stdout


def test_the_command_asks_for_a_cluster_with_what_is_locked(tmp_path: Path) -> None:
    done = run(tmp_path, "rollout", "iris", "--prometheus", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "abserve: no cluster is known" in done.stderr


def test_a_package_that_the_lock_lacks_is_missed(tmp_path: Path) -> None:
    done = run(tmp_path, "rollout", "--help", without="scipy")
    assert "the image has no 'scipy'" in done.stderr
