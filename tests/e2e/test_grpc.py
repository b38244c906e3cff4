"""The gRPC side of the server, driven by clients that know nothing of us.

What it refuses, and with which words, is in `bad_requests.py`; here is what it answers, to whom it
leaves the rest, and what it closes.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc import model_repository_pb2 as repository_pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.grpc.model_repository_pb2_grpc import ModelRepositoryServiceStub
from sklearn.linear_model import Ridge

from abserve import __version__
from abserve.artifacts import METADATA, MODEL_SETTINGS, to_json
from tests.runtimes.image_versions import digits_files, save, to_grey, train_digits
from tests.runtimes.server_process import OURS, ServerProcess, fail_to_start, running
from tests.runtimes.skops_versions import diabetes, fit, skops_files
from tests.runtimes.versions import SETOSA, VIRGINICA, change_json, version_files, write_version

pytestmark = pytest.mark.e2e

BOTH = np.array([SETOSA, VIRGINICA], np.float32)
WHOLE = [[5, 3, 1, 0], [6, 3, 6, 2]]
MIB = 1024 * 1024

# Models that are none of our runtimes, as anyone may write them.
OTHER_MODELS = """
import asyncio, pathlib
from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.types import InferenceResponse, ResponseOutput
from runtimes.tabular.classifier import TabularClassifier

class Echo(MLModel):
    async def predict(self, payload):
        if payload.inputs[0].name == "refuse":
            raise MLServerError("this is refused", 409)
        if payload.inputs[0].name == "fail":
            raise ValueError("a secret")
        outputs = [
            ResponseOutput(name=i.name, shape=i.shape, datatype=i.datatype, data=i.data.root)
            for i in payload.inputs
        ]
        return InferenceResponse(model_name=self.name, model_version="7", outputs=outputs)

    async def predict_stream(self, payloads):
        async for payload in payloads:
            yield await self.predict(payload)

class Slow(TabularClassifier):
    async def load(self):
        while not pathlib.Path("go").exists():
            await asyncio.sleep(0.01)
        return await super().load()
"""


class Client:
    """Stubs of both services, and the requests they are asked."""

    def __init__(self, address: str) -> None:
        unbounded = [("grpc.max_receive_message_length", -1)]
        self.channel = grpc.insecure_channel(address, unbounded)
        self.stub = GRPCInferenceServiceStub(self.channel)
        self.repository = ModelRepositoryServiceStub(self.channel)

    def infer(self, request: pb.ModelInferRequest, **kwargs: Any) -> pb.ModelInferResponse:
        return self.stub.ModelInfer(request, timeout=10, **kwargs)

    def trailers(self, request: pb.ModelInferRequest) -> dict[str, str]:
        _, call = self.stub.ModelInfer.with_call(request, timeout=10)
        return {each.key: each.value for each in call.trailing_metadata()}

    def stream(self, *requests_: pb.ModelInferRequest) -> list[pb.ModelInferResponse]:
        return list(self.stub.ModelStreamInfer(iter(requests_), timeout=10))


@contextmanager
def connected(server: ServerProcess) -> Iterator[Client]:
    client = Client(server.grpc_address)
    with client.channel:
        yield client


def typed(
    rows: Any = BOTH,
    datatype: str = "FP32",
    field: str = "fp32_contents",
    model: str = "iris",
    name: str = "features",
    **fields: Any,
) -> pb.ModelInferRequest:
    values = np.asarray(rows)
    request = pb.ModelInferRequest(model_name=model, **fields)
    tensor = request.inputs.add(name=name, datatype=datatype, shape=values.shape)
    getattr(tensor.contents, field).extend(values.ravel().tolist())
    return request


def raw(
    rows: Any = BOTH,
    datatype: str = "FP32",
    dtype: str = "<f4",
    model: str = "iris",
    name: str = "features",
    **fields: Any,
) -> pb.ModelInferRequest:
    values = np.asarray(rows, dtype)
    request = pb.ModelInferRequest(model_name=model, **fields)
    request.inputs.add(name=name, datatype=datatype, shape=values.shape)
    request.raw_input_contents.append(values.tobytes())
    return request


def write_other(folder: Path, name: str, implementation: str) -> None:
    folder.mkdir(parents=True)
    settings = {"name": name, "implementation": implementation, "parameters": {"version": "7"}}
    (folder / MODEL_SETTINGS).write_bytes(to_json(settings))


def write_diabetes(folder: Path) -> Path:
    files = skops_files(fit(Ridge()), classes=None)
    files = change_json(files, METADATA, model="diabetes")
    return write_version(folder, change_json(files, MODEL_SETTINGS, name="diabetes"))


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "other_models.py").write_text(OTHER_MODELS)
    return str(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, modules: str) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("models")
    write_version(folder / "iris" / "v1")
    write_version(folder / "iris" / "v2", version_files("v2"))
    write_version(folder / "digits" / "v1", digits_files())
    write_diabetes(folder / "diabetes" / "v1")
    write_other(folder / "echo", "echo", "other_models.Echo")
    logs = tmp_path_factory.mktemp("logs") / "ours"
    no_workers = {"MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_DEBUG": "false"}
    with running(OURS, folder, logs, PYTHONPATH=modules, **no_workers) as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with connected(server) as opened:
        yield opened


# What is answered.


def test_a_typed_request_gets_a_typed_answer(client: Client) -> None:
    response = client.infer(typed(id="r-1", model_version="v1"))
    label, index, probability = response.outputs
    assert (response.model_name, response.model_version, response.id) == ("iris", "v1", "r-1")
    assert response.parameters["feedback_token"].string_param
    assert response.parameters["service_version"].string_param == __version__
    assert list(label.contents.bytes_contents) == [b"setosa", b"virginica"]
    assert list(index.contents.int64_contents) == [0, 2]
    assert sum(probability.contents.fp32_contents) == pytest.approx(2, abs=1e-5)
    assert [list(each.shape) for each in response.outputs] == [[2, 1], [2, 1], [2, 3]]
    assert not response.raw_output_contents


def test_a_raw_request_gets_a_raw_answer_of_the_same_numbers(client: Client) -> None:
    as_typed, as_raw = client.infer(typed()), client.infer(raw())
    label, index, probability = as_raw.raw_output_contents
    assert label == b"\6\0\0\0setosa\11\0\0\0virginica"
    assert np.frombuffer(index, "<i8").tolist() == [0, 2]
    numbers = as_typed.outputs[2].contents.fp32_contents
    assert np.frombuffer(probability, "<f4").tolist() == list(numbers)
    assert not any(output.HasField("contents") for output in as_raw.outputs)


def test_the_numbers_are_those_of_rest(client: Client, server: ServerProcess) -> None:
    tensor = {"name": "features", "datatype": "FP32", "shape": [2, 4], "data": BOTH.tolist()}
    in_json = server.infer(inputs=[tensor]).json()["outputs"][2]["data"]
    numbers = client.infer(typed()).outputs[2].contents.fp32_contents
    assert np.array(in_json, np.float32).tolist() == list(numbers)


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("INT8", "int_contents"),
        ("INT16", "int_contents"),
        ("INT32", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT8", "uint_contents"),
        ("UINT16", "uint_contents"),
        ("UINT32", "uint_contents"),
        ("UINT64", "uint64_contents"),
        ("FP64", "fp64_contents"),
    ],
)
def test_a_number_is_the_same_in_each_datatype(client: Client, datatype: str, field: str) -> None:
    expected = client.infer(typed(WHOLE)).outputs[2]
    kind = {"F": "f", "I": "i", "U": "u"}[datatype[0]]
    dtype = f"<{kind}{int(datatype.strip('UINTFP')) // 8}"
    assert client.infer(typed(WHOLE, datatype, field)).outputs[2] == expected
    answer = client.infer(raw(WHOLE, datatype, dtype)).raw_output_contents[2]
    assert np.frombuffer(answer, "<f4").tolist() == list(expected.contents.fp32_contents)


def test_half_precision_is_read_raw(client: Client) -> None:
    half, full = client.infer(raw(WHOLE, "FP16", "<f2")), client.infer(raw(WHOLE))
    assert half.raw_output_contents == full.raw_output_contents


def test_columns_may_be_inputs_of_their_own(client: Client) -> None:
    request = pb.ModelInferRequest(model_name="iris")
    for index, name in enumerate(("sepal_length", "sepal_width", "petal_length", "petal_width")):
        tensor = request.inputs.add(name=name, datatype="FP32", shape=[2])
        tensor.contents.fp32_contents.extend(BOTH[:, index].tolist())
    assert client.infer(request).outputs == client.infer(typed()).outputs


def test_only_the_outputs_asked_for_are_sent(client: Client) -> None:
    request = typed()
    for name in ("probability", "label", "probability"):
        request.outputs.add(name=name)
    assert [output.name for output in client.infer(request).outputs] == ["probability", "label"]


def test_a_version_may_be_named(client: Client) -> None:
    versions = [client.infer(typed(model_version=each)).model_version for each in ("v1", "v2", "")]
    assert versions == ["v1", "v2", "v2"]


def test_trailing_metadata_says_who_answered_what(client: Client) -> None:
    assert client.trailers(typed(id="r-1", model_version="v1")) == {
        "x-model-version": "v1",
        "x-service-version": __version__,
        "x-request-id": "r-1",
        "ce-id": "r-1",
        "ce-requestid": "r-1",
        "ce-specversion": "0.3",
        "ce-source": "io.seldon.serving.deployment.mlserver",
        "ce-type": "io.seldon.serving.inference.response",
        "ce-modelid": "iris",
        "ce-inferenceservicename": "mlserver",
        "ce-endpoint": "iris",
    }


def test_a_request_without_an_id_is_given_one(client: Client) -> None:
    first, second = client.infer(typed()), client.infer(typed())
    assert first.id
    assert first.id != second.id
    assert client.trailers(typed())["x-request-id"]


def test_metadata_names_columns_and_classes(client: Client) -> None:
    metadata = client.stub.ModelMetadata(pb.ModelMetadataRequest(name="iris"), timeout=10)
    [features] = metadata.inputs
    assert features.parameters["content_type"].string_param == "np"
    assert features.parameters["columns"].string_param.startswith('["sepal_length","sepal_width"')
    classes = '["setosa","versicolor","virginica"]'
    assert metadata.outputs[2].parameters["classes"].string_param == classes
    assert client.infer(typed()).outputs[2].parameters["classes"].string_param == classes


def test_a_regressor_answers(client: Client) -> None:
    rows = diabetes()[0][:3]
    as_typed = client.infer(typed(rows, model="diabetes")).outputs[0]
    [as_raw] = client.infer(raw(rows, model="diabetes")).raw_output_contents
    assert (as_typed.name, as_typed.datatype, list(as_typed.shape)) == (
        "prediction",
        "FP32",
        [3, 1],
    )
    assert np.frombuffer(as_raw, "<f4").tolist() == list(as_typed.contents.fp32_contents)


def test_pictures_are_sent_as_their_bytes(client: Client) -> None:
    files = [save(pixels.reshape(8, 8)) for pixels in to_grey(train_digits()[1][:2])]
    as_typed = pb.ModelInferRequest(model_name="digits")
    tensor = as_typed.inputs.add(name="image", datatype="BYTES", shape=[2, 1])
    tensor.contents.bytes_contents.extend(files)
    as_raw = pb.ModelInferRequest(model_name="digits")
    as_raw.inputs.add(name="image", datatype="BYTES", shape=[2])
    packed = [len(each).to_bytes(4, "little") + each for each in files]
    as_raw.raw_input_contents.append(b"".join(packed))
    top = client.infer(as_typed).outputs[3]
    assert (top.name, list(top.shape), len(top.contents.bytes_contents)) == (
        "top_label",
        [2, 5],
        10,
    )
    indices = client.infer(as_raw).raw_output_contents[1]
    assert np.frombuffer(indices, "<i8").shape == (2,)


def test_a_compressed_request_is_answered(client: Client) -> None:
    request = typed(np.tile(BOTH, (500, 1)))
    assert len(client.infer(request, compression=grpc.Compression.Gzip).outputs[0].shape) == 2


def test_a_triton_client_gets_its_answers(server: ServerProcess) -> None:
    """Nobody here wrote it; it sends raw values."""
    script = Path(__file__).with_name("triton_grpc.py")
    command = [sys.executable, str(script), server.grpc_address]
    said = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert json.loads(said) == {
        "live": True,
        "ready": True,
        "server": "mlserver",
        "inputs": ["features"],
        "index": ["READY"],
        "id": "t-1",
        "version": "v1",
        "label": ["setosa", "virginica"],
        "class_index": [0, 2],
        "probability": [2, 3],
        "chosen": ["probability"],
        "sum": pytest.approx(2, abs=1e-5),
    }


# Streams.


def test_each_answer_of_a_stream_has_the_id_of_its_request(client: Client) -> None:
    answers = client.stream(typed(id="a"), raw(id="b", model_version="v1"), typed(id="c"))
    assert [each.id for each in answers] == ["a", "b", "c"]
    assert [each.model_version for each in answers] == ["v2", "v1", "v2"]
    assert [bool(each.raw_output_contents) for each in answers] == [False, True, False]


def test_a_stream_ends_at_the_first_fault(client: Client) -> None:
    bad = typed(id="b")
    bad.outputs.add(name="nope")
    stream = client.stub.ModelStreamInfer(iter([typed(id="a"), bad, typed(id="c")]), timeout=10)
    assert next(stream).id == "a"
    with pytest.raises(grpc.RpcError, match="output 'nope' is not known") as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# Models that are none of our runtimes.


@pytest.mark.parametrize(
    ("datatype", "field", "dtype"),
    [
        ("FP32", "fp32_contents", "<f4"),
        ("FP64", "fp64_contents", "<f8"),
        ("INT8", "int_contents", "<i1"),
        ("INT64", "int64_contents", "<i8"),
        ("UINT16", "uint_contents", "<u2"),
        ("BOOL", "bool_contents", "?"),
    ],
)
def test_another_model_is_asked_and_answers_in_the_same_form(
    client: Client, datatype: str, field: str, dtype: str
) -> None:
    rows = np.array([[0, 1], [1, 0]], dtype)
    as_typed = client.infer(typed(rows, datatype, field, model="echo", id="r-1"))
    as_raw = client.infer(raw(rows, datatype, dtype, model="echo"))
    assert (as_typed.model_name, as_typed.model_version, as_typed.id) == ("echo", "7", "r-1")
    assert list(getattr(as_typed.outputs[0].contents, field)) == rows.ravel().tolist()
    assert list(as_raw.raw_output_contents) == [rows.tobytes()]
    assert client.trailers(typed(rows, datatype, field, model="echo"))["ce-modelid"] == "echo"


def test_another_model_is_sent_strings(client: Client) -> None:
    request = pb.ModelInferRequest(model_name="echo")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[2])
    tensor.contents.bytes_contents.extend([b"a", b"\xff"])
    assert list(client.infer(request).outputs[0].contents.bytes_contents) == [b"a", b"\xff"]


def test_a_stream_of_another_model_is_its_own(client: Client) -> None:
    answers = client.stream(typed(model="echo", id="a"), typed(model="echo", name="second"))
    assert [each.outputs[0].name for each in answers] == ["features", "second"]


def test_a_stream_may_go_on_with_another_model(client: Client) -> None:
    answers = client.stream(typed(id="a"), typed(model="echo", id="b"), typed(id="c"))
    said = [(each.model_name, each.id) for each in answers]
    assert said == [("iris", "a"), ("echo", "b"), ("iris", "c")]


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (typed(model="echo", name="refuse"), "FAILED_PRECONDITION", "this is refused"),
        (typed(model="echo", name="fail"), "INTERNAL", "internal error; the server's log"),
        (typed(model="echo", datatype="FP64"), "INVALID_ARGUMENT", "expected them in fp64_"),
        (typed(model="echo", datatype="X"), "INVALID_ARGUMENT", "has datatype 'X'"),
        (typed(model="echo", name=""), "INVALID_ARGUMENT", "has no name"),
        (typed(model="echo", id="a\nb"), "INVALID_ARGUMENT", "request id"),
        (typed(model="echo", model_version="9"), "NOT_FOUND", "version '9' .* expected 7"),
        (raw(model="echo", datatype="FP64"), "INVALID_ARGUMENT", "'features' has shape"),
        (raw([1, 2, 3], model="echo", datatype="FP64"), "INVALID_ARGUMENT", "12 bytes"),
    ],
)
def test_another_model_is_not_asked_what_cannot_be_answered(
    client: Client, request_: pb.ModelInferRequest, code: str, words: str
) -> None:
    for ask in (client.infer, client.stream):
        with pytest.raises(grpc.RpcError, match=words) as caught:
            ask(request_)
        assert caught.value.code().name == code
        assert "secret" not in caught.value.details()


# What is logged and counted.


def test_only_our_own_faults_are_errors_in_the_log(tmp_path: Path, modules: str) -> None:
    write_version(tmp_path / "models" / "iris")
    write_other(tmp_path / "models" / "echo", "echo", "other_models.Echo")
    no_workers = {"MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_DEBUG": "false"}
    with running(
        OURS, tmp_path / "models", tmp_path / "logs", PYTHONPATH=modules, **no_workers
    ) as server:
        server.wait_until_ready()
        with connected(server) as client:
            for request in (typed([[1.0]]), typed(model="nope"), typed(model="echo", id="a\nb")):
                with pytest.raises(grpc.RpcError):
                    client.infer(request)
            assert "Traceback" not in server.stderr
            with pytest.raises(grpc.RpcError, match="internal error"):
                client.infer(typed(model="echo", name="fail"))
        server.terminate()
        assert server.stderr.count("Traceback") == 1
        assert "a secret" in server.stderr


def test_calls_are_counted_in_mlservers_metrics(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1")
    with running(OURS, folder, tmp_path / "logs") as server, connected(server) as client:
        server.wait_until_ready()
        client.infer(typed())
        client.stream(typed(), typed())
        for request in (typed([[1.0]]), typed(model="made-up")):
            with pytest.raises(grpc.RpcError):
                client.infer(request)
        lines = requests.get(server.metrics_url, timeout=10).text.splitlines()
        service = 'grpc_service="inference.GRPCInferenceService"'
        unary = f'grpc_method="ModelInfer",{service},grpc_type="UNARY"'
        stream = f'grpc_method="ModelStreamInfer",{service},grpc_type="BIDI_STREAMING"'
        assert {
            f"grpc_server_started_total{{{unary}}} 3.0",
            f'grpc_server_handled_total{{grpc_code="OK",{unary}}} 1.0',
            f'grpc_server_handled_total{{grpc_code="INVALID_ARGUMENT",{unary}}} 1.0',
            f'grpc_server_handled_total{{grpc_code="NOT_FOUND",{unary}}} 1.0',
            f"grpc_server_handling_seconds_count{{{unary}}} 3.0",
            f"grpc_server_msg_received_total{{{stream}}} 2.0",
            f"grpc_server_msg_sent_total{{{stream}}} 2.0",
            'model_infer_request_success_total{model="iris",version="v1"} 3.0',
            'model_infer_request_failure_total{model="iris",version="v1"} 1.0',
            'abserve_requests_total{model="iris",outcome="ok",version="v1"} 3.0',
        } <= set(lines)
        assert "made-up" not in "".join(lines)


# When it is not ready, and what is closed.


def test_a_model_that_is_loading_is_unavailable(tmp_path: Path, modules: str) -> None:
    files = change_json(version_files(), MODEL_SETTINGS, implementation="other_models.Slow")
    folder = write_version(tmp_path / "v1", files)
    with (
        running(OURS, folder, tmp_path / "logs", PYTHONPATH=modules) as server,
        connected(server) as client,
    ):
        is_ready = client.stub.ModelReady
        asked = pb.ModelReadyRequest(name="iris")
        assert not is_ready(asked, timeout=30, wait_for_ready=True).ready
        assert not client.stub.ServerReady(pb.ServerReadyRequest(), timeout=10).ready
        assert client.stub.ServerLive(pb.ServerLiveRequest(), timeout=10).live
        with pytest.raises(grpc.RpcError, match="Try again shortly") as caught:
            client.infer(typed())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        (tmp_path / "logs" / "go").touch()
        server.wait_until_ready()
        assert is_ready(asked, timeout=10).ready
        assert client.infer(typed()).model_version == "v1"


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_loading_is_closed(client: Client, method: str) -> None:
    for stub, messages in ((client.stub, pb), (client.repository, repository_pb)):
        request = getattr(messages, f"{method}Request")(model_name="echo")
        with pytest.raises(grpc.RpcError, match="ABSERVE_REPOSITORY_API=true") as caught:
            getattr(stub, method)(request, timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert client.infer(typed(model="echo")).model_name == "echo"


def test_loading_may_be_opened(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1")
    with running(OURS, folder, tmp_path / "logs", ABSERVE_REPOSITORY_API="true") as server:
        server.wait_until_ready()
        with connected(server) as client:
            services = ((client.stub, pb), (client.repository, repository_pb))
            for stub, messages in services:
                stub.RepositoryModelUnload(
                    messages.RepositoryModelUnloadRequest(model_name="iris"), timeout=10
                )
                assert not client.stub.ServerReady(pb.ServerReadyRequest(), timeout=10).ready
                [listed] = stub.RepositoryIndex(messages.RepositoryIndexRequest()).models
                assert (listed.name, listed.state) == ("iris", "UNAVAILABLE")
                stub.RepositoryModelLoad(
                    messages.RepositoryModelLoadRequest(model_name="iris"), timeout=10
                )
                assert client.stub.ServerReady(pb.ServerReadyRequest(), timeout=10).ready
                assert client.infer(typed()).model_version == "v1"
                with pytest.raises(grpc.RpcError) as caught:
                    stub.RepositoryModelLoad(
                        messages.RepositoryModelLoadRequest(model_name="nope"), timeout=10
                    )
                assert caught.value.code() is grpc.StatusCode.NOT_FOUND


# How much is read.


def padded(size_bytes: int) -> pb.ModelInferRequest:
    request = typed()
    request.parameters["padding"].string_param = "x" * size_bytes
    return request


def test_messages_are_read_up_to_the_limit_of_bodies(client: Client) -> None:
    assert client.infer(padded(15 * MIB)).model_name == "iris"
    for compression in (None, grpc.Compression.Gzip):
        with pytest.raises(grpc.RpcError, match="larger than max") as caught:
            client.infer(padded(17 * MIB), compression=compression)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.infer(typed()).model_name == "iris"


def test_the_limit_may_be_set(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1")
    with (
        running(OURS, folder, tmp_path / "logs", ABSERVE_MAX_BODY_BYTES="10000") as server,
        connected(server) as client,
    ):
        server.wait_until_ready()
        assert client.infer(padded(9_000)).model_name == "iris"
        with pytest.raises(grpc.RpcError, match="larger than max"):
            client.infer(padded(10_000))


def test_mlservers_own_setting_of_the_limit_is_kept(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1", version_files(grpc_max_message_length=10_000))
    with running(OURS, folder, tmp_path / "logs") as server, connected(server) as client:
        server.wait_until_ready()
        with pytest.raises(grpc.RpcError, match="larger than max"):
            client.infer(padded(10_000))


def test_two_servers_do_not_share_a_port(
    server: ServerProcess, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write_version(tmp_path_factory.mktemp("iris") / "v1")
    port = server.grpc_address.rpartition(":")[2]
    last = fail_to_start(folder, tmp_path / "logs", MLSERVER_GRPC_PORT=port)[-1]
    assert f"port {port} on 127.0.0.1 cannot be listened on" in last
