import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlserver.codecs.json import encode_to_json_bytes
from mlserver.errors import InvalidModelURI, MLServerError
from mlserver.types import InferenceRequest, RequestInput
from sklearn.datasets import load_iris

from abserve.artifacts import METADATA, MODEL_ONNX, MODEL_SETTINGS
from abserve.errors import ArtifactError
from runtimes.tabular import TabularClassifier
from tests.runtimes.conftest import make_runtime
from tests.runtimes.contract import RuntimeContract
from tests.runtimes.versions import (
    CLASSES,
    COLUMNS,
    SETOSA,
    VIRGINICA,
    change_json,
    version_files,
    write_version,
)


def matrix(data: Any, shape: Any = (1, 4), datatype: str = "FP32", name: str = "features") -> Any:
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data}


def columns(**changes: Any) -> list[Any]:
    """One tensor per column for one row; a change of None leaves the column out."""
    tensors = {
        name: matrix([value], (1, 1), name=name)
        for name, value in zip(COLUMNS, SETOSA, strict=True)
    }
    return [tensor for tensor in {**tensors, **changes}.values() if tensor is not None]


def ask(*inputs: Any, **fields: Any) -> InferenceRequest:
    return InferenceRequest.model_validate({"inputs": list(inputs), **fields})


async def labels(runtime: TabularClassifier, request: InferenceRequest) -> list[str]:
    response = await runtime.predict(request)
    return [label.decode() for label in response.outputs[0].data.root]


class TestContract(RuntimeContract):
    pass


async def test_classifies_each_row(runtime: TabularClassifier) -> None:
    request = ask(matrix([*SETOSA, *VIRGINICA], (2, 4)))
    assert await labels(runtime, request) == ["setosa", "virginica"]


async def test_nested_data_means_the_same_as_flat_data(runtime: TabularClassifier) -> None:
    request = ask(matrix([SETOSA, VIRGINICA], (2, 4)))
    assert await labels(runtime, request) == ["setosa", "virginica"]


async def test_columns_may_come_in_any_order(runtime: TabularClassifier) -> None:
    for tensors in (columns(), columns()[::-1]):
        assert await labels(runtime, ask(*tensors)) == ["setosa"]


async def test_columns_may_have_one_axis(runtime: TabularClassifier) -> None:
    tensors = [
        matrix([value, other], (2,), name=name)
        for name, value, other in zip(COLUMNS, SETOSA, VIRGINICA, strict=True)
    ]
    assert await labels(runtime, ask(*tensors)) == ["setosa", "virginica"]


@pytest.mark.parametrize(
    "datatype",
    [
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "FP16",
        "FP32",
        "FP64",
    ],
)
async def test_every_numeric_datatype_is_read(runtime: TabularClassifier, datatype: str) -> None:
    assert await labels(runtime, ask(matrix([5, 3, 1, 0], datatype=datatype))) == ["setosa"]


async def test_whole_floats_are_integers(runtime: TabularClassifier) -> None:
    assert await labels(runtime, ask(matrix([5.0, 3, 1, 0], datatype="INT64"))) == ["setosa"]


async def test_the_largest_float32_may_be_written_rounded(runtime: TabularClassifier) -> None:
    """3.4028235e38 is how float32's maximum prints, and is a little larger than it."""
    with pytest.raises(MLServerError, match="too large for the model"):
        await runtime.predict(ask(matrix([3.4028235e38, -3.4028235e38, 3.4028235e38, 0])))


async def test_a_request_may_have_ten_thousand_rows(runtime: TabularClassifier) -> None:
    request = ask(matrix(SETOSA * 10_000, (10_000, 4)))
    assert await labels(runtime, request) == ["setosa"] * 10_000


async def test_probabilities_are_named_and_sum_to_one(runtime: TabularClassifier) -> None:
    response = await runtime.predict(ask(matrix([*SETOSA, *VIRGINICA], (2, 4))))
    output = response.outputs[2]
    probability = np.reshape(output.data.root, output.shape)
    assert (output.name, output.shape, output.datatype) == ("probability", [2, 3], "FP32")
    assert output.parameters.classes == CLASSES
    assert probability.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert probability.argmax(axis=1).tolist() == [0, 2]


async def test_agrees_with_the_labels_of_the_training_rows(runtime: TabularClassifier) -> None:
    """The regression was measured to err on 4 of its own 150 rows when this was written."""
    features, classes = load_iris(return_X_y=True)
    found = await labels(runtime, ask(matrix(features.tolist(), features.shape)))
    right = [name == CLASSES[index] for name, index in zip(found, classes, strict=True)]
    assert sum(right) >= 145


async def test_outputs_come_in_the_order_asked_for_and_once(runtime: TabularClassifier) -> None:
    wanted = [{"name": name} for name in ("probability", "label", "probability")]
    response = await runtime.predict(ask(matrix(SETOSA), outputs=wanted))
    assert [output.name for output in response.outputs] == ["probability", "label"]


async def test_no_outputs_asked_for_means_all(runtime: TabularClassifier) -> None:
    response = await runtime.predict(ask(matrix(SETOSA), outputs=[]))
    assert [output.name for output in response.outputs] == ["label", "class_index", "probability"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        # names
        ([matrix(SETOSA, name="x")], "input 'x' is not known; expected one input 'features'"),
        ([matrix(SETOSA, name="")], "input '' is not known"),
        ([matrix(SETOSA, name="a\r\nb")], r"input 'a\\r\\nb' is not known"),
        ([matrix(SETOSA, name="\ud800")], r"input '\\ud800' is not known"),
        ([matrix(SETOSA, name="n" * 10_000)], r"input 'n{59}\.\.\. is not known"),
        ([matrix(SETOSA), matrix(SETOSA)], "input 'features' is given more than once"),
        ([matrix(SETOSA), *columns()], "input 'features' is not known"),
        (columns(petal_width=None), "input 'petal_width' is missing; expected"),
        ([*columns(), matrix([1], (1, 1), name="x")], "input 'x' is not known"),
        ([*columns(), columns()[0]], "input 'sepal_length' is given more than once"),
        # shapes
        (
            [matrix(SETOSA, (4,))],
            r"has shape \[4\]; expected \[n, 4\], its columns being sepal_len",
        ),
        ([matrix(SETOSA, ())], r"has shape \[\]; expected"),
        ([matrix(SETOSA, (1, 1, 4))], r"has shape \[1, 1, 4\]; expected"),
        ([matrix(SETOSA, (4, 1))], r"has shape \[4, 1\]; expected \[n, 4\]"),
        ([matrix(SETOSA, (1, 5))], r"has shape \[1, 5\]; expected \[n, 4\]"),
        ([matrix(SETOSA, (-1, 4))], "expected at least one row"),
        ([matrix([], (0, 4))], "expected at least one row"),
        ([matrix(SETOSA, (1, -4))], r"has shape \[1, -4\]"),
        ([matrix(SETOSA, [1] * 10_000)], r"has shape \[1, 1, .*\.\.\.; expected"),
        (columns(petal_width=matrix([1, 2], (1, 2), name="petal_width")), r"\[n, 1\] or \[n\]"),
        (columns(petal_width=matrix([1], (), name="petal_width")), r"has shape \[\]; expected"),
        (columns(petal_width=matrix([], (0,), name="petal_width")), "at least one row"),
        (columns(petal_width=matrix([1, 2], (2, 1), name="petal_width")), "1 rows and input"),
        # data that do not fit their shape
        ([matrix(SETOSA, (2, 4))], r"has shape \[2, 4\] but 4 values; expected 8"),
        ([matrix([], (1, 4))], "but 0 values; expected 4"),
        ([matrix([*SETOSA, 1])], "but 5 values; expected 4"),
        ([matrix([SETOSA, SETOSA])], "but 8 values; expected 4"),
        ([matrix([[1, 2], [3, 4]])], "row 0 .* of its nested data is 2 values; expected a list of"),
        ([matrix([SETOSA, [1, 2, 3]], (2, 4))], "row 1 .* is 3 values"),
        ([matrix([SETOSA, 5], (2, 4))], "row 1 .* is 5; expected a list of 4"),
        ([matrix([SETOSA, None], (2, 4))], "row 1 .* is null; expected a list of 4"),
        ([matrix([5, SETOSA, 1, 2])], "holds a list in row 0 .* column 'sepal_width'"),
        ([matrix([[[1], [2], [3], [4]]])], "holds a list in row 0"),
        ([matrix([SETOSA[0:2], SETOSA[2:4]], (2, 4))], "is 2 values; expected a list of 4"),
        ([matrix(5)], "data of input 'features' is 5; expected a list"),
        ([matrix("5.1")], "is a string; expected a list"),
        ([matrix(b"\x00" * 16)], "is a string; expected a list"),
        ([matrix(None)], "is null; expected a list"),
        ([matrix(True)], "is a boolean; expected a list"),
        ([matrix({"a": 1})], "is an object; expected a list"),
        # values
        ([matrix([5.1, "3.5", 1.4, 0.2])], "holds a string in row 0 .*, column 'sepal_width'"),
        ([matrix([5.1, 3.5, None, 0.2])], "holds null in row 0 .*, column 'petal_length'"),
        ([matrix([5.1, 3.5, 1.4, True])], "holds a boolean in row 0"),
        ([matrix([5.1, 3.5, 1.4, {}])], "holds an object in row 0"),
        ([matrix([5.1, 3.5, 1.4, b"1"])], "holds a string in row 0"),
        ([matrix([5.1, 3.5, 1.4, 1j])], "holds 1j in row 0"),
        ([matrix([*SETOSA, *SETOSA[:3], None], (2, 4))], "row 1 .*, column 'petal_width'"),
        (
            [matrix([5.1, float("nan"), 1.4, 0.2])],
            "holds no number .* in row 0 .*; expected a finite",
        ),
        ([matrix([5.1, float("inf"), 1.4, 0.2])], "holds inf in row 0"),
        ([matrix([5.1, float("-inf"), 1.4, 0.2], datatype="FP64")], "holds -inf in row 0"),
        ([matrix([5, float("inf"), 1, 0], datatype="INT64")], "holds inf in row 0"),
        ([matrix([5, float("nan"), 1, 0], datatype="INT8")], "holds no number .* in row 0"),
        ([matrix([1e300, 3.5, 1.4, 0.2], datatype="FP64")], "within the range of float32"),
        ([matrix([70_000, 3.5, 1.4, 0.2], datatype="FP16")], "within the range of float16"),
        ([matrix([10**400, 3, 1, 0], datatype="INT64")], "integer that no INT64 can hold"),
        ([matrix([10**5000, 3, 1, 0])], "integer that no FP32 can hold"),
        ([matrix([2**64, 3, 1, 0], datatype="INT64")], "holds 18446744073709551616 in row 0"),
        ([matrix([300, 3, 1, 0], datatype="UINT8")], "whole number from 0 to 255"),
        ([matrix([-1, 3, 1, 0], datatype="UINT32")], "holds -1 in row 0"),
        ([matrix([5.1, 3, 1, 0], datatype="INT32")], "holds 5.1 in row 0 .*; expected a whole"),
        ([matrix([3e38, -3e38, 3e38, 3e38])], "row 0 .* too large for the model"),
        # datatypes
        ([matrix(["a"] * 4, datatype="BYTES")], "has datatype 'BYTES'; expected a numeric one"),
        ([matrix([5.1, 3.5, 1.4, 0.2], datatype="BYTES")], "has datatype 'BYTES'"),
        ([matrix([True] * 4, datatype="BOOL")], "has datatype 'BOOL'; expected a numeric one"),
    ],
)
async def test_bad_input_is_refused_with_its_reason(
    runtime: TabularClassifier, inputs: list[Any], message: str
) -> None:
    # Built unchecked, as gRPC's are, so that what only gRPC can carry is tried as well.
    request = InferenceRequest(inputs=[])
    request.inputs = [
        RequestInput.model_construct(
            **{**fields, "data": RequestInput.model_fields["data"].annotation(root=fields["data"])}
        )
        for fields in inputs
    ]
    with pytest.raises(MLServerError, match=message) as caught:
        await runtime.predict(request)
    assert caught.value.status_code == 400
    encode_to_json_bytes({"error": str(caught.value)})
    assert len(str(caught.value)) < 500


async def test_an_unknown_datatype_is_refused(runtime: TabularClassifier) -> None:
    request = ask(matrix(SETOSA))
    request.inputs[0] = RequestInput.model_construct(**{**dict(request.inputs[0]), "datatype": "X"})
    with pytest.raises(MLServerError, match="has datatype 'X'"):
        await runtime.predict(request)


async def test_data_nested_a_thousand_deep_is_refused(runtime: TabularClassifier) -> None:
    deep: Any = 1
    for _ in range(1000):
        deep = [deep]
    request = ask(matrix(SETOSA))
    request.inputs[0].data.root = deep
    with pytest.raises(MLServerError, match="expected a list of 4"):
        await runtime.predict(request)


@pytest.mark.parametrize("rows", [10_001, 2**62])
async def test_too_many_rows_are_refused_before_they_are_read(
    runtime: TabularClassifier, rows: int
) -> None:
    with pytest.raises(MLServerError, match="at most 10000") as caught:
        await runtime.predict(ask(matrix([], (rows, 4))))
    assert caught.value.status_code == 413


async def test_a_request_written_for_pandas_is_read(runtime: TabularClassifier) -> None:
    tensors = [{**each, "parameters": {"content_type": "np"}} for each in columns()]
    request = ask(*tensors, parameters={"content_type": "pd"})
    assert await labels(runtime, request) == ["setosa"]


async def test_a_content_type_that_means_something_else_is_refused(
    runtime: TabularClassifier,
) -> None:
    tensor = {**matrix(SETOSA), "parameters": {"content_type": "base64"}}
    with pytest.raises(MLServerError, match="content_type 'base64'; expected none, or np, pd"):
        await runtime.predict(ask(tensor))
    with pytest.raises(MLServerError, match="the request has content_type 'zzz'"):
        await runtime.predict(ask(matrix(SETOSA), parameters={"content_type": "zzz"}))


async def test_metadata_says_what_goes_in_and_comes_out(runtime: TabularClassifier) -> None:
    said = (await runtime.metadata()).model_dump(exclude_none=True)
    assert said["versions"] == ["v1"]
    assert said["inputs"] == [
        {
            "name": "features",
            "datatype": "FP32",
            "shape": [-1, 4],
            "parameters": {"content_type": "np", "columns": COLUMNS},
        }
    ]
    assert said["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [-1, 1]},
        {"name": "class_index", "datatype": "INT64", "shape": [-1, 1]},
        {
            "name": "probability",
            "datatype": "FP32",
            "shape": [-1, 3],
            "parameters": {"classes": CLASSES},
        },
    ]


async def test_numbers_have_as_many_digits_as_their_datatype(runtime: TabularClassifier) -> None:
    """An FP32 of 0.1 is 0.1, and not 0.10000000149011612."""
    response = await runtime.predict(ask(matrix(SETOSA)))
    for number in response.outputs[2].data.root:
        assert float(str(np.float32(number))) == number


def runtime_of(tmp_path: Path, features: list[dict[str, Any]]) -> TabularClassifier:
    files = change_json(
        version_files(), METADATA, schema={"features": features, "classes": CLASSES}
    )
    return make_runtime(write_version(tmp_path / "v1", files))


async def test_a_value_outside_its_bounds_is_refused_where_the_schema_says_so(
    tmp_path: Path,
) -> None:
    bounds = {"minimum": 0.1, "maximum": 7.9}
    runtime = runtime_of(
        tmp_path,
        [{"name": COLUMNS[0], **bounds, "outside": "refuse"}]
        + [{"name": name, **bounds} for name in COLUMNS[1:]],
    )
    await runtime.load()
    # The others' bounds are counted only, and a bound is within itself, in FP32 too.
    for inside in (0.1, 7.9):
        assert await labels(runtime, ask(matrix([inside, 9.0, 1.4, 0.0])))
    with pytest.raises(
        MLServerError, match=r"column 'sepal_length' is 8 in row 1 .*; expected a value in \[0.1, 7"
    ):
        await runtime.predict(ask(matrix([*SETOSA, 8.0, 3.5, 1.4, 0.2], (2, 4))))


async def test_a_value_may_be_missing_where_the_schema_says_so(tmp_path: Path) -> None:
    runtime = runtime_of(
        tmp_path,
        [{"name": COLUMNS[0], "missing": "allow"}] + [{"name": name} for name in COLUMNS[1:]],
    )
    await runtime.load()
    # This model has no answer without the value: what is tested is how far the request gets.
    for absent in (None, float("nan")):
        with pytest.raises(MLServerError, match="too large for the model"):
            await runtime.predict(ask(matrix([absent, 3.5, 1.4, 0.2])))
        with pytest.raises(MLServerError, match=r"in row 0 .*, column 'sepal_width'"):
            await runtime.predict(ask(matrix([5.1, absent, 1.4, 0.2])))


async def test_a_runtime_that_is_not_loaded_answers_503(
    version_folder: Path, request_: InferenceRequest
) -> None:
    unloaded = make_runtime(version_folder)
    with pytest.raises(MLServerError, match="not loaded yet") as caught:
        await unloaded.predict(request_)
    assert caught.value.status_code == 503
    with pytest.raises(MLServerError, match="not loaded yet"):
        await unloaded.feedback({})


async def test_reading_the_settings_again_gives_the_same_class(version_folder: Path) -> None:
    settings = make_runtime(version_folder).settings
    assert settings.implementation is settings.implementation is TabularClassifier


async def test_an_altered_file_is_not_loaded(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1")
    with (folder / MODEL_ONNX).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match=r"model\.onnx has SHA-256"):
        await make_runtime(folder).load()


async def test_a_folder_without_a_model_is_not_loaded(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1")
    (folder / MODEL_ONNX).unlink()
    with pytest.raises(InvalidModelURI, match=r"model\.onnx"):
        await make_runtime(folder).load()


async def test_settings_of_another_version_are_refused(tmp_path: Path) -> None:
    settings = json.loads(version_files()[MODEL_SETTINGS])
    settings["parameters"]["version"] = "v2"
    files = change_json(version_files(), MODEL_SETTINGS, **settings)
    with pytest.raises(ArtifactError, match="holds iris v1, but its model settings say iris v2"):
        await make_runtime(write_version(tmp_path / "v1", files)).load()


async def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    files = {**version_files(), MODEL_ONNX: b"not a model"}
    with pytest.raises(ArtifactError, match="is no model that can be loaded"):
        await make_runtime(write_version(tmp_path / "v1", files)).load()


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"features": [{"name": "a"}], "classes": CLASSES}, r"declares 'input' as tensor\(float\)"),
        (
            {"features": [{"name": name} for name in COLUMNS], "classes": ["a", "b"]},
            r"declares 'probability' .* promises tensor\(float\) of shape \['n', 2\]",
        ),
    ],
)
async def test_a_model_that_does_not_fit_its_schema_is_refused(
    tmp_path: Path, schema: dict[str, Any], message: str
) -> None:
    files = change_json(version_files(), METADATA, schema=schema)
    with pytest.raises(ArtifactError, match=message):
        await make_runtime(write_version(tmp_path / "v1", files)).load()
