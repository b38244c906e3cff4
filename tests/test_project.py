"""What holds for the checkout as a whole: locks, versions, modules, the image, the set-up."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import abserve
from tests.image_files import copied_from_checkout

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMAGE_LOCKS = [
    "requirements-serving.lock",
    "requirements-rollout.lock",
    "requirements-training.lock",
]
LOCKS = ["requirements.lock", *IMAGE_LOCKS, "scripts/requirements-uv.lock"]
MODULES = sorted(
    path.relative_to(ROOT)
    for package in ("abserve", "runtimes", "training")
    for path in (ROOT / package).rglob("*.py")
)


def entries(lock: str) -> list[str]:
    """Return each pinned package with its checksums, as one string each."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return text.replace("\\\n", " ").splitlines()


def pins(lock: str) -> dict[str, str]:
    """Return the package names of a lock, with what each is pinned to."""
    return dict(entry.split(" --hash=")[0].strip().split("==", 1) for entry in entries(lock))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_holds_no_address(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_in_a_lock_is_pinned_and_has_checksums(lock: str) -> None:
    loose = [
        entry
        for entry in entries(lock)
        if not re.fullmatch(r"[a-z0-9-]+==\S+( ; .+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", entry)
    ]
    assert entries(lock)
    assert loose == []


@pytest.mark.parametrize("lock", IMAGE_LOCKS)
def test_an_image_runs_with_the_versions_that_are_tested(lock: str) -> None:
    tested = pins("requirements.lock")
    held = pins(lock)
    # Only the pins: a package may be wanted on fewer platforms than in the larger lock.
    different = {
        name
        for name, pin in held.items()
        if pin.split(" ;")[0] != tested.get(name, "").split(" ;")[0]
    }
    assert different == set()


def test_the_image_holds_only_the_floors_a_runtime_may_import() -> None:
    layers = PYPROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    first_above = next(i for i, layer in enumerate(layers) if "abserve.seldon" in layer)
    below = {name for layer in layers[first_above + 1 :] for name in layer.split(" | ")}
    # The Dockerfile copies abserve/*.py, so a module there must lie on a floor below.
    modules = {f"abserve.{path.stem}" for path in (ROOT / "abserve").glob("*.py")}
    sources = [source for source, _ in copied_from_checkout("build-serving")]
    modules |= {source.rstrip("/").replace("/", ".") for source in sources if "abserve/" in source}
    assert modules - {"abserve.__init__", "abserve.*.py"} <= below


def test_the_version_is_said_in_one_place() -> None:
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "abserve/__init__.py"
    assert version("abserve") == abserve.__version__


def test_the_newest_release_in_the_changelog_is_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1:2] in ([], [abserve.__version__])


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_is_short_and_opens_with_a_docstring(module: Path) -> None:
    lines = (ROOT / module).read_text().splitlines()
    assert len(lines) < 400
    assert lines[0].startswith(('"""', 'r"""'))


def test_no_file_names_a_path_of_a_developers_machine() -> None:
    # The name is in brackets so that this line does not find itself.
    pattern = r"(^|[^A-Za-z0-9_.{}-])/([r]oot|[w]ork|[h]ome/[a-z]+|[U]sers/[A-Za-z]+)/"
    found = subprocess.run(
        ["git", "grep", "--untracked", "-I", "-n", "-E", pattern],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout, found.stderr) == ("", "")


def set_up(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/setup.sh of `checkout`, with nothing in the environment but `environment`."""
    (checkout / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/setup.sh", checkout / "scripts")
    return subprocess.run(
        ["/bin/sh", "scripts/setup.sh"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def a_python(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_set_up_without_a_suitable_python_says_what_it_found(tmp_path: Path) -> None:
    a_python(tmp_path / "bin", "python3.12", "exit 127")
    a_python(tmp_path / "bin", "python3", "echo 3.9.18 /somewhere")
    # The folders of these commands may hold a Python, so PATH cannot name them.
    for tool in ("dirname", "cat"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    result = set_up(tmp_path, PATH=str(tmp_path / "bin"))
    assert result.returncode == 1
    assert "python3.12: does not run" in result.stderr
    assert "python3: 3.9.18 /somewhere" in result.stderr
    assert "make setup PYTHON=" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_set_up_refuses_a_chosen_python_that_is_too_new(tmp_path: Path) -> None:
    a_python(tmp_path / "bin", "chosen", "echo 3.13.0 /somewhere")
    result = set_up(tmp_path, PATH="/usr/bin:/bin", PYTHON=str(tmp_path / "bin" / "chosen"))
    assert result.returncode == 1
    assert "is 3.13.0 /somewhere; expected Python 3.11 or 3.12" in result.stderr
