import json
from pathlib import Path

import pytest
from mlserver.settings import ModelSettings, Settings

from abserve.errors import DefinitionError
from abserve.schema import Feature, Schema
from training.serving import read_serving

SCHEMA = Schema(features=(Feature(name="a"), Feature(name="b")), classes=("x", "y", "z"))
IRIS = {"name": "iris", "implementation": "runtimes.tabular.TabularClassifier"}


def folder_of(tmp_path: Path, iris: object, settings: object = None) -> Path:
    (tmp_path / "iris.json").write_text(json.dumps(iris))
    (tmp_path / "settings.json").write_text(json.dumps(settings or {"debug": False}))
    return tmp_path


def test_training_adds_what_only_the_version_knows(settings_folder: Path) -> None:
    files = read_serving(settings_folder, "iris").complete("v2", SCHEMA)
    assert json.loads(files["model-settings.json"]) == {
        "name": "iris",
        "implementation": "runtimes.tabular.TabularClassifier",
        "platform": "onnxruntime_onnx",
        "parameters": {"uri": "./model.onnx", "version": "v2"},
        "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, 2]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "class_index", "datatype": "INT64", "shape": [-1, 1]},
            {"name": "probability", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }


def test_mlserver_knows_every_field_we_write(settings_folder: Path) -> None:
    files = read_serving(settings_folder, "iris").complete("v2", SCHEMA)
    written = json.loads(files["model-settings.json"])
    assert written.keys() <= ModelSettings.model_fields.keys() | {"implementation"}
    read = ModelSettings.model_validate(written)
    assert read.version == "v2"
    assert read.outputs[2].shape == [-1, 3]
    assert json.loads(files["settings.json"]).keys() <= Settings.model_fields.keys()


def test_the_settings_close_what_mlserver_leaves_open(settings_folder: Path) -> None:
    files = read_serving(settings_folder, "iris").complete("v1", SCHEMA)
    settings = Settings(**json.loads(files["settings.json"]))
    assert settings.debug is False
    assert settings.parallel_workers == 0
    assert settings.cache_enabled is False


def test_ports_and_hosts_are_left_to_the_operator(settings_folder: Path) -> None:
    settings = json.loads((settings_folder / "settings.json").read_text())
    assert not {"host", "http_port", "grpc_port", "metrics_port"} & settings.keys()
    assert "metrics_endpoint" not in settings


def test_batching_and_what_a_runtime_is_told_are_kept(tmp_path: Path) -> None:
    given = {**IRIS, "parameters": {"extra": {"threshold": 0.5}}}
    files = read_serving(folder_of(tmp_path, given), "iris").complete("v1", SCHEMA)
    completed = json.loads(files["model-settings.json"])
    assert completed["parameters"] == {
        "extra": {"threshold": 0.5},
        "uri": "./model.onnx",
        "version": "v1",
    }


def test_the_files_are_the_same_every_time(settings_folder: Path) -> None:
    serving = read_serving(settings_folder, "iris")
    assert serving.complete("v1", SCHEMA) == serving.complete("v1", SCHEMA)


def test_settings_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {**IRIS, "name": "rose"})
    with pytest.raises(
        DefinitionError, match=r"iris\.json: name is 'rose', expected 'iris', the file's name"
    ):
        read_serving(folder, "iris")


@pytest.mark.parametrize("field", ["max_batch_size", "uri", "inputs", "platform", "cache_enabled"])
def test_a_field_mlserver_would_ignore_or_training_writes_is_refused(
    tmp_path: Path, field: str
) -> None:
    folder = folder_of(tmp_path, {**IRIS, field: 1})
    with pytest.raises(
        DefinitionError, match=rf"iris\.json: {field}: .*; expected the name, the implementation"
    ):
        read_serving(folder, "iris")


def test_an_implementation_that_is_no_import_path_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {**IRIS, "implementation": "TabularClassifier"})
    with pytest.raises(DefinitionError, match=r"iris\.json: implementation: "):
        read_serving(folder, "iris")


def test_missing_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"iris\.json cannot be read \(No such file"):
        read_serving(tmp_path, "iris")


def test_missing_server_settings_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, IRIS)
    (folder / "settings.json").unlink()
    with pytest.raises(DefinitionError, match=r"/settings\.json cannot be read"):
        read_serving(folder, "iris")


def test_broken_json_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "iris.json").write_text('{\n  "name": "iris",\n}\n')
    with pytest.raises(DefinitionError, match=r"iris\.json, line [23]: this is not JSON: "):
        read_serving(tmp_path, "iris")


def test_other_bytes_are_no_json(tmp_path: Path) -> None:
    (tmp_path / "iris.json").write_bytes(b'{"name": "\xc3\x28"}')
    with pytest.raises(DefinitionError, match=r"iris\.json is not JSON: .*; write it as UTF-8"):
        read_serving(tmp_path, "iris")


def test_a_json_list_is_no_object(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"iris\.json is no JSON object; expected \{\.\.\.\}"):
        read_serving(folder_of(tmp_path, [IRIS]), "iris")


def test_a_regressor_has_one_output(settings_folder: Path) -> None:
    schema = Schema(features=SCHEMA.features)
    written = json.loads(
        read_serving(settings_folder, "iris").complete("v1", schema)["model-settings.json"]
    )
    assert written["outputs"] == [{"name": "prediction", "datatype": "FP32", "shape": [-1, 1]}]
