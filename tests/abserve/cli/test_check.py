import json
from pathlib import Path

import pytest

from abserve.cli.check import check_command
from abserve.manifests import KUBERNETES
from tests.abserve.cli.conftest import Run
from tests.abserve.manifests.trees import iris, kustomization, thing, two


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `manifests` of the current one."""
    monkeypatch.delenv("ABSERVE_PUBLIC_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "manifests"


def test_what_is_right_ends_with_0_and_says_what_was_not_looked_at(
    tree: Path, abserve: Run
) -> None:
    kustomization(tree / "base/iris", iris())
    ended = abserve("check")
    assert ended.code == 0
    assert "--repository" in ended.out
    assert "1 object of 1 kustomization: 0 errors, 1 note" in ended.out


def test_an_error_ends_with_1_and_names_file_and_reason(tree: Path, abserve: Run) -> None:
    kustomization(tree / "base/iris", iris(*two(traffic=20)))
    ended = abserve("check")
    assert ended.code == 1
    said = " ".join(ended.out.split())
    assert "manifests/base/iris/seldondeployment-iris.yaml SeldonDeployment/iris" in said
    assert "traffic sums to 110" in said


def test_only_the_folders_that_are_named_are_looked_at(tree: Path, abserve: Run) -> None:
    kustomization(tree / "base/wrong", thing("ConfigMap", "a", datum={}))
    kustomization(tree / "base/right", thing("ConfigMap", "b"))
    assert abserve("check", "manifests/base/right").code == 0
    assert abserve("check", "manifests/base/wrong").code == 1


def test_json_is_the_same_for_machines(tree: Path, abserve: Run) -> None:
    kustomization(tree / "base/a", thing("ConfigMap", "a", datum={}))
    ended = abserve("check", "--json")
    answer = json.loads(ended.out)
    assert (ended.code, answer["n_errors"], answer["n_documents"]) == (1, 1, 1)
    (finding,) = answer["findings"]
    assert finding["message"].startswith("Additional properties are not allowed ('datum'")
    assert {key: finding[key] for key in ("severity", "rule", "file", "subject", "folders")} == {
        "severity": "error",
        "rule": "schema",
        "file": "manifests/base/a/configmap-a.yaml",
        "subject": "ConfigMap/a",
        "folders": ["manifests/base/a"],
    }


def test_versions_are_looked_for_in_the_repository_that_is_named(
    tree: Path, abserve: Run, tmp_path: Path
) -> None:
    kustomization(tree / "base/iris", iris())
    ended = abserve("check", "--repository", (tmp_path / "repository").as_uri())
    assert ended.code == 1
    assert "has no iris v1" in " ".join(ended.out.split())


def test_a_key_without_a_repository_is_wrong_usage(
    tree: Path, abserve: Run, tmp_path: Path
) -> None:
    kustomization(tree / "base/iris", iris())
    (tmp_path / "public.pem").write_text("")
    ended = abserve("check", "--public-key", "public.pem")
    assert (ended.code, "--repository" in ended.err) == (2, True)


def test_a_tree_that_is_not_there_is_an_error(tree: Path, abserve: Run) -> None:
    ended = abserve("check")
    assert (ended.code, ended.err) == (
        1,
        f"abserve: {tree.name} is no folder; name one that holds a kustomization.yaml, or folders "
        "with one\n",
    )


def test_an_unknown_version_of_kubernetes_is_an_error(tree: Path, abserve: Run) -> None:
    kustomization(tree / "base/iris", iris())
    ended = abserve("check", "--kubernetes", "1.5")
    assert ended.code == 1
    assert "expected one of 1.25" in ended.err


def test_the_default_version_is_the_one_in_the_help() -> None:
    (option,) = [each for each in check_command.params if each.name == "kubernetes"]
    assert f"{KUBERNETES} by default" in str(option.to_info_dict()["help"])
