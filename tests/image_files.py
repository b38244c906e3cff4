"""What a target of the Dockerfile has in it, without Docker: stages, files, packages."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
APP = "/app/"

# Runs the module named first, as if what is not locked were not installed.
WITHOUT = """
import runpy, sys
from importlib.abc import MetaPathFinder

class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in missing:
            raise ModuleNotFoundError(f"the image has no {name!r}", name=name)
        return None

missing = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Without())
# The first entry is where the command runs: not a folder of the image.
sys.path.pop(0)
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Stage:
    """One stage of a Dockerfile: what it begins with, and its instructions."""

    base: str
    instructions: tuple[tuple[str, str], ...]

    def arguments(self, name: str) -> list[str]:
        """Return what stands after each instruction of this name."""
        return [rest for instruction, rest in self.instructions if instruction == name]


def read_stages() -> dict[str, Stage]:
    """Return the stages of the Dockerfile, in order."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: dict[str, Stage] = {}
    name = ""
    for line in filter(None, text.replace("\\\n", " ").splitlines()):
        instruction, rest = line.split(maxsplit=1)
        if instruction == "FROM":
            base, _, name = rest.split()
            stages[name] = Stage(base, ())
        else:
            earlier = stages[name]
            stages[name] = Stage(earlier.base, (*earlier.instructions, (instruction, rest)))
    return stages


def inherited(target: str, instruction: str) -> list[str]:
    """Return what stands after each such instruction of a target and of what it begins with."""
    stages = read_stages()
    found: list[str] = []
    while target in stages:
        found = stages[target].arguments(instruction) + found
        target = stages[target].base
    return found


def copied_from_checkout(stage: str) -> list[tuple[str, str]]:
    """Return each path that a stage copies from the checkout, and where to."""
    copies = [shlex.split(rest) for rest in read_stages()[stage].arguments("COPY")]
    return [(source, copy[-1]) for copy in copies for source in copy[:-1]]


def lay_out(target: str, folder: Path) -> Path:
    """Copy the code of a target into a folder, as it lies in the image; return where it lies."""
    for source, destination in copied_from_checkout(f"build-{target}"):
        if not destination.startswith(APP):
            continue
        inside = folder / destination.removeprefix(APP)
        inside.mkdir(parents=True, exist_ok=True)
        if source.endswith("/"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, inside, ignore=ignored, dirs_exist_ok=True)
        else:
            for path in ROOT.glob(source):
                shutil.copy(path, inside)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


def modules_outside(lock: str) -> set[str]:
    """Return what can be imported here and is of no package of a lock."""
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE)
    inside = {"abserve", *pinned}
    return {
        module
        for module, packages in packages_distributions().items()
        if not inside & {re.sub(r"[-_.]+", "-", each).lower() for each in packages}
    }


def command(target: str, module: str) -> list[str]:
    """Return the start of a command that runs a module with what the target has."""
    missing = ",".join(sorted(modules_outside(f"requirements-{target}.lock")))
    return [sys.executable, "-c", WITHOUT, missing, module]


def environment(app: Path, **more: str) -> dict[str, str]:
    """Return what a container's environment is like: no home, and the code where the image has it.

    What a developer's shell says of clusters, repositories and keys is not in it.
    """
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(app),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "HOME": "/nonexistent",
        **more,
    }


# The whole file system is read-only but one folder, and then the process is user 8888, whom no
# file here belongs to and no list of users names.
_CONTAIN = """
mount --bind "$0" "$0" && mount -o remount,ro,bind / &&
exec unshare --user --map-user=8888 --map-group=8888 -- "$@"
"""


def contained(writable: Path, words: Sequence[str]) -> list[str]:
    """Return the command that runs another as a container with a read-only root does."""
    start = ["unshare", "--map-root-user", "--mount", "--", "sh", "-c", _CONTAIN]
    return [*start, str(writable), *words]
