import json
from pathlib import Path
from typing import Any

import pytest
from mlserver.settings import ModelSettings, Settings

from abserve.errors import DefinitionError, TrainingError
from abserve.schema import Feature, Picture, Schema
from training.serving import Serving, read_serving

SCHEMA = Schema(features=(Feature(name="a"), Feature(name="b")), classes=("x", "y", "z"))
IRIS = {"name": "iris", "implementation": "runtimes.tabular.TabularClassifier"}


def folder_of(tmp_path: Path, iris: object, settings: object = None) -> Path:
    (tmp_path / "iris.json").write_text(json.dumps(iris))
    (tmp_path / "settings.json").write_text(json.dumps(settings or {"debug": False}))
    return tmp_path


def test_training_adds_what_only_the_version_knows(settings_folder: Path) -> None:
    files = read_serving(settings_folder, "iris").complete("v2", SCHEMA, "onnx")
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
    files = read_serving(settings_folder, "iris").complete("v2", SCHEMA, "onnx")
    written = json.loads(files["model-settings.json"])
    assert written.keys() <= ModelSettings.model_fields.keys() | {"implementation"}
    read = ModelSettings.model_validate(written)
    assert read.version == "v2"
    assert read.outputs[2].shape == [-1, 3]
    assert json.loads(files["settings.json"]).keys() <= Settings.model_fields.keys()


def test_the_settings_close_what_mlserver_leaves_open(settings_folder: Path) -> None:
    files = read_serving(settings_folder, "iris").complete("v1", SCHEMA, "onnx")
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
    files = read_serving(folder_of(tmp_path, given), "iris").complete("v1", SCHEMA, "onnx")
    completed = json.loads(files["model-settings.json"])
    assert completed["parameters"] == {
        "extra": {"threshold": 0.5},
        "uri": "./model.onnx",
        "version": "v1",
    }


def test_the_files_are_the_same_every_time(settings_folder: Path) -> None:
    serving = read_serving(settings_folder, "iris")
    assert serving.complete("v1", SCHEMA, "onnx") == serving.complete("v1", SCHEMA, "onnx")


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


REGRESSOR = Schema(features=SCHEMA.features)
PIXELS = Schema(
    features=tuple(Feature(name=f"pixel_{n}") for n in range(4)),
    classes=tuple("abcdefg"),
    picture=Picture(width=2, height=2, channels="grey"),
)
TABULAR = "runtimes.tabular.TabularClassifier"
IMAGE = "runtimes.image.ImageClassifier"


def serving_of(tmp_path: Path, implementation: str, **given: object) -> Serving:
    settings = {"name": "iris", "implementation": implementation, **given}
    return read_serving(folder_of(tmp_path, settings), "iris")


def written(files: dict[str, bytes]) -> dict[str, Any]:
    return json.loads(files["model-settings.json"])


def test_a_regressor_has_one_output(tmp_path: Path) -> None:
    serving = serving_of(tmp_path, "runtimes.tabular.TabularRegressor")
    assert written(serving.complete("v1", REGRESSOR, "onnx"))["outputs"] == [
        {"name": "prediction", "datatype": "FP32", "shape": [-1, 1]}
    ]


@pytest.mark.parametrize(
    ("implementation", "schema"),
    [(TABULAR, SCHEMA), ("runtimes.tabular.TabularRegressor", REGRESSOR)],
)
def test_what_onnx_cannot_express_is_served_by_the_scikit_learn_runtime(
    tmp_path: Path, implementation: str, schema: Schema
) -> None:
    extra = {"parameters": {"extra": {"threshold": 0.5}}}
    settings = written(
        serving_of(tmp_path, implementation, **extra).complete("v1", schema, "skops")
    )
    assert settings["implementation"] == "runtimes.scikit_learn.SklearnRuntime"
    assert settings["platform"] == "scikit-learn_skops"
    assert settings["parameters"] == {
        "extra": {"threshold": 0.5},
        "uri": "./model.skops",
        "version": "v1",
    }


@pytest.mark.parametrize("implementation", [IMAGE, "shop.runtimes.Churn"])
def test_a_runtime_that_nothing_can_take_the_place_of_needs_onnx(
    tmp_path: Path, implementation: str
) -> None:
    with pytest.raises(
        TrainingError, match=rf"ONNX cannot express this estimator, and {implementation}, which"
    ):
        serving_of(tmp_path, implementation).complete("v1", PIXELS, "skops")


def test_a_picture_is_one_input_and_its_best_classes_are_outputs(tmp_path: Path) -> None:
    settings = written(serving_of(tmp_path, IMAGE).complete("v1", PIXELS, "onnx"))
    assert settings["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1, 1]}]
    assert {each["name"]: each["shape"] for each in settings["outputs"]} == {
        "label": [-1, 1],
        "class_index": [-1, 1],
        "probability": [-1, 7],
        "top_label": [-1, 5],
        "top_probability": [-1, 5],
    }


def test_the_settings_say_how_many_of_the_best_classes(tmp_path: Path) -> None:
    serving = serving_of(tmp_path, IMAGE, parameters={"extra": {"top_k": 2}})
    outputs = written(serving.complete("v1", PIXELS, "onnx"))["outputs"]
    assert outputs[-1] == {"name": "top_probability", "datatype": "FP32", "shape": [-1, 2]}


def test_pixels_may_be_served_as_columns(tmp_path: Path) -> None:
    settings = written(serving_of(tmp_path, TABULAR).complete("v1", PIXELS, "onnx"))
    assert settings["inputs"] == [{"name": "features", "datatype": "FP64", "shape": [-1, 4]}]
    assert len(settings["outputs"]) == 3


@pytest.mark.parametrize(
    ("implementation", "schema", "message"),
    [
        (TABULAR, REGRESSOR, "does not serve a regressor; name runtimes.tabular.TabularRegressor"),
        ("runtimes.tabular.TabularRegressor", SCHEMA, f"a classifier of columns; name {TABULAR}"),
        (IMAGE, SCHEMA, f"does not serve a classifier of columns; name {TABULAR}"),
        (
            "runtimes.tabular.TabularRegressor",
            PIXELS,
            f"a classifier of pictures; name {TABULAR} or {IMAGE}",
        ),
        ("runtimes.scikit_learn.SklearnRuntime", SCHEMA, "which training itself puts where ONNX"),
    ],
)
def test_a_runtime_for_another_kind_of_model_is_refused(
    tmp_path: Path, implementation: str, schema: Schema, message: str
) -> None:
    with pytest.raises(DefinitionError, match=message):
        serving_of(tmp_path, implementation).check(schema)


def test_a_runtime_of_others_is_taken_at_its_word(tmp_path: Path) -> None:
    serving = serving_of(tmp_path, "shop.runtimes.Churn")
    assert (
        written(serving.complete("v1", SCHEMA, "onnx"))["implementation"] == "shop.runtimes.Churn"
    )
