"""What GitHub runs: the Makefile's commands, pinned actions, and no more rights than needed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import pin_images

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github/workflows").glob("*.yaml"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FILES}
JOBS = [
    pytest.param(job, id=f"{workflow}-{name}")
    for workflow, content in WORKFLOWS.items()
    for name, job in content["jobs"].items()
]
STEPS = [
    pytest.param(step, id=f"{workflow}-{name}-{index}")
    for workflow, content in WORKFLOWS.items()
    for name, job in content["jobs"].items()
    for index, step in enumerate(job.get("steps", []))
]
ENVIRONMENTS = ["staging", "production"]


def test_actionlint_finds_nothing() -> None:
    actionlint = Path(sys.executable).with_name("actionlint")
    done = subprocess.run(
        [actionlint, *FILES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_zizmor_finds_no_hole() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    done = subprocess.run(
        [zizmor, "--offline", "--quiet", "--no-progress", ".github"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_read_by_its_shell(script: Path) -> None:
    shell = script.read_text().splitlines()[0].removeprefix("#!").removeprefix("/usr/bin/env ")
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("step", STEPS)
def test_an_action_is_pinned_by_commit(step: dict[str, Any]) -> None:
    used = step.get("uses")
    assert used is None or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_a_pinned_action_has_its_version_beside_it(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if re.search(r"uses: \S+@", line)]
    assert [line for line in lines if not re.search(r" # v\d+\.\d+\.\d+$", line)] == []


def test_one_action_has_one_version() -> None:
    text = "".join(file.read_text() for file in FILES)
    pins = set(re.findall(r"uses: (\S+)@(\S+) # (\S+)", text))
    assert len(pins) == len({name for name, _, _ in pins})


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_by_itself_and_runs_on_a_named_system(job: dict[str, Any]) -> None:
    called = "uses" in job
    assert called or (job["timeout-minutes"] <= 120 and job["runs-on"] == "ubuntu-24.04")


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_workflow_may_read_and_its_jobs_say_what_more(workflow: str) -> None:
    assert WORKFLOWS[workflow]["permissions"] == {"contents": "read"}
    assert "concurrency" in WORKFLOWS[workflow]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_step_fails_with_any_command_of_a_pipe(workflow: str) -> None:
    # GitHub's own default has no pipefail; `bash`, said by name, has.
    assert WORKFLOWS[workflow]["defaults"] == {"run": {"shell": "bash"}}
    assert [step for step in STEPS if "shell" in step.values[0]] == []


def test_only_what_publishes_or_deploys_may_write() -> None:
    writing = {
        (workflow, name): {
            scope
            for scope, right in job.get("permissions", {}).items()
            if right == "write" and scope != "id-token"
        }
        for workflow, content in WORKFLOWS.items()
        for name, job in content["jobs"].items()
    }
    assert {job: scopes for job, scopes in writing.items() if scopes} == {
        ("publish", "image"): {"packages", "attestations"},
        ("publish", "deploy"): {"contents", "pull-requests"},
    }


@pytest.mark.parametrize("step", STEPS)
def test_credentials_stay_only_where_a_branch_is_pushed(step: dict[str, Any]) -> None:
    if "actions/checkout@" in step.get("uses", ""):
        assert step["with"]["persist-credentials"] is (step["with"].get("ref") == "main")


@pytest.mark.parametrize("step", STEPS)
def test_nothing_from_outside_is_written_into_a_script(step: dict[str, Any]) -> None:
    assert "${{" not in step.get("run", "")


def test_ci_tests_both_pythons_with_the_commands_of_the_makefile() -> None:
    jobs = WORKFLOWS["ci"]["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    commands = {step.get("run") for name in ("lint", "test") for step in jobs[name]["steps"]}
    assert {"make lint", "./.ci/run"} <= commands
    assert (ROOT / ".ci/run").read_text().endswith("\nmake test\n")


@pytest.mark.parametrize(
    ("happened", "trains"),
    [
        ({"ref_type": "tag"}, True),
        ({"event_name": "workflow_dispatch"}, True),
        ({"message": "Widen the bounds of iris [train]"}, True),
        ({"message": "Train iris"}, False),
        ({"ref_type": "tag", "repository_owner": "somebody"}, False),
    ],
)
def test_a_tag_a_word_or_a_hand_trains_and_a_fork_does_not(
    happened: dict[str, str], trains: bool
) -> None:
    github = {
        "event_name": "push",
        "ref_type": "branch",
        "repository_owner": "abserve",
        "message": "",
        **happened,
    }
    condition = WORKFLOWS["train"]["jobs"]["train"]["if"]
    for name in ("event_name", "ref_type", "repository_owner"):
        condition = condition.replace(f"github.{name}", repr(github[name]))
    condition = condition.replace("github.event.head_commit.message", repr(github["message"]))
    condition = condition.replace("&&", "and").replace("||", "or")
    assert "github" not in condition
    found = eval(condition, {"contains": lambda text, part: part in text})
    assert found is trains


def test_every_image_is_built_scanned_and_published() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    targets = {each for each in stages if f"build-{each}" in stages}
    built = WORKFLOWS["ci"]["jobs"]["image"]["strategy"]["matrix"]["include"]
    published = WORKFLOWS["publish"]["jobs"]["image"]["strategy"]["matrix"]["include"]
    assert {each["target"] for each in built} == {each["target"] for each in published} == targets


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_deployment_changes_the_digests_of_an_environment_and_nothing_else(
    environment: str,
) -> None:
    file = ROOT / "manifests/overlays" / environment / "environment/kustomization.yaml"
    before = yaml.safe_load(file.read_text())
    digests = {name: f"sha256:{name[0] * 64}" for name in ("runtimes", "rollout", "training")}
    after = yaml.safe_load(pin_images.pinned(file.read_text(), digests))
    for image in before["images"]:
        image["digest"] = digests[image["name"].removeprefix("abserve/")]
    assert after == before


def test_kind_is_the_one_that_its_node_was_released_with() -> None:
    script = (ROOT / "scripts/kind_e2e.sh").read_text()
    node = re.search(r"^node=kindest/node:(v[\d.]+)@sha256:[0-9a-f]{64}$", script, re.MULTILINE)
    (kind,) = [
        step["with"]
        for step in WORKFLOWS["e2e"]["jobs"]["kind"]["steps"]
        if step.get("uses", "").startswith("helm/kind-action@")
    ]
    assert node is not None
    assert (kind["version"], kind["kubectl_version"]) == ("v0.31.0", node[1])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_that_github_runs_can_be_executed(script: Path) -> None:
    called = any(f"scripts/{script.name}" in file.read_text() for file in FILES)
    assert not called or script.stat().st_mode & 0o111


def test_an_image_that_was_not_published_is_not_deployed() -> None:
    text = "images:\n  - name: abserve/runtimes\n    newName: r/runtimes\n    digest: sha256:0\n"
    with pytest.raises(ValueError, match=r"names the images \['runtimes'\], .* known of \['rol"):
        pin_images.pinned(text, {"rollout": f"sha256:{'a' * 64}"})


def test_what_is_no_digest_is_not_deployed(tmp_path: Path) -> None:
    (tmp_path / "runtimes").write_text("latest\n")
    with pytest.raises(ValueError, match=r"runtimes holds 'latest'; expected sha256: and 64"):
        pin_images.read_digests(tmp_path)


def test_the_cluster_of_ci_has_the_charts_that_flux_installs() -> None:
    script = (ROOT / "scripts/kind_e2e.sh").read_text()
    wanted = set(re.findall(r"^install \S+ (\S+) ", script, re.MULTILINE))
    controllers = (ROOT / "manifests/infrastructure/controllers").glob("*.yaml")
    specs = [
        document["spec"]["chart"]["spec"]
        for file in controllers
        for document in yaml.safe_load_all(file.read_text())
        if document and document["kind"] == "HelmRelease"
    ]
    assert wanted == {"base", "istiod", "gateway", "seldon-core-operator"}
    assert wanted <= {spec["chart"] for spec in specs if spec["version"]}
