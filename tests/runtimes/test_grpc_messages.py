"""Between gRPC's messages and ours; MLServer's own conversion is what answers are compared with."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.converters import ModelInferResponseConverter
from mlserver.types import InferenceRequest, RequestInput

from runtimes.grpc_messages import (
    ResponseWriter,
    parameters_of,
    read_request,
    to_inference_request,
    to_parameter,
)
from runtimes.inference import Regressed
from runtimes.opened import Answer
from runtimes.outputs import Outputs, PredictionOutput
from runtimes.refusals import RefusedError
from runtimes.tabular import TabularClassifier
from tests.runtimes.versions import CLASSES, SETOSA, VIRGINICA

TYPED = [
    ("BOOL", "bool_contents", [True, False, True]),
    ("INT8", "int_contents", [-128, 0, 127]),
    ("INT16", "int_contents", [-(2**15), 0, 2**15 - 1]),
    ("INT32", "int_contents", [-(2**31), 0, 2**31 - 1]),
    ("INT64", "int64_contents", [-(2**63), 0, 2**63 - 1]),
    ("UINT8", "uint_contents", [0, 1, 255]),
    ("UINT16", "uint_contents", [0, 1, 2**16 - 1]),
    ("UINT32", "uint_contents", [0, 1, 2**32 - 1]),
    ("UINT64", "uint64_contents", [0, 1, 2**64 - 1]),
    ("FP32", "fp32_contents", [0.5, -0.0, 3.4028234663852886e38]),
    ("FP64", "fp64_contents", [0.1, -0.0, 1.7976931348623157e308]),
]


def message(
    datatype: str = "FP32",
    shape: tuple[int, ...] = (1, 4),
    raw: bytes | None = None,
    **contents: Any,
) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="iris", id="r-1")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    if raw is not None:
        request.raw_input_contents.append(raw)
    return request


# Requests.


@pytest.mark.parametrize(("datatype", "field", "values"), TYPED)
def test_typed_values_are_read(datatype: str, field: str, values: list[Any]) -> None:
    [tensor] = read_request(message(datatype, (3,), **{field: values})).inputs
    assert (tensor.name, tensor.shape, tensor.datatype) == ("x", [3], datatype)
    assert tensor.data.tolist() == values


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "UINT16", "INT64", "BOOL"])
def test_raw_values_are_read(datatype: str) -> None:
    dtype = {"FP": "f", "UI": "u", "IN": "i", "BO": "?"}[datatype[:2]]
    size = "" if dtype == "?" else str(int(datatype.strip("UFINTP")) // 8)
    values = np.array([1, 0, 1], f"<{dtype}{size}")
    [tensor] = read_request(message(datatype, (3,), values.tobytes())).inputs
    assert tensor.data.tolist() == values.tolist()


def test_strings_are_read_typed_and_raw() -> None:
    strings = [b"", b"\xff", "é".encode()]
    packed = b"".join(len(each).to_bytes(4, "little") + each for each in strings)
    typed = read_request(message("BYTES", (3,), bytes_contents=strings))
    raw = read_request(message("BYTES", (3,), packed))
    assert typed.inputs[0].data == raw.inputs[0].data == strings


@pytest.mark.parametrize("n_values", [1, 31, 32, 4_095, 4_096, 600_000])
@pytest.mark.parametrize("field", ["fp32_contents", "fp64_contents"])
def test_any_number_of_floats_is_read(field: str, n_values: int) -> None:
    """Their length is written in one to four bytes."""
    values = np.arange(n_values, dtype=np.float32)
    [tensor] = read_request(message(field[:4].upper(), **{field: values})).inputs
    assert np.array_equal(tensor.data, values)


def test_floats_are_read_however_a_client_wrote_them() -> None:
    """Each behind a tag of its own, and with a field behind them that we do not know."""
    one_by_one = b"".join(b"\x35" + np.float32(each).tobytes() for each in SETOSA)
    request = message()
    request.inputs[0].contents.MergeFromString(one_by_one + b"\x7a\x02hi")
    [tensor] = read_request(request).inputs
    assert np.array_equal(tensor.data, np.array(SETOSA, np.float32))


def test_values_that_are_not_there_are_none() -> None:
    assert [
        len(read_request(message(datatype)).inputs[0].data)
        for datatype in ("FP32", "INT8", "BYTES")
    ] == [0, 0, 0]


def test_id_and_outputs_are_read() -> None:
    request = message(fp32_contents=SETOSA)
    request.outputs.add(name="probability")
    request.outputs.add(name="label")
    found = read_request(request)
    assert (found.request_id, found.outputs) == ("r-1", ["probability", "label"])


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            message("FP32", int64_contents=[1]),
            "input 'x' has datatype FP32 and values in int64_contents; expected them in fp32",
        ),
        (message("INT8", int64_contents=[1]), "values in int64_contents; expected them in int_c"),
        (message(fp32_contents=[1], fp64_contents=[1]), "in fp32_contents and fp64_contents"),
        (message("FP16", fp32_contents=[1]), "'FP16' .* expected its values in raw_input_contents"),
        (message("fp32", fp32_contents=[1]), "datatype 'fp32' .* expected one of BOOL, INT8"),
        (message("x" * 1000, fp32_contents=[1]), r"datatype 'x{59}\.\.\. and"),
        (message("BF16", raw=b"\0\0"), "datatype 'BF16', which has no binary form"),
        (message(raw=b"\0" * 15), "15 bytes; expected a multiple of 4"),
        (message("BYTES", raw=b"\5\0\0\0abc"), "cut short"),
        (message(raw=b"", fp32_contents=[1]), "values in fp32_contents, and the request has raw"),
    ],
)
def test_values_in_the_wrong_place_are_refused(request_: pb.ModelInferRequest, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        read_request(request_)
    assert caught.value.status_code == 400
    assert len(str(caught.value)) < 400


def test_raw_values_must_be_as_many_as_inputs() -> None:
    request = message(raw=b"\0" * 16)
    request.raw_input_contents.append(b"")
    with pytest.raises(RefusedError, match="1 inputs and 2 raw_input_contents"):
        read_request(request)


def test_an_input_must_have_a_name() -> None:
    request = message(fp32_contents=SETOSA)
    request.inputs.add(datatype="FP32", shape=[1])
    with pytest.raises(RefusedError, match=r"input number 1 .* no name"):
        read_request(request)


def test_parameters_are_found_where_they_are() -> None:
    request = message(fp32_contents=SETOSA)
    assert list(parameters_of(request)) == []
    request.parameters["content_type"].string_param = "np"
    request.inputs[0].parameters["a"].int64_param = 5
    request.inputs[0].parameters["b"].SetInParent()
    assert list(parameters_of(request)) == [
        ("the request", {"content_type": "np"}),
        ("input 'x'", {"a": 5, "b": None}),
    ]


# Requests to models that are none of ours.


def test_a_request_in_mlservers_types_says_the_same() -> None:
    request = message("FP32", (2, 2), fp32_contents=[1, 2, 3, 4])
    request.parameters["content_type"].string_param = "np"
    request.outputs.add(name="predict")
    found = to_inference_request(request)
    expected = InferenceRequest.model_validate(
        {
            "id": "r-1",
            "parameters": {"content_type": "np"},
            "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}],
            "outputs": [{"name": "predict"}],
        }
    )
    assert found.model_dump() == expected.model_dump()


def test_a_request_without_an_id_has_none_in_mlservers_types() -> None:
    request = message(fp32_contents=SETOSA)
    request.id = ""
    assert to_inference_request(request).id is None


@pytest.mark.parametrize("shape", [(2, 2), (-2, -2), (2**62, 2**62), (), (3,)])
@pytest.mark.parametrize("form", ["typed", "raw"])
def test_numbers_must_fill_their_shape(shape: tuple[int, ...], form: str) -> None:
    values = {"raw": bytes(8)} if form == "raw" else {"fp32_contents": [0, 0]}
    with pytest.raises(RefusedError, match=r"'x' has shape .* and 2 values"):
        to_inference_request(message("FP32", shape, **values))


def test_strings_need_not_fill_their_shape() -> None:
    """What a string stands for, its codec knows: one may hold a whole table."""
    found = to_inference_request(message("BYTES", (5, 5), bytes_contents=[b"{}"]))
    assert found.inputs[0].data.root == [b"{}"]


@pytest.mark.parametrize("key", ["content_type", "headers"])
def test_a_parameter_that_mlserver_does_not_take_is_refused(key: str) -> None:
    request = message(fp32_contents=SETOSA)
    request.parameters[key].int64_param = 5
    with pytest.raises(RefusedError, match=f"parameter {key} cannot be read"):
        to_inference_request(request)


def test_an_id_that_is_no_metadata_is_refused() -> None:
    request = message(fp32_contents=SETOSA)
    request.id = "a\r\nb: c"
    with pytest.raises(RefusedError, match="request id"):
        to_inference_request(request)


# Responses.


def rows(n_rows: int) -> pb.ModelInferRequest:
    values = [*SETOSA, *VIRGINICA] * (n_rows // 2) + SETOSA * (n_rows % 2)
    request = message("FP32", (n_rows, 4), fp32_contents=values)
    request.inputs[0].name = "features"
    return request


def write(runtime: TabularClassifier, n_rows: int, *, raw: bool) -> pb.ModelInferResponse:
    answer = runtime.infer(read_request(rows(n_rows)))
    return pb.ModelInferResponse.FromString(ResponseWriter("iris", "v1").write(answer, raw=raw))


def without_parameters(response: pb.ModelInferResponse) -> pb.ModelInferResponse:
    """Return what does not differ from one response to the next, and is not ours to say."""
    response.parameters.clear()
    for output in response.outputs:
        output.parameters.clear()
        if response.raw_output_contents:
            output.ClearField("contents")
    return response


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("n_rows", [1, 2, 31, 1_000])
async def test_a_response_is_what_mlserver_makes_of_it(
    runtime: TabularClassifier, n_rows: int, raw: bool
) -> None:
    values = list(rows(n_rows).inputs[0].contents.fp32_contents)
    tensor = RequestInput(name="features", datatype="FP32", shape=[n_rows, 4], data=values)
    predicted = await runtime.predict(InferenceRequest(id="r-1", inputs=[tensor]))
    expected = ModelInferResponseConverter.from_types(predicted, use_raw=raw)
    written = write(runtime, n_rows, raw=raw)
    assert without_parameters(written) == without_parameters(expected)


def test_a_response_says_which_service_made_it_and_what_its_columns_are(
    runtime: TabularClassifier,
) -> None:
    written = write(runtime, 1, raw=False)
    assert written.parameters["feedback_token"].string_param
    assert written.parameters["service_version"].string_param
    classes = written.outputs[2].parameters["classes"].string_param
    assert classes == '["setosa","versicolor","virginica"]'
    assert len(written.outputs[2].contents.fp32_contents) == len(CLASSES)


@pytest.mark.parametrize("raw", [False, True])
def test_a_regressors_response_is_written(raw: bool) -> None:
    outputs = Outputs([PredictionOutput()])
    prediction = np.array([1.5, -2.0], np.float32)
    answer = Answer("r-1", outputs.all, Regressed(prediction), "token")
    written = pb.ModelInferResponse.FromString(ResponseWriter("price", "v2").write(answer, raw=raw))
    [output] = written.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("prediction", "FP32", [2, 1])
    assert list(output.contents.fp32_contents) == ([] if raw else [1.5, -2.0])
    assert list(written.raw_output_contents) == ([prediction.tobytes()] if raw else [])


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (True, lambda parameter: parameter.bool_param),
        (5, lambda parameter: parameter.int64_param),
        ("a", lambda parameter: parameter.string_param),
    ],
)
def test_a_parameter_keeps_its_type(value: Any, read: Callable[[Any], Any]) -> None:
    assert read(to_parameter(value)) is value or read(to_parameter(value)) == value


@pytest.mark.parametrize(("value", "text"), [(["a", 1], '["a",1]'), ({"a": None}, '{"a":null}')])
def test_a_parameter_without_a_type_in_grpc_is_json(value: Any, text: str) -> None:
    assert to_parameter(value).string_param == text
