"""The images: what is copied suffices, nothing else is, and any user can run it."""

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import sbom
from tests import image_files
from tests.image_files import ROOT, inherited, read_stages

TARGETS = ["serving", "rollout", "training"]
LABELS = {"title", "description", "licenses", "source", "version", "revision"}


def imports(app: Path) -> set[str]:
    """Return the modules of ours that the code of an image imports, lazily or not."""
    found: set[str] = set()
    for path in app.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                found.add(node.module or "")
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    return {each for each in found if each.split(".")[0] in {"abserve", "runtimes", "training"}}


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_the_base_is_pinned_by_digest_and_named_once() -> None:
    outside = [stage.base for stage in read_stages().values() if stage.base not in read_stages()]
    assert len(outside) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", outside[0])


def test_the_image_that_serves_is_built_without_naming_a_target() -> None:
    assert list(read_stages())[-1] == "serving"


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_the_operators_user(target: str) -> None:
    assert inherited(target, "USER") == ["8888:8888"]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_installed_in_what_is_shipped(target: str) -> None:
    copied = [f"--from=build-{target} {folder} {folder}" for folder in ("/opt/abserve", "/app")]
    assert inherited(target, "COPY") == copied
    # The one command that a shipped image has run takes away what could install anything.
    (run,) = inherited(target, "RUN")
    uninstall, ensurepip, lent_rights = run.split(" && ")
    assert uninstall.startswith("pip uninstall ")
    assert uninstall.split()[-4:] == ["setuptools", "wheel", "packaging", "pip"]
    python = ".".join(sbom.read_base((ROOT / "Dockerfile").read_text()).python.split(".")[:2])
    assert ensurepip.strip() == f"rm -r /usr/local/lib/python{python}/ensurepip"
    assert lent_rights.strip() == "find / -xdev -type f -perm /6000 -exec chmod a-s {} +"


@pytest.mark.parametrize("target", TARGETS)
def test_packages_are_wheels_with_checksums_from_the_lock(target: str) -> None:
    environment, *_ = inherited(f"build-{target}", "RUN")
    _, install, tests = environment.split(" && ")
    words = shlex.split(install)
    assert words[0] == "pip"
    assert {"--only-binary=:all:", "--no-deps", "--require-hashes"} <= set(words)
    assert words[words.index("--requirement") + 1 :] == [f"requirements-{target}.lock"]
    assert shlex.split(tests)[:6] == ["find", "/opt/abserve/lib", "-type", "d", "-name", "tests"]


def test_nothing_comes_from_a_package_manager_of_the_system() -> None:
    commands = [rest for stage in read_stages().values() for rest in stage.arguments("RUN")]
    assert [each for each in commands if re.search(r"\bapt|\bcurl|\bwget|\bgcc", each)] == []


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_says_what_it_is(target: str) -> None:
    (labels,) = inherited(target, "LABEL")
    prefix = "org.opencontainers.image."
    found = dict(each.split("=", 1) for each in shlex.split(labels))
    assert set(found) == {prefix + label for label in LABELS}
    arguments = {name.split("=")[0] for name in inherited(target, "ARG")}
    assert arguments == {"VERSION", "REVISION", "SOURCE"}
    assert found[f"{prefix}title"] == f"abserve/{sbom.TARGETS[target]}"


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_says_how_it_is_stopped_and_how_it_is(target: str) -> None:
    assert inherited(target, "STOPSIGNAL") == ["SIGTERM"]
    assert len(inherited(target, "HEALTHCHECK")) == 1


def test_docker_gets_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    sources = {
        source
        for stage in read_stages()
        if stage.startswith("build-")
        for source, _ in image_files.copied_from_checkout(stage)
    }
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {re.sub("/.*", "/", source) for source in sources}
    assert let_in == copied


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_copied_is_there(target: str) -> None:
    sources = [source for source, _ in image_files.copied_from_checkout(f"build-{target}")]
    assert [source for source in sources if not any(ROOT.glob(source))] == []


def test_the_image_that_serves_has_every_module_that_it_imports(tmp_path: Path) -> None:
    app = image_files.lay_out("serving", tmp_path / "app")
    missing = {
        module
        for module in imports(app)
        if not (app / module.replace(".", "/")).with_suffix(".py").exists()
        and not (app / module.replace(".", "/") / "__init__.py").exists()
    }
    assert missing == set()


def test_the_image_that_serves_has_no_code_for_training_or_clusters(tmp_path: Path) -> None:
    app = image_files.lay_out("serving", tmp_path / "app")
    assert sorted(path.name for path in app.iterdir()) == ["abserve", "runtimes"]
    packages = {path.name for path in (app / "abserve").iterdir() if path.is_dir()}
    assert packages == {"skops_file", "stated"}


@pytest.fixture(scope="module", params=TARGETS)
def bill(request: pytest.FixtureRequest) -> dict[str, Any]:
    lock = (ROOT / f"requirements-{request.param}.lock").read_text()
    return sbom.bill(request.param, "0.1.0", lock, (ROOT / "Dockerfile").read_text())


def test_a_bill_of_materials_lists_each_package_once_with_its_checksums(
    bill: dict[str, Any],
) -> None:
    base, *packages = bill["components"]
    assert base["type"] == "container"
    assert re.fullmatch("[0-9a-f]{64}", base["hashes"][0]["content"])
    assert len({package["name"] for package in packages}) == len(packages)
    for package in packages:
        assert package["purl"] == f"pkg:pypi/{package['name']}@{package['version']}"
        assert package["externalReferences"][0]["hashes"]


def test_a_bill_of_materials_says_why_each_package_is_there(bill: dict[str, Any]) -> None:
    known = {bill["metadata"]["component"]["bom-ref"]}
    known |= {component["bom-ref"] for component in bill["components"]}
    wanted = {each for entry in bill["dependencies"] for each in entry["dependsOn"]}
    assert {entry["ref"] for entry in bill["dependencies"]} | wanted == known
    assert known - wanted == {bill["metadata"]["component"]["bom-ref"]}


def test_a_bill_of_materials_holds_what_is_installed_on_linux_alone() -> None:
    lock = (
        "one==1.0 ; python_full_version < '3.12' \\\n"
        f"    --hash=sha256:{'a' * 64}\n    # via abserve (pyproject.toml)\n"
        "one==2.0 ; python_full_version >= '3.12' \\\n"
        f"    --hash=sha256:{'b' * 64}\n    # via abserve (pyproject.toml)\n"
        "two==1.0 ; sys_platform == 'win32' \\\n"
        f"    --hash=sha256:{'c' * 64}\n    # via one\n"
        "three==1.0+cpu \\\n"
        f"    --hash=sha256:{'d' * 64}\n    # via\n    #   one\n    #   two\n"
    )
    assert list(sbom.read_lock(lock, "3.11.15")) == [
        sbom.Package("one", "1.0", ("a" * 64,), (), ours=True),
        sbom.Package("three", "1.0+cpu", ("d" * 64,), ("one", "two"), ours=False),
    ]


def test_the_same_lock_gives_the_same_bill_of_materials(tmp_path: Path) -> None:
    for name in ("one", "two"):
        command = [sys.executable, ROOT / "scripts/sbom.py", "serving", "--version", "0.1.0"]
        subprocess.run([*command, "--output", tmp_path / name], check=True, cwd=tmp_path)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = json.loads((tmp_path / "one").read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")


def test_a_base_without_a_digest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"begins with 'FROM python:3\.11 AS base'; expected"):
        sbom.read_base("FROM python:3.11 AS base\n")
