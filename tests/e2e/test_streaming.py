"""Streams over REST: refused like other requests, and ended with a reason."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from abserve.artifacts import MODEL_SETTINGS, SETTINGS, to_json
from tests.runtimes.server_process import OURS, REQUEST, ServerProcess, running
from tests.runtimes.versions import write_version

pytestmark = pytest.mark.e2e

# A runtime that answers with each value of its input, and does what some of them say.
ECHO = """
import asyncio
import logging

from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.types import InferenceResponse, Parameters

class Echo(MLModel):
    async def predict_stream(self, payloads):
        try:
            async for payload in payloads:
                for said in payload.inputs[0].data.root:
                    if said == "refuse":
                        raise MLServerError("this is refused", 422)
                    if said == "crash":
                        raise ValueError("nobody need know")
                    if said == "wait":
                        await asyncio.sleep(60)
                    while said == "go on":
                        yield InferenceResponse(model_name=self.name, outputs=[])
                    headers = {"x-said": said}
                    yield InferenceResponse(
                        model_name=self.name,
                        outputs=[],
                        parameters=Parameters(headers=headers, said=said),
                    )
        finally:
            logging.getLogger("echo").info("the stream is closed")
"""


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = write_version(tmp_path_factory.mktemp("iris") / "v1")
    with running(OURS, folder, tmp_path_factory.mktemp("iris-logs") / "logs") as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.py").write_text(ECHO)
    (folder / MODEL_SETTINGS).write_bytes(to_json({"name": "echo", "implementation": "echo.Echo"}))
    (folder / SETTINGS).write_bytes(to_json({"debug": False, "parallel_workers": 0}))
    with running(OURS, folder, tmp_path_factory.mktemp("echo-logs") / "logs") as server:
        server.wait_until_ready()
        yield server


def say(server: ServerProcess, *words: str, **kwargs: Any) -> requests.Response:
    tensor = {"name": "a", "datatype": "BYTES", "shape": [len(words)], "data": words}
    return server.post("/v2/models/echo/infer_stream", {"id": "r-1", "inputs": [tensor]}, **kwargs)


def events(response: requests.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    *parts, end = response.text.split("\n\n")
    assert end == ""
    assert all(part.startswith("data: ") for part in parts)
    return [json.loads(part.removeprefix("data: ")) for part in parts]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("version", ["", "/versions/v1"])
@pytest.mark.parametrize("verb", ["infer_stream", "generate_stream"])
def test_a_stream_answers_as_an_inference_does(
    iris: ServerProcess, version: str, verb: str
) -> None:
    response = iris.post(f"/v2/models/iris{version}/{verb}", REQUEST)
    inferred = iris.infer()
    [event], answer = events(response), inferred.json()
    # A token states when it was made.
    assert event["parameters"].pop("feedback_token")
    assert answer["parameters"].pop("feedback_token")
    assert event == answer
    for header in ("x-model-version", "x-request-id", "ce-id"):
        assert response.headers[header] == inferred.headers[header]


@pytest.mark.parametrize("version", ["", "/versions/v1"])
@pytest.mark.parametrize("verb", ["infer_stream", "generate_stream"])
def test_a_bad_request_is_refused_with_its_reason(
    iris: ServerProcess, version: str, verb: str
) -> None:
    tensor = {**REQUEST["inputs"][0], "datatype": "BYTES"}
    body = {**REQUEST, "inputs": [tensor]}
    response = iris.post(f"/v2/models/iris{version}/{verb}", body)
    assert response.status_code == 400
    assert "expected a numeric one" in response.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": 5}', b"\xff"])
def test_a_malformed_request_is_the_clients_fault(iris: ServerProcess, body: bytes) -> None:
    response = iris.send_raw("/v2/models/iris/infer_stream", body, "application/json")
    assert response.status_code == 400
    assert list(response.json()) == ["error"]


@pytest.mark.parametrize("path", ["rose/infer_stream", "iris/versions/v9/generate_stream"])
def test_an_unknown_model_is_named(iris: ServerProcess, path: str) -> None:
    response = iris.post(f"/v2/models/{path}", REQUEST)
    assert response.status_code == 404
    assert path.split("/", maxsplit=1)[0] in response.json()["error"]


def test_each_answer_is_an_event_and_headers_are_headers(echo: ServerProcess) -> None:
    response = say(echo, "a", "b", "c")
    assert response.status_code == 200
    assert [event["parameters"] for event in events(response)] == [
        {"said": "a"},
        {"said": "b"},
        {"said": "c"},
    ]
    assert response.headers["x-said"] == "a"
    assert "headers" not in response.text


def test_a_stream_of_nothing_is_empty(echo: ServerProcess) -> None:
    response = say(echo)
    assert (response.status_code, events(response)) == (200, [])


def test_an_error_instead_of_the_first_answer_is_the_answer(echo: ServerProcess) -> None:
    refused, broken = say(echo, "refuse"), say(echo, "crash")
    assert (refused.status_code, refused.json()) == (422, {"error": "this is refused"})
    assert broken.status_code == 500
    assert "the server's log has the reason" in broken.json()["error"]


def test_an_error_later_is_the_last_event(echo: ServerProcess) -> None:
    response = say(echo, "a", "refuse", "b")
    assert response.status_code == 200
    assert events(response)[1:] == [{"error": "this is refused"}]


def test_a_crash_later_is_an_event_that_keeps_its_reason_to_itself(echo: ServerProcess) -> None:
    *_, last = events(say(echo, "a", "crash", "b"))
    assert last == {"error": "internal error; the server's log has the reason"}
    assert "nobody need know" in echo.stderr
    assert events(say(echo, "a"))


def test_an_event_is_sent_when_it_is_there_and_a_client_that_leaves_ends_the_stream(
    echo: ServerProcess,
) -> None:
    n_closed = echo.stderr.count("the stream is closed")
    with say(echo, "a", "wait", stream=True) as response:
        lines = response.iter_lines()
        assert b'"said":"a"' in next(lines)
        assert echo.stderr.count("the stream is closed") == n_closed
    wait_until(lambda: echo.stderr.count("the stream is closed") == n_closed + 1)


def test_a_stream_without_an_end_ends_with_its_client(echo: ServerProcess) -> None:
    n_closed = echo.stderr.count("the stream is closed")
    with say(echo, "go on", stream=True) as response:
        lines = response.iter_lines()
        assert b'"model_name":"echo"' in next(lines)
        assert events(say(echo, "a"))
        n_closed += 1
    wait_until(lambda: echo.stderr.count("the stream is closed") == n_closed + 1)
    assert events(say(echo, "a"))


def test_no_stream_left_anything_behind(echo: ServerProcess) -> None:
    """Python would log of a generator that it had to close, and in which context it could not."""
    assert '"logger":"asyncio"' not in echo.stderr
    assert "different Context" not in echo.stderr
