from pathlib import Path

from runtimes.folder import read_folder
from tests.runtimes.ensemble_versions import ensemble_files, named, saying, write_ensemble
from tests.runtimes.versions import version_files, write_version


def test_members_of_an_ensemble_are_no_models_of_their_own(tmp_path: Path) -> None:
    members = {"forest": saying(6, 3, 1), "regression": named(version_files(), "regression")}
    write_ensemble(tmp_path / "v1", ensemble_files(members))
    for folder in (tmp_path, tmp_path / "v1"):
        _, models = read_folder(folder)
        assert [(model.name, model.version) for model in models] == [("iris", "v1")]


def test_versions_beside_an_ensemble_are_models_of_their_own(tmp_path: Path) -> None:
    inner = ensemble_files({"x": saying(6, 3, 1), "y": saying(1, 1, 8)})
    write_ensemble(tmp_path / "v1", ensemble_files({"inner": inner, "z": saying(2, 5, 3)}))
    write_version(tmp_path / "v2", version_files("v2"))
    # Its name begins like that of the ensemble's folder, and it lies beside it all the same.
    write_version(tmp_path / "v1-again", version_files("v3"))
    _, models = read_folder(tmp_path)
    assert [model.version for model in models] == ["v1", "v3", "v2"]
