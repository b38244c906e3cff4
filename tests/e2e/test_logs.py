"""What a server says, from its start to its end, is one JSON object a line."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from abserve.artifacts import MODEL_ONNX
from tests.runtimes.server_process import OURS, REQUEST, ServerProcess, fail_to_start, running
from tests.runtimes.versions import version_files, write_version

pytestmark = pytest.mark.e2e

# A server whose stderr is a pipe that nobody reads.
UNREAD = ["bash", "-c", f'exec "{sys.executable}" -m runtimes.server "$0" 2> >(exec sleep 30)']


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = write_version(tmp_path_factory.mktemp("iris") / "v1")
    with running(OURS, folder, tmp_path_factory.mktemp("logs") / "logs") as started:
        started.wait_until_ready()
        yield started


def said(server: ServerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.stderr.splitlines()]


def refused(server: ServerProcess, reason: str) -> dict[str, Any]:
    """Return the line about the one request that was refused for `reason`."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.05)
        for line in said(server):
            if reason in line.get("reason", ""):
                return line
    raise AssertionError(f"nothing is said of {reason}: {server.stderr}")


def test_every_line_is_json_whatever_the_settings_ask_for(tmp_path: Path) -> None:
    theirs = {"version": 1, "handlers": {"x": {"class": "logging.StreamHandler"}}}
    files = version_files(logging_settings=theirs, use_structured_logging=True)
    folder = write_version(tmp_path / "v1", files)
    with running(OURS, folder, tmp_path / "logs") as server:
        server.wait_until_ready()
        assert server.infer().status_code == 200
        assert server.infer(inputs=[]).status_code == 400
        assert server.infer_grpc().model_version == "v1"
        assert server.terminate() == 0
        lines = said(server)
        assert server.stdout == ""
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    assert {"mlserver", "mlserver.grpc", "mlserver.abserve.server", "uvicorn.error"} <= {
        line["logger"] for line in lines
    }
    assert "uvicorn.access" not in {line["logger"] for line in lines}


def test_the_reason_for_which_it_cannot_start_is_the_one_plain_line(tmp_path: Path) -> None:
    version = write_version(tmp_path / "v1")
    (version / MODEL_ONNX).write_bytes(b"altered")
    *lines, last = fail_to_start(version, tmp_path / "logs")
    assert last.startswith("abserve: iris v1 cannot be loaded: ")
    assert all(json.loads(line)["level"] for line in lines)


@pytest.mark.parametrize("variable", ["ABSERVE_LOG_LEVEL", "ABSERVE_REQUEST_LOG"])
def test_a_value_that_there_is_not_stops_the_start(tmp_path: Path, variable: str) -> None:
    folder = write_version(tmp_path / "v1")
    [line] = fail_to_start(folder, tmp_path / "logs", **{variable: "loud"})
    assert f"abserve: {variable} is 'loud'; expected one of" in line


def test_a_request_for_an_unknown_model_is_logged(server: ServerProcess) -> None:
    server.post('/v2/models/ro"se%E2%80%A8%1B/infer', REQUEST)
    line = refused(server, "model 'ro\"se")
    assert {**line, "time": ""} == {
        "time": "",
        "level": "info",
        "logger": "abserve.requests",
        "message": "refused",
        "status": 404,
        "reason": "model 'ro\"se\\u2028\\x1b' is not served here; expected iris",
    }


def test_a_malformed_request_is_logged_without_what_it_said(server: ServerProcess) -> None:
    server.post("/v2/models/iris/infer", {"inputs": ["secret" * 1000] * 2})
    line = refused(server, "cannot be read")
    assert line["status"] == 400
    assert "secret" not in server.stderr


def test_a_server_whose_log_nobody_reads_answers_and_ends(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1")
    with running(UNREAD, folder, tmp_path / "logs") as server:
        server.wait_until_ready()
        with requests.Session() as session:
            for _ in range(1000):
                assert session.get(f"{server.url}/nope", timeout=10).status_code == 404
        assert server.infer().status_code == 200
        assert server.terminate() == 0
