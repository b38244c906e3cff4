"""Whatever is wrong with a request: its exact status, a message that says so, and a living server.

One server gets all of `bad_requests`. After each request a good one is answered, to another client
that has been connected all along, and on the connection of the bad one if that is still open.
"""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import requests
from mlserver.grpc import dataplane_pb2 as pb
from prometheus_client.parser import text_string_to_metric_families

from runtimes.feedback import FeedbackTokens
from runtimes.inference import Classified
from tests.e2e.bad_requests import (
    ANSWERED,
    BODY,
    CONTENT_LENGTH,
    ENDLESS_HEADS,
    FEEDBACK,
    GOOD_FEEDBACK,
    GOOD_MESSAGE,
    INFER,
    INFERENCE,
    JSON,
    NOPE,
    REFUSED,
    REFUSED_CALLS,
    REFUSED_FEEDBACK,
    REFUSED_STREAMS,
    REQUEST,
    ROSE,
    Refused,
    RefusedCall,
    RefusedFeedback,
    chunked,
    http,
    message,
    tensor,
    wire,
)
from tests.e2e.raw_http import Answer, ask, read_answer, read_statuses
from tests.runtimes.server_process import OURS, ServerProcess, running
from tests.runtimes.versions import CLASSES, write_version

pytestmark = pytest.mark.e2e

# Nothing that is asked here takes long: a server that thinks longer thinks too long for the others.
PATIENCE_SECONDS = 5
MAX_MESSAGE_CHARS = 800
MAX_SERIES = 1_000
# Of how we are made, and of what clients made up.
NOT_TO_BE_TOLD = re.compile(r"Traceback|File \"|\.py\b|site-packages|/(tmp|home|usr)/|0x7f")
NOT_TO_BE_COUNTED = re.compile(rf"{ROSE}|{NOPE}|x{{20}}|v9|BREW|passwd|[\r\n\\%]", re.IGNORECASE)

GOOD = http(BODY, *JSON)
KEY = "a key that only tests know"  # what `ServerProcess` gives its server


class Client:
    """A server, and a connection that stays open."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self._ids = count(1)
        self.other = HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_SECONDS)
        self.channel = grpc.insecure_channel(
            server.grpc_address, [("grpc.max_receive_message_length", -1)]
        )

    def connect(self) -> socket.socket:
        address = ("127.0.0.1", self.server.http_port)
        return socket.create_connection(address, timeout=PATIENCE_SECONDS)

    def good_answer(self) -> dict[str, Any]:
        self.other.request("POST", INFER, BODY, {"content-type": "application/json"})
        return json.loads(self.other.getresponse().read())

    def token(self) -> str:
        """Return a token that nobody has sent yet."""
        request = {**REQUEST, "id": f"f-{next(self._ids):04d}"}
        self.other.request("POST", INFER, json.dumps(request), {"content-type": "application/json"})
        answer = json.loads(self.other.getresponse().read())
        token: str = answer["parameters"]["feedback_token"]
        return token

    def is_well(self) -> bool:
        return self.server.process.poll() is None and self.good_answer()["model_version"] == "v1"

    def call(self, sent: bytes, method: str = f"{INFERENCE}/ModelInfer") -> bytes:
        answer: bytes = self.channel.unary_unary(f"/{method}")(sent, timeout=PATIENCE_SECONDS)
        return answer

    def stream(self, *sent: bytes) -> list[bytes]:
        method = self.channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")
        return list(method(iter(sent), timeout=PATIENCE_SECONDS))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = write_version(tmp_path_factory.mktemp("iris") / "v1")
    with running(OURS, folder, tmp_path_factory.mktemp("logs") / "ours") as server:
        server.wait_until_ready()
        client = Client(server)
        with closing(client.other), closing(client.channel):
            yield client


def check_message(message: str, words: tuple[str, ...]) -> None:
    assert [word for word in words if word not in message] == [], message
    assert not NOT_TO_BE_TOLD.search(message), message
    assert len(message) <= MAX_MESSAGE_CHARS, message[:MAX_MESSAGE_CHARS]
    assert "x" * 200 not in message


def check_refused(answer: Answer, status: int, words: tuple[str, ...], method: str) -> None:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    if method == "HEAD":
        assert answer.content == b""
        return
    content = json.loads(answer.content)
    assert list(content) == ["error"]
    assert content["error"]
    check_message(content["error"], words)


def check_still_open(connection: socket.socket, answer: Answer) -> None:
    """Check that the connection is closed if that was said, and goes on if it was not."""
    if not answer.ends_connection:
        assert ask(connection, GOOD).status == 200
        return
    # A reset, where the server did not read to the end.
    with suppress(ConnectionResetError):
        assert connection.recv(1) == b""


@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_a_bad_request_is_refused(client: Client, case: Refused) -> None:
    with client.connect() as connection:
        answer = ask(connection, case.sent, case.method)
        check_refused(answer, case.status, case.words, case.method)
        check_still_open(connection, answer)
    assert client.is_well()


@pytest.mark.parametrize("name", ANSWERED)
def test_an_odd_request_is_answered(client: Client, name: str) -> None:
    with client.connect() as connection:
        answer = ask(connection, ANSWERED[name])
        assert answer.status == 200, answer
        assert json.loads(answer.content)["model_version"] == "v1"
        check_still_open(connection, answer)
    assert client.is_well()


@pytest.mark.parametrize("case", REFUSED_FEEDBACK, ids=[case.name for case in REFUSED_FEEDBACK])
def test_bad_feedback_is_refused(client: Client, case: RefusedFeedback) -> None:
    body = case.body(client.token())
    with client.connect() as connection:
        answer = ask(connection, http(body, *JSON, path=FEEDBACK))
        check_refused(answer, case.status, case.words, "POST")
        check_still_open(connection, answer)
    assert client.is_well()


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "a/b", "\xff"])
def test_feedback_that_is_not_sent_as_json_is_refused(client: Client, content_type: str) -> None:
    body = json.dumps({"feedback_token": client.token(), "reward": 1}).encode()
    with client.connect() as connection:
        answer = ask(connection, http(body, f"content-type: {content_type}", path=FEEDBACK))
        check_refused(answer, 400, ("content-type", "application/json"), "POST")
    assert client.is_well()


NOW = time.time()


def signed(key: str = KEY, model: str = "iris", at: float = NOW) -> str:
    """Return a token that a server made; ours, if it has the same key."""
    predicted = Classified(np.array([0]), np.array([[0.9, 0.05, 0.05]], np.float32))
    return FeedbackTokens(key.encode(), lambda: at).sign(
        model=model, version="v1", request_id="f-1", classes=CLASSES, result=predicted
    )


def test_feedback_to_another_replica_is_counted(client: Client) -> None:
    body = json.dumps({"feedback_token": signed(), **GOOD_FEEDBACK}).encode()
    with client.connect() as connection:
        assert ask(connection, http(body, *JSON, path=FEEDBACK)).status == 200


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (signed(model=ROSE), ("'rose'", "'iris'")),
        (signed(key="a key of somebody else"), ("another key", "ABSERVE_FEEDBACK_KEY")),
        (signed(at=NOW - 31 * 24 * 3_600), ("31.0 days", "30 days")),
    ],
    ids=["of another model", "of another key", "too old"],
)
def test_a_token_from_elsewhere_is_refused(
    client: Client, token: str, words: tuple[str, ...]
) -> None:
    body = json.dumps({"feedback_token": token, **GOOD_FEEDBACK}).encode()
    with client.connect() as connection:
        answer = ask(connection, http(body, *JSON, path=FEEDBACK))
        check_refused(answer, 400, words, "POST")
    assert client.is_well()


def test_repeated_feedback_is_answered_and_not_counted(client: Client) -> None:
    body = json.dumps(
        {"feedback_token": client.token(), "ground_truth": "setosa", "reward": 1}
    ).encode()
    with client.connect() as connection:
        first, second = (
            json.loads(ask(connection, http(body, *JSON, path=FEEDBACK)).content) for _ in range(2)
        )
    assert (first["counted"], first["correct"], first["reward_counted"]) == (1, 1, True)
    assert (second["counted"], second["correct"], second["reward_counted"]) == (0, 0, False)


def test_refused_feedback_may_be_sent_again_once_it_is_right(client: Client) -> None:
    token = client.token()
    wrong = json.dumps({"feedback_token": token, "ground_truth": ROSE, "reward": 1}).encode()
    right = json.dumps({"feedback_token": token, "ground_truth": "setosa", "reward": 1}).encode()
    with client.connect() as connection:
        assert ask(connection, http(wrong, *JSON, path=FEEDBACK)).status == 400
        answer = json.loads(ask(connection, http(right, *JSON, path=FEEDBACK)).content)
    assert (answer["counted"], answer["reward_counted"]) == (1, True)


BAD = http(b"{", *JSON)
UNKNOWN = http(path=f"/v2/models/{ROSE}/infer")
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("requests_", "statuses"),
    [
        ([GOOD, GOOD, GOOD], [200, 200, 200]),
        ([BAD, GOOD, BAD, GOOD], [400, 200, 400, 200]),
        ([LIVE, GOOD, LIVE, GOOD], [200, 200, 200, 200]),
        ([GOOD, UNKNOWN, GOOD], [200, 404, 200]),
        ([BAD, LIVE, UNKNOWN, GOOD], [400, 200, 404, 200]),
        ([GOOD, b"no HTTP\r\n\r\n"], [200, 400]),
        ([GOOD, http(BODY, *JSON, "connection: close")], [200, 200]),
    ],
)
def test_requests_sent_at_once_are_answered_in_their_order(
    client: Client, requests_: list[bytes], statuses: list[int]
) -> None:
    with client.connect() as connection:
        connection.sendall(b"".join(requests_))
        assert read_statuses(connection, len(requests_)) == statuses
    assert client.is_well()


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"\r\n",
        b"POST /v2/mod",
        f"POST {INFER} HTTP/1.1\r\nhost: a\r\ncontent-le".encode(),
        wire(CONTENT_LENGTH, body=b""),
        wire(CONTENT_LENGTH, body=BODY[:-1]),
        wire("content-length: 9223372036854775807"),
        wire(CONTENT_LENGTH, "content-encoding: gzip", body=b"\x1f\x8b"),
        wire(CONTENT_LENGTH, "expect: 100-continue", body=b""),
        chunked(b"%x\r\n" % len(BODY), BODY[:-1]),
        chunked(b"%x\r\n" % len(BODY), BODY, b"\r\n"),
    ],
    ids=range(11),
)
def test_a_client_that_goes_away_harms_nobody(client: Client, part: bytes) -> None:
    with client.connect() as connection:
        connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        said = connection.recv(100_000)
    assert not re.match(rb"HTTP/1.1 5", said)
    assert client.is_well()


def test_a_client_that_resets_its_connection_harms_nobody(client: Client) -> None:
    with client.connect() as connection:
        linger_no_second = b"\1\0\0\0\0\0\0\0"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_second)
        connection.sendall(GOOD + http(BODY, *JSON)[:-5])
    assert client.is_well()


@pytest.mark.parametrize("name", ENDLESS_HEADS)
def test_a_head_without_end_is_not_read_to_its_end(client: Client, name: str) -> None:
    sent = ENDLESS_HEADS[name]
    with client.connect() as connection:
        # What comes in one piece was read already, however long it is.
        connection.sendall(sent[:5])
        time.sleep(0.05)
        with suppress(ConnectionError):
            connection.sendall(sent[5:])
        answer = read_answer(connection, sent)
        check_refused(answer, 431, ("URL", "headers", "65536"), "POST")
        check_still_open(connection, answer)
    assert client.is_well()


def test_a_body_that_will_be_refused_is_not_asked_for(client: Client) -> None:
    """The client waits to be told to go on, so it can be told at once not to."""
    with client.connect() as connection:
        connection.sendall(wire("expect: 100-continue", "content-length: 50000000", body=b""))
        assert connection.recv(100_000).startswith(b"HTTP/1.1 413 ")
    assert client.is_well()


# gRPC.


def check_call_refused(error: grpc.RpcError, case: RefusedCall) -> None:
    assert (error.code(), error.details()) == (case.status, error.details())
    check_message(error.details(), case.words)


@pytest.mark.parametrize("case", REFUSED_CALLS, ids=[case.name for case in REFUSED_CALLS])
def test_a_bad_call_is_refused(client: Client, case: RefusedCall) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.call(case.sent, case.method)
    check_call_refused(caught.value, case)
    answer = pb.ModelInferResponse.FromString(client.call(GOOD_MESSAGE.SerializeToString()))
    assert answer.model_version == "v1"


@pytest.mark.parametrize("case", REFUSED_STREAMS, ids=[case.name for case in REFUSED_STREAMS])
def test_a_bad_stream_is_refused(client: Client, case: RefusedCall) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.stream(case.sent)
    check_call_refused(caught.value, case)
    assert len(client.stream(GOOD_MESSAGE.SerializeToString())) == 1


def test_a_stream_of_nothing_is_refused(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.stream()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(client.stream(GOOD_MESSAGE.SerializeToString())) == 1


def test_metadata_without_end_is_refused(client: Client) -> None:
    method = client.channel.unary_unary(f"/{INFERENCE}/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        method(
            GOOD_MESSAGE.SerializeToString(),
            timeout=PATIENCE_SECONDS,
            metadata=[("hello", "x" * 100_000)],
        )
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.call(GOOD_MESSAGE.SerializeToString())


def test_refused_calls_leave_nothing_behind(tmp_path: Path) -> None:
    """A call that ends by an exception is kept, with its message, until garbage is collected."""
    too_much = message(tensor(), raw=(bytes(4_000_000),)).SerializeToString()
    with running(OURS, write_version(tmp_path / "v1"), tmp_path / "logs") as server:
        server.wait_until_ready()
        client = Client(server)
        sizes = []
        with closing(client.channel):
            for _ in range(100):
                with pytest.raises(grpc.RpcError, match="expected 4"):
                    client.call(too_much)
                sizes.append(psutil.Process(server.process.pid).memory_info().rss)
    assert max(sizes) - sizes[0] < 100_000_000


# After all of them.


def test_no_request_ended_the_process(client: Client) -> None:
    assert client.server.process.poll() is None
    assert client.is_well()


def test_no_request_made_the_server_crash(client: Client) -> None:
    log = (client.server.stdout + client.server.stderr).splitlines()
    assert [line[:2_000] for line in log if "Traceback" in line] == []


def test_no_label_of_a_metric_came_from_a_client(client: Client) -> None:
    text = requests.get(client.server.metrics_url, timeout=10).text
    samples = [
        sample for family in text_string_to_metric_families(text) for sample in family.samples
    ]
    labels = {(name, value) for sample in samples for name, value in sample.labels.items()}
    assert {value for name, value in labels if name == "model"} == {"iris"}
    assert {value for name, value in labels if name == "version"} >= {"v1"}
    assert {value for name, value in labels if name == "label"} == set(CLASSES)
    assert [(name, value) for name, value in labels if NOT_TO_BE_COUNTED.search(value)] == []
    assert len(samples) < MAX_SERIES
