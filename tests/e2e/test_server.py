"""The server as a process, driven by clients that know nothing of us."""

import gzip
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import requests
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from abserve import __version__
from abserve.artifacts import MODEL_ONNX, MODEL_SETTINGS, SETTINGS, seal
from abserve.signatures import signed
from tests.abserve.test_signatures import KeyPair
from tests.runtimes.server_process import (
    OURS,
    REQUEST,
    STOCK,
    ServerProcess,
    fail_to_start,
    running,
    wait_until_refused,
)
from tests.runtimes.versions import (
    CLASSES,
    SETOSA,
    VIRGINICA,
    change_json,
    version_files,
    write_version,
)

pytestmark = pytest.mark.e2e

# A folder of several versions has no settings.json of its own.
WITHOUT_WORKERS = {"MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_DEBUG": "false"}

WITH_LOADING = {"ABSERVE_REPOSITORY_API": "true"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_version(tmp_path_factory.mktemp("iris") / "v1")


@pytest.fixture(scope="module", params=[OURS, STOCK], ids=["ours", "stock"])
def any_server(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    with running(request.param, folder, tmp_path_factory.mktemp("any") / "logs") as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running(OURS, folder, tmp_path_factory.mktemp("ours") / "logs") as started:
        started.wait_until_ready()
        yield started


# What both servers do with a version's folder.


def test_an_inference_names_its_version(any_server: ServerProcess) -> None:
    response = any_server.infer()
    answer = response.json()
    parameters = answer.pop("parameters")
    token = parameters.pop("feedback_token")
    probability = answer["outputs"][2].pop("data")
    assert parameters == {"service_version": __version__}
    assert response.status_code == 200
    assert re.fullmatch("[A-Za-z0-9_-]+", token)
    assert sum(probability) == pytest.approx(1, abs=1e-5)
    assert answer == {
        "model_name": "iris",
        "model_version": "v1",
        "id": "r-1",
        "outputs": [
            {"name": "label", "shape": [1, 1], "datatype": "BYTES", "data": ["setosa"]},
            {"name": "class_index", "shape": [1, 1], "datatype": "INT64", "data": [0]},
            {
                "name": "probability",
                "shape": [1, 3],
                "datatype": "FP32",
                "parameters": {"classes": CLASSES},
            },
        ],
    }
    assert response.headers["x-model-version"] == "v1"
    assert response.headers["x-service-version"] == __version__
    assert response.headers["x-request-id"] == "r-1"


def test_a_request_without_an_id_is_given_one(any_server: ServerProcess) -> None:
    response = any_server.post("/v2/models/iris/infer", {"inputs": REQUEST["inputs"]})
    assert response.json()["id"] == response.headers["x-request-id"]


def test_a_triton_client_gets_its_answer(any_server: ServerProcess) -> None:
    client = InferenceServerClient(any_server.url.removeprefix("http://"))
    tensor = InferInput("features", [2, 4], "FP32")
    tensor.set_data_from_numpy(np.array([SETOSA, VIRGINICA], np.float32), binary_data=False)
    wanted = [InferRequestedOutput(name, binary_data=False) for name in ("label", "probability")]
    result = client.infer("iris", [tensor], outputs=wanted, request_id="t-1")
    assert client.is_server_ready()
    assert client.is_model_ready("iris", "v1")
    assert result.get_response()["model_version"] == "v1"
    assert result.as_numpy("probability").argmax(axis=1).tolist() == [0, 2]
    assert result.as_numpy("label").ravel().tolist() == ["setosa", "virginica"]
    client.close()


def test_a_grpc_client_gets_its_answer(any_server: ServerProcess) -> None:
    response = any_server.infer_grpc()
    assert response.id
    assert response.model_version == "v1"
    assert response.parameters["feedback_token"].string_param
    assert list(response.outputs[0].contents.bytes_contents) == [b"setosa"]


def test_a_grpc_client_is_told_what_is_wrong(any_server: ServerProcess) -> None:
    with pytest.raises(grpc.RpcError, match=r"input .features. has datatype") as caught:
        any_server.infer_grpc(datatype="BYTES")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_metadata_names_the_tensors(any_server: ServerProcess) -> None:
    answer = requests.get(f"{any_server.url}/v2/models/iris", timeout=10).json()
    assert [tensor["name"] for tensor in answer["inputs"]] == ["features"]
    assert [tensor["name"] for tensor in answer["outputs"]] == [
        "label",
        "class_index",
        "probability",
    ]


def test_bad_input_is_refused_with_its_reason(any_server: ServerProcess) -> None:
    tensor = {**REQUEST["inputs"][0], "data": [5.1, "3.5", 1.4, 0.2]}
    response = any_server.infer(inputs=[tensor])
    assert response.status_code == 400
    assert response.json() == {
        "error": "input 'features' holds a string in row 0 (from 0), column 'sepal_width'; "
        "expected a number"
    }


def test_too_many_rows_are_refused(any_server: ServerProcess) -> None:
    tensor = {**REQUEST["inputs"][0], "shape": [10_001, 4], "data": SETOSA * 10_001}
    response = any_server.infer(inputs=[tensor])
    assert response.status_code == 413
    assert "at most 10000" in response.json()["error"]


def test_feedback_is_counted_once(any_server: ServerProcess) -> None:
    token = any_server.infer(id="f-1").json()["parameters"]["feedback_token"]
    body = {"id": "f-1", "feedback_token": token, "ground_truth": "setosa"}
    first = any_server.post("/v2/models/iris/feedback", body)
    again = any_server.post("/v2/models/iris/feedback", body)
    expected = {"model_name": "iris", "model_version": "v1", "id": "f-1"}
    assert first.status_code == again.status_code == 200
    assert first.json() == {**expected, "counted": 1, "correct": 1}
    assert again.json() == {**expected, "counted": 0, "correct": 0}


def test_forged_feedback_is_refused(any_server: ServerProcess) -> None:
    body = {"feedback_token": "A" * 200, "ground_truth": "setosa"}
    response = any_server.post("/v2/models/iris/feedback", body)
    assert response.status_code == 400
    assert "feedback token" in response.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"5", b"\xff", b'{"id": 5}'])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_malformed_feedback_is_the_clients_fault(
    any_server: ServerProcess, body: bytes, content_type: str
) -> None:
    response = any_server.send_raw("/v2/models/iris/feedback", body, content_type)
    assert 400 <= response.status_code < 500


def test_metrics_name_model_and_version(any_server: ServerProcess) -> None:
    any_server.infer()
    text = requests.get(any_server.metrics_url, timeout=10).text
    assert re.search(
        r'^abserve_predictions_total\{label="setosa",model="iris",version="v1"\} [1-9]',
        text,
        re.MULTILINE,
    )
    assert re.search(
        r'^abserve_requests_total\{model="iris",outcome="ok",version="v1"\} [1-9]',
        text,
        re.MULTILINE,
    )
    assert re.search(
        r'^abserve_inference_seconds_count\{model="iris",version="v1"\} [1-9]', text, re.MULTILINE
    )
    assert 'abserve_model_info{git_commit="0123abc",model="iris"' in text


# What only our server does.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"inputs": 5}',
        b'{"inputs": [{}]}',
        b'{"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [NaN]}]}',
        b'{"id": 5, "inputs": []}',
        b'{"id": "a\\r\\nb: c", "inputs": []}',
        b'{"id": "\\u2603", "inputs": []}',
        b'{"inputs": [{"name": "features", "datatype": "X", "shape": [1, 4], "data": [1]}]}',
        b'{"inputs": [{"name": "features", "datatype": "FP32", "shape": [1e30], "data": [1]}]}',
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_malformed_request_is_answered_in_the_protocols_shape(
    server: ServerProcess, body: bytes, content_type: str
) -> None:
    response = server.send_raw("/v2/models/iris/infer", body, content_type)
    assert response.status_code == (400 if content_type == "application/json" else 415)
    assert list(response.json()) == ["error"]


def test_a_malformed_request_is_not_sent_back(server: ServerProcess) -> None:
    response = server.post("/v2/models/iris/infer", {"inputs": ["secret" * 100_000] * 10})
    assert response.status_code == 400
    assert "secret" not in response.text
    assert len(response.content) < 1000


def test_a_damaged_gzip_body_is_the_clients_fault(server: ServerProcess) -> None:
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    response = requests.post(
        f"{server.url}/v2/models/iris/infer", data=b"no gzip", headers=headers, timeout=10
    )
    assert response.status_code == 400
    assert list(response.json()) == ["error"]


def test_an_unknown_path_is_answered_in_the_protocols_shape(server: ServerProcess) -> None:
    response = requests.get(f"{server.url}/nope", timeout=10)
    assert response.status_code == 404
    assert list(response.json()) == ["error"]


def test_a_wrong_method_is_answered_with_the_right_one(server: ServerProcess) -> None:
    response = requests.get(f"{server.url}/v2/models/iris/infer", timeout=10)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json() == {"error": "GET is not allowed at this path; expected POST"}


def test_made_up_models_make_no_time_series(server: ServerProcess) -> None:
    for i in range(5):
        assert server.post(f"/v2/models/made-up-{i}/infer", REQUEST).status_code == 404
    assert server.infer().status_code == 200
    text = requests.get(server.metrics_url, timeout=10).text
    assert "made-up" not in text
    assert 'model_infer_request_success_total{model="iris",version="v1"}' in text


def test_the_server_keeps_a_connection_longer_than_the_gateway(server: ServerProcess) -> None:
    """The gateway closes after 60 s; uvicorn alone would after 5."""
    with socket.create_connection(("127.0.0.1", server.http_port)) as connection:
        get = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"
        connection.sendall(get)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.settimeout(6)
        with pytest.raises(TimeoutError):
            connection.recv(1000)
        connection.sendall(get)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_the_server_is_ready_only_with_its_model(folder: Path, tmp_path: Path) -> None:
    with running(OURS, folder, tmp_path / "logs", **WITH_LOADING) as server:
        assert server.wait_until_ready() <= {None, 503, 200}
        assert server.status("/v2/models/iris/ready") == 200
        assert server.post("/v2/repository/models/iris/unload", {}).status_code == 200
        assert server.status("/v2/health/ready") == 503
        assert server.status("/v2/health/live") == 200
        assert server.post("/v2/repository/models/iris/load", {}).status_code == 200
        assert server.status("/v2/health/ready") == 200
        assert server.infer().json()["model_version"] == "v1"


def test_a_version_is_reloaded_and_keeps_its_counts(folder: Path, tmp_path: Path) -> None:
    with running(OURS, folder, tmp_path / "logs", **WITH_LOADING) as server:
        server.wait_until_ready()
        token = server.infer().json()["parameters"]["feedback_token"]
        body = {"feedback_token": token, "ground_truth": "setosa"}
        assert server.post("/v2/models/iris/feedback", body).json()["counted"] == 1
        assert server.post("/v2/repository/models/iris/load", {}).status_code == 200
        assert server.post("/v2/models/iris/feedback", body).json()["counted"] == 0


def test_two_versions_are_served_from_one_folder(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        write_version(tmp_path / "iris" / version, version_files(version))
    with running(OURS, tmp_path / "iris", tmp_path / "logs", **WITHOUT_WORKERS) as server:
        server.wait_until_ready()
        for version in ("v1", "v2"):
            answer = server.post(f"/v2/models/iris/versions/{version}/infer", REQUEST).json()
            token = answer["parameters"]["feedback_token"]
            body = {"feedback_token": token, "ground_truth": "setosa"}
            counted = server.post("/v2/models/iris/feedback", body).json()
            assert (answer["model_version"], counted["model_version"]) == (version, version)


def test_feedback_to_another_version_counts_for_the_one_that_predicted(tmp_path: Path) -> None:
    v1 = write_version(tmp_path / "v1", version_files("v1"))
    v2 = write_version(tmp_path / "v2", version_files("v2", classes=["a", "b", "c"]))
    with (
        running(OURS, v1, tmp_path / "logs1") as first,
        running(OURS, v2, tmp_path / "logs2") as second,
    ):
        first.wait_until_ready()
        second.wait_until_ready()
        token = first.infer().json()["parameters"]["feedback_token"]
        body = {"feedback_token": token, "ground_truth": "setosa"}
        assert second.post("/v2/models/iris/feedback", body).json()["model_version"] == "v1"
        text = requests.get(second.metrics_url, timeout=10).text
        assert 'abserve_feedback_total{model="iris",outcome="correct",version="v1"} 1.0' in text


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"parallel_workers": 1}, "parallel_workers is 1; expected 0"),
        ({"debug": True}, "debug is true; expected false"),
        ({"cache_enabled": True}, "cache_enabled is true; expected false"),
    ],
)
def test_settings_that_are_unsafe_are_refused(
    tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    folder = write_version(tmp_path / "v1", version_files(**settings))
    assert reason in fail_to_start(folder, tmp_path / "logs")[-1]


def test_settings_that_are_left_out_are_safe(tmp_path: Path) -> None:
    files = version_files()
    del files[SETTINGS]
    with running(OURS, write_version(tmp_path / "v1", files), tmp_path / "logs") as server:
        server.wait_until_ready()
        assert server.infer().status_code == 200
        children = psutil.Process(server.process.pid).children()
        assert children == []


def test_gathering_requests_is_refused(tmp_path: Path) -> None:
    files = change_json(version_files(), MODEL_SETTINGS, max_batch_size=8, max_batch_time=0.01)
    folder = write_version(tmp_path / "v1", files)
    assert "max_batch_size 8; expected none" in fail_to_start(folder, tmp_path / "logs")[-1]


def test_the_folder_may_come_from_the_environment(folder: Path, tmp_path: Path) -> None:
    with running(OURS, None, tmp_path / "logs", MLSERVER_MODELS_DIR=str(folder)) as server:
        assert 200 in server.wait_until_ready()


# How it ends.


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_in_flight_finish(
    folder: Path, tmp_path: Path, sig: signal.Signals
) -> None:
    body = json.dumps(REQUEST).encode()
    with running(OURS, folder, tmp_path / "logs", ABSERVE_DRAIN_SECONDS="0") as server:
        server.wait_until_ready()
        with socket.create_connection(("127.0.0.1", server.http_port), timeout=10) as connection:
            connection.sendall(
                b"POST /v2/models/iris/infer HTTP/1.1\r\nhost: a\r\ncontent-type: application/json"
                b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:20]
            )
            # A later request is answered, so the earlier one has arrived as well.
            server.infer()
            server.process.send_signal(sig)
            wait_until_refused(server.http_port)
            connection.sendall(body[20:])
            answer = connection.recv(100_000)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b'"model_version":"v1"' in answer
        assert server.process.wait(timeout=15) == 0
        assert "Traceback" not in server.stdout + server.stderr


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    lines = fail_to_start(tmp_path / "nope", tmp_path / "logs")
    assert len(lines) == 1
    assert "nope is no folder" in lines[0]


def test_a_folder_without_models_is_named(tmp_path: Path) -> None:
    lines = fail_to_start(tmp_path, tmp_path / "logs")
    assert len(lines) == 1
    assert f"{tmp_path} holds no model-settings.json" in lines[0]


@pytest.mark.parametrize("text", ["{", "[]", "5", "null", '{"name": 5}', '{"name": "x"}', "\x00"])
def test_settings_that_are_no_settings_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / MODEL_SETTINGS).write_text(text)
    assert MODEL_SETTINGS in fail_to_start(tmp_path, tmp_path / "logs")[-1]


def test_an_altered_version_is_the_last_thing_said(tmp_path: Path) -> None:
    version = write_version(tmp_path / "v1")
    (version / MODEL_ONNX).write_bytes(b"altered")
    last = fail_to_start(version, tmp_path / "logs")[-1]
    assert last.startswith("abserve: iris v1 cannot be loaded: ")
    assert "model.onnx has SHA-256" in last


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return KeyPair(tmp_path_factory.mktemp("keys"))


def test_a_signed_version_is_served_where_a_key_is_configured(
    tmp_path: Path, keys: KeyPair
) -> None:
    files = signed(seal(version_files()), keys.private)
    folder = tmp_path / "v1"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with running(OURS, folder, tmp_path / "logs", ABSERVE_PUBLIC_KEY=str(keys.public)) as server:
        server.wait_until_ready()
        assert server.infer().status_code == 200
    (folder / MODEL_ONNX).write_bytes(b"altered")
    last = fail_to_start(folder, tmp_path / "again", ABSERVE_PUBLIC_KEY=str(keys.public))[-1]
    assert "model.onnx" in last


def test_a_version_without_a_signature_is_refused_where_a_key_is_configured(
    folder: Path, tmp_path: Path, keys: KeyPair
) -> None:
    last = fail_to_start(folder, tmp_path / "logs", ABSERVE_PUBLIC_KEY=str(keys.public))[-1]
    assert "signature.json" in last


def test_a_weak_feedback_key_is_refused(folder: Path, tmp_path: Path) -> None:
    last = fail_to_start(folder, tmp_path / "logs", ABSERVE_FEEDBACK_KEY="weak")[-1]
    assert "has 4 bytes, expected at least 16" in last


def test_a_taken_port_is_named(folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for variable in ("MLSERVER_HTTP_PORT", "MLSERVER_GRPC_PORT", "MLSERVER_METRICS_PORT"):
            last = fail_to_start(folder, tmp_path / variable, **{variable: port})[-1]
            assert f"port {port} on 127.0.0.1 cannot be listened on" in last


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/models/iris/load"),
        ("POST", "/v2/repository/models/iris/unload"),
        ("GET", "/openapi.json"),
        ("GET", "/v2/docs"),
        ("GET", "/v2/docs/dataplane.json"),
        ("GET", "/v2/models/iris/docs"),
    ],
)
def test_what_need_not_be_open_is_closed(server: ServerProcess, method: str, path: str) -> None:
    response = requests.request(method, server.url + path, json={}, timeout=10)
    assert response.status_code == 404
    assert response.json()["error"]
    assert server.infer().status_code == 200


def test_the_index_of_models_stays(server: ServerProcess) -> None:
    index = server.post("/v2/repository/index", {})
    assert index.status_code == 200
    assert [each["name"] for each in index.json()] == ["iris"]


def test_gzip_is_answered_like_the_same_without(server: ServerProcess) -> None:
    packed = gzip.compress(json.dumps(REQUEST).encode())
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    url = f"{server.url}/v2/models/iris/infer"
    answer = requests.post(url, data=packed, headers=headers, timeout=10)
    assert answer.json()["outputs"] == server.infer().json()["outputs"]


def test_a_body_beyond_the_limit_is_refused_and_the_server_lives(server: ServerProcess) -> None:
    packed = gzip.compress(b" " * 100_000_000)
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    url = f"{server.url}/v2/models/iris/infer"
    bomb = requests.post(url, data=packed, headers=headers, timeout=10)
    assert bomb.status_code == 413
    assert "unpacks to more than" in bomb.json()["error"]
    large = requests.post(
        url, data=b" " * 20_000_000, headers={"content-type": "application/json"}, timeout=10
    )
    assert large.status_code == 413
    assert server.infer().status_code == 200


def test_a_limit_that_is_no_number_stops_the_start(folder: Path, tmp_path: Path) -> None:
    said = fail_to_start(folder, tmp_path / "logs", ABSERVE_MAX_BODY_BYTES="much")
    assert "ABSERVE_MAX_BODY_BYTES is 'much'" in said[-1]
