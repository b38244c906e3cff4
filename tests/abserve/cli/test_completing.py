import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from abserve.cli import cli
from tests.abserve.cli.conftest import Run
from tests.abserve.promotion.local_api import LocalApi


def completed(*words: str | Path) -> list[str]:
    """Return what the shell offers for the last of `words`."""
    *before, last = map(str, words)
    found = ShellComplete(cli, {}, "abserve", "_ABSERVE_COMPLETE").get_completions(before, last)
    return [each.value for each in found]


@pytest.fixture
def cluster(api: LocalApi) -> list[str | Path]:
    """The options that name a cluster with iris on it."""
    api.apply()
    return ["--kubeconfig", api.kubeconfig, "--namespace", "shop"]


def test_commands_are_completed() -> None:
    assert completed("sta") == ["status"]


@pytest.mark.parametrize(
    "command", ["status", "weights", "promote", "rollback", "analyze", "rollout", "logs"]
)
def test_deployments_are_completed(command: str, cluster: list[str | Path]) -> None:
    assert completed(*cluster, command, "") == ["iris"]
    assert completed(*cluster, command, "x") == []


def test_variants_are_completed_each_once(cluster: list[str | Path]) -> None:
    assert completed(*cluster, "weights", "iris", "") == ["baseline=", "candidate="]
    assert completed(*cluster, "weights", "iris", "baseline=90", "") == ["candidate="]


def test_predictors_are_completed(cluster: list[str | Path]) -> None:
    assert completed(*cluster, "logs", "iris", "c") == ["candidate"]
    assert completed(*cluster, "logs", "rose", "") == []


def test_models_are_completed(tmp_path: Path) -> None:
    (tmp_path / "iris.yaml").touch()
    assert completed("train", "--models", tmp_path, "") == ["iris"]


def test_without_a_cluster_nothing_is_offered_and_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert completed("--home", tmp_path, "status", "") == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str, abserve: Run) -> None:
    ended = abserve("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert f"_ABSERVE_COMPLETE={shell}_complete" in ended.out


def test_bash_takes_the_script(cluster: list[str | Path]) -> None:
    program = Path(sys.executable).with_name("abserve")
    words = " ".join(map(str, ["abserve", *cluster, "promote"]))
    script = f"""
        PATH={program.parent}:$PATH
        source <(abserve completion bash)
        COMP_WORDS=({words} '') COMP_CWORD={len(cluster) + 2}
        _abserve_completion abserve
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("iris\n", "")
