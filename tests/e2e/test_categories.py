"""Categories sent as texts, in each form that the protocol has for them."""

import json
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.http import InferenceServerClient, InferInput

from tests.runtimes.category_versions import COLOURS, category_files
from tests.runtimes.server_process import OURS, ServerProcess, running
from tests.runtimes.versions import write_version

pytestmark = pytest.mark.e2e

EXPECTED = [1.5 + 10 * 3 + 100 * 3, 2.5 + 10 * 4 + 100 * 0]
INPUTS = [
    {"name": "size", "datatype": "FP64", "shape": [2, 1], "data": [1.5, 2.5]},
    {"name": "rooms", "datatype": "INT64", "shape": [2], "data": [3, 4]},
    {"name": "colour", "datatype": "BYTES", "shape": [2, 1], "data": ["größer", "red"]},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = write_version(tmp_path_factory.mktemp("rooms") / "v1", category_files())
    with running(OURS, folder, tmp_path_factory.mktemp("logs") / "server") as started:
        started.wait_until_ready()
        yield started


@pytest.mark.parametrize("parameters", [{}, {"content_type": "pd"}])
def test_texts_in_json(server: ServerProcess, parameters: dict[str, str]) -> None:
    answer = server.infer(inputs=INPUTS, parameters=parameters)
    assert answer.json()["outputs"][0]["data"] == pytest.approx(EXPECTED, rel=1e-4)


def test_texts_with_the_content_type_of_texts(server: ServerProcess) -> None:
    colour = {**INPUTS[2], "parameters": {"content_type": "str"}}
    answer = server.infer(inputs=[*INPUTS[:2], colour], parameters={"content_type": "pd"})
    assert answer.json()["outputs"][0]["data"] == pytest.approx(EXPECTED, rel=1e-4)


def test_texts_in_binary(server: ServerProcess) -> None:
    arrays = (
        np.array([[1.5], [2.5]]),
        np.array([3, 4]),
        np.array([["größer".encode()], [b"red"]], np.object_),
    )
    tensors = []
    for sent, array in zip(INPUTS, arrays, strict=True):
        tensors.append(InferInput(sent["name"], sent["shape"], sent["datatype"]))
        tensors[-1].set_data_from_numpy(array)
    with InferenceServerClient(server.url.removeprefix("http://")) as client:
        found = client.infer("iris", tensors).as_numpy("prediction")
    assert found.ravel() == pytest.approx(EXPECTED, rel=1e-4)


def test_texts_over_grpc(server: ServerProcess) -> None:
    request = pb.ModelInferRequest(model_name="iris")
    size, rooms, colour = (
        request.inputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        for each in INPUTS
    )
    size.contents.fp64_contents.extend([1.5, 2.5])
    rooms.contents.int64_contents.extend([3, 4])
    colour.contents.bytes_contents.extend(["größer".encode(), b"red"])
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    found = answer.outputs[0].contents.fp32_contents
    assert list(found) == pytest.approx(EXPECTED, rel=1e-4)


def test_an_unknown_text_is_refused_with_the_nearest(server: ServerProcess) -> None:
    answer = server.infer(inputs=[*INPUTS[:2], {**INPUTS[2], "data": ["größer", "rde"]}])
    assert answer.status_code == 400
    assert "holds 'rde' in row 1 (from 0), which is no category, did you mean 'red'?" in answer.text


def test_a_fraction_of_a_room_is_refused(server: ServerProcess) -> None:
    rooms = {**INPUTS[1], "datatype": "FP32", "data": [3, 4.5]}
    answer = server.infer(inputs=[INPUTS[0], rooms, INPUTS[2]])
    assert answer.status_code == 400
    assert "column 'rooms' is 4.5 in row 1 (from 0); expected a whole number" in answer.text


def test_metadata_name_the_categories_over_rest_and_grpc(server: ServerProcess) -> None:
    with InferenceServerClient(server.url.removeprefix("http://")) as client:
        (stated,) = client.get_model_metadata("iris")["inputs"]
    assert stated["parameters"]["categories"] == {"colour": COLOURS}
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        (stated,) = stub.ModelMetadata(pb.ModelMetadataRequest(name="iris"), timeout=10).inputs
    assert json.loads(stated.parameters["categories"].string_param) == {"colour": COLOURS}
