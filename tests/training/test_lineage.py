import re
import subprocess
from pathlib import Path

import pytest

from training.lineage import git_state, libraries


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A file of code, committed."""
    file = tmp_path / "package" / "code.py"
    file.parent.mkdir()
    file.write_text("answer = 41\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--no-gpg-sign", "--message", "Begin")
    return file


def test_a_clean_checkout_has_a_commit_and_no_changes(code: Path) -> None:
    commit, dirty = git_state(code)
    assert commit is not None
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert dirty is False


def test_an_image_says_what_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "code.py"
    file.touch()
    assert git_state(file) == (None, None)
    monkeypatch.setenv("ABSERVE_REVISION", "0123456789abcdef" * 2 + "01234567")
    assert git_state(file) == ("0123456789abcdef" * 2 + "01234567", None)
    monkeypatch.setenv("ABSERVE_REVISION", "unknown")
    assert git_state(file) == (None, None)


def test_a_change_anywhere_in_the_checkout_is_told(code: Path) -> None:
    (code.parents[1] / "models.yaml").write_text("model: iris\n")
    assert git_state(code)[1] is True


def test_a_file_not_yet_added_belongs_to_the_checkout(code: Path) -> None:
    new = code.with_name("new.py")
    new.touch()
    commit, dirty = git_state(new)
    assert commit == git_state(code)[0]
    assert dirty is True


def test_an_installed_copy_does_not_take_the_commit_of_the_checkout_around_it(code: Path) -> None:
    installed = code.parents[1] / ".venv" / "code.py"
    installed.parent.mkdir()
    installed.touch()
    (code.parents[1] / ".gitignore").write_text(".venv\n")
    assert git_state(installed) == (None, None)


def test_code_outside_of_any_checkout_has_no_commit(tmp_path: Path) -> None:
    assert git_state(tmp_path / "code.py") == (None, None)


def test_a_checkout_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").touch()
    assert git_state(tmp_path / "code.py") == (None, None)


def test_a_machine_without_git_trains_all_the_same(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert git_state(code) == (None, None)


def test_everything_that_shapes_a_model_is_named_with_its_version() -> None:
    assert libraries().keys() == {
        "python",
        "numpy",
        "scikit-learn",
        "skl2onnx",
        "onnx",
        "onnxruntime",
        "skops",
    }
