import os
import subprocess
import sys
from pathlib import Path

import pytest

from abserve.cli.context import Context
from abserve.errors import KubernetesError

ABSERVE = Path(sys.executable).with_name("abserve")


def kubeconfig(file: Path, server: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, "
        "contexts: [{name: a, context: {cluster: a, user: a}}], "
        f"clusters: [{{name: a, cluster: {{server: '{server}'}}}}], "
        "users: [{name: a, user: {token: t}}]}"
    )
    return file


@pytest.fixture
def named(tmp_path: Path) -> Path:
    return kubeconfig(tmp_path / "named", "http://named")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return kubeconfig(tmp_path / "home" / "kubeconfig", "http://home").parent


def server_of_a_new_process(home: Path, **environment: Path) -> str:
    """Return which cluster a command would talk to that is told its home only.

    The client library reads the environment when it is imported, so only a new process tells.
    """
    code = (
        "import sys; from abserve.cli.context import Context; "
        "print(Context.of(sys.argv[1], None, None).kubernetes().server)"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    done = subprocess.run(
        [sys.executable, "-c", code, home],
        env=inherited | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()


def test_a_kubeconfig_that_is_named_comes_first(
    named: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = kubeconfig(tmp_path / "variable", "http://variable")
    monkeypatch.setenv("KUBECONFIG", str(variable))
    assert Context(home, named, None).kubernetes().server == "http://named"


def test_the_variable_comes_before_the_local_cluster(home: Path, tmp_path: Path) -> None:
    variable = kubeconfig(tmp_path / "variable", "http://variable")
    assert server_of_a_new_process(home, KUBECONFIG=variable) == "http://variable"


def test_the_local_cluster_comes_before_kubectls(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig(tmp_path / ".kube" / "config", "http://kubectl")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Context(home, None, None).kubernetes().server == "http://home"


def test_an_empty_variable_is_as_good_as_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "")
    assert Context(home, None, None).kubernetes().server == "http://home"


def test_kubectls_comes_last(tmp_path: Path) -> None:
    kubeconfig(tmp_path / ".kube" / "config", "http://kubectl")
    assert server_of_a_new_process(tmp_path / "none", HOME=tmp_path) == "http://kubectl"


def test_without_any_the_command_says_how_to_get_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [ABSERVE, "--home", tmp_path / "none", "status", "iris"],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("abserve: no cluster is known")
    assert len(done.stderr.splitlines()) == 1


def test_the_local_cluster_can_be_meant_whatever_else_is_configured(
    named: Path, home: Path
) -> None:
    context = Context(home, named, None)
    assert context.kubernetes_of(context.home).server == "http://home"


def test_a_local_cluster_that_was_never_started_is_not_there(tmp_path: Path) -> None:
    context = Context(tmp_path / "none", None, None)
    with pytest.raises(KubernetesError, match="no cluster is known"):
        context.kubernetes_of(context.home)


def test_the_namespace_given_is_the_one_used(named: Path, home: Path) -> None:
    assert Context.of(str(home), str(named), "shop").kubernetes().namespace == "shop"


def test_a_repository_that_is_given_is_the_one_used(home: Path) -> None:
    assert Context(home, None, None).repository_url("s3://bucket/models") == "s3://bucket/models"


def test_the_repository_is_else_in_the_clusters_folder(home: Path) -> None:
    assert Context(home, None, None).repository_url(None) == f"file://{home}/repository"


def test_a_relative_home_has_a_repository_with_a_whole_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = Context(Path(".abserve"), None, None).repository_url(None)
    assert url == f"file://{tmp_path}/.abserve/repository"
