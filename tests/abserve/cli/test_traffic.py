import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from abserve.cli.traffic import Tally, Traffic

ROWS = [[5.1, 3.5], [6.2, 2.9], [7.7, 3.0]]
LABELS = ["setosa", "versicolor", "virginica"]


class ModelServer(ThreadingHTTPServer):
    """Answers as a version does, and keeps what it was asked; `fault` spoils its answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/seldon/shop/iris/v2/models/iris/infer"
        self.requests: list[Any] = []
        self.feedback: list[Any] = []
        self.fault = ""

    def answer(self, path: str, message: Any) -> tuple[int, Any]:
        model = "/seldon/shop/iris/v2/models/iris"
        if path == f"{model}/feedback":
            self.feedback.append(message)
            return (500, {}) if self.fault == "feedback" else (200, {})
        self.requests.append(message)
        spoiled = {
            "status": (503, {"error": "no healthy upstream"}),
            "no token": (200, {"model_version": "v1", "parameters": {}}),
            "no parameters": (200, {"model_version": "v1", "parameters": None}),
            "no object": (200, []),
        }
        usual = {"model_version": "v1", "parameters": {"feedback_token": f"of {message['id']}"}}
        return spoiled.get(self.fault, (200, usual))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise the body would wait until the client has confirmed the headers.
    wbufsize = -1
    server: ModelServer

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.server.answer(self.path, message)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Let threads take turns so often that they meet in the middle of everything."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)


def traffic(model: ModelServer) -> Traffic:
    return Traffic(model.url, ROWS, LABELS)


def nothing() -> None:
    pass


def test_a_tally_counts_answers_and_failures() -> None:
    tally = Tally()
    tally.seconds["v1"] += [0.1, 0.2, 0.3]
    tally.seconds["v2"] += [0.4]
    tally.failures.append("ConnectionError: refused")
    assert (tally.n_answered, tally.n_sent) == (4, 5)


def test_a_share_is_of_the_answers() -> None:
    tally = Tally()
    tally.seconds["v1"] += [0.1, 0.2, 0.3]
    tally.seconds["v2"] += [0.4]
    tally.failures += ["ConnectionError: refused"] * 4
    assert (tally.share("v1"), tally.share("v2"), tally.share("v3")) == (0.75, 0.25, 0.0)


def test_without_answers_every_share_is_zero() -> None:
    assert Tally().share("v1") == 0.0


@pytest.mark.parametrize(("q", "seconds"), [(0.0, 0.1), (0.5, 0.3), (0.99, 0.4), (1.0, 0.4)])
def test_a_quantile_is_one_of_the_times(q: float, seconds: float) -> None:
    tally = Tally()
    tally.seconds["v1"] += [0.4, 0.1, 0.3, 0.2]
    assert tally.quantile("v1", q) == seconds


def test_a_version_that_answered_nothing_has_no_quantile() -> None:
    assert Tally().quantile("v2", 0.5) is None


def test_asking_for_a_version_does_not_make_one() -> None:
    tally = Tally()
    tally.quantile("v2", 0.5)
    tally.share("v2")
    assert tally.seconds == {}


@pytest.mark.usefixtures("busy_threads")
def test_a_tally_can_be_read_while_new_versions_answer() -> None:
    tally = Tally()

    def answer() -> None:
        for number in range(20_000):
            tally.seconds[f"v{number}"].append(0.1)

    answering = threading.Thread(target=answer)
    answering.start()
    while answering.is_alive():
        assert tally.n_sent <= 20_000
    answering.join()
    assert tally.n_sent == 20_000


def test_as_many_requests_are_sent_as_wanted(model: ModelServer) -> None:
    tally = traffic(model).send(10, nothing)
    assert (tally.n_sent, tally.n_answered, tally.failures) == (10, 10, [])
    assert len(model.requests) == 10


def test_progress_is_told_once_per_request(model: ModelServer) -> None:
    told: list[None] = []
    traffic(model).send(10, lambda: told.append(None))
    assert len(told) == 10


def test_a_request_is_one_row_in_the_v2_protocol(model: ModelServer) -> None:
    traffic(model).send(1, nothing)
    assert model.requests[0]["inputs"] == [
        {"name": "features", "shape": [1, 2], "datatype": "FP64", "data": [5.1, 3.5]}
    ]


def test_rows_are_sent_in_turn(model: ModelServer) -> None:
    traffic(model).send(6, nothing)
    sent = sorted(request["inputs"][0]["data"] for request in model.requests)
    assert sent == sorted(ROWS * 2)


def test_every_request_has_an_id_of_its_own(model: ModelServer) -> None:
    traffic(model).send(10, nothing)
    assert len({request["id"] for request in model.requests}) == 10


def test_an_answer_is_followed_by_its_ground_truth(model: ModelServer) -> None:
    traffic(model).send(1, nothing)
    asked = model.requests[0]["id"]
    assert model.feedback == [
        {"id": asked, "feedback_token": f"of {asked}", "ground_truth": "setosa"}
    ]


def test_each_row_gets_the_ground_truth_that_belongs_to_it(model: ModelServer) -> None:
    traffic(model).send(9, nothing)
    row_of = {request["id"]: request["inputs"][0]["data"] for request in model.requests}
    judged = {(*row_of[each["id"]], each["ground_truth"]) for each in model.feedback}
    assert judged == {(5.1, 3.5, "setosa"), (6.2, 2.9, "versicolor"), (7.7, 3.0, "virginica")}


def test_answers_are_credited_to_the_version_that_gave_them(model: ModelServer) -> None:
    tally = traffic(model).send(3, nothing)
    assert tally.share("v1") == 1.0
    assert all(seconds > 0 for seconds in tally.seconds["v1"])


@pytest.mark.parametrize("fault", ["status", "feedback", "no token", "no parameters", "no object"])
def test_what_is_not_answered_properly_is_a_failure(fault: str, model: ModelServer) -> None:
    model.fault = fault
    tally = traffic(model).send(5, nothing)
    assert (tally.n_sent, tally.n_answered, len(tally.failures)) == (5, 0, 5)


def test_a_failure_says_what_happened(model: ModelServer) -> None:
    model.fault = "status"
    failure = traffic(model).send(1, nothing).failures[0]
    assert failure.startswith("HTTPError: 503 ")


def test_a_server_that_is_not_there_is_a_failure(model: ModelServer) -> None:
    url = model.url.replace(str(model.server_port), "1")
    assert len(Traffic(url, ROWS, LABELS).send(3, nothing).failures) == 3


def test_requests_flow_for_as_long_as_the_block_lasts(model: ModelServer) -> None:
    with traffic(model).flowing() as tally:
        while tally.n_sent < 20:
            pass
    n_sent = tally.n_sent
    assert n_sent == len(model.requests) >= 20
    assert tally.failures == []


def test_requests_stop_when_the_block_fails(model: ModelServer) -> None:
    with pytest.raises(RuntimeError, match="stop"), traffic(model).flowing():
        raise RuntimeError("stop")
    n_sent = len(model.requests)
    assert n_sent == len(model.feedback)


def test_each_row_needs_a_label() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Traffic("http://127.0.0.1:1/infer", ROWS, LABELS[:2])
