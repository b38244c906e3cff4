"""Units, and the outcomes of their responses, counted by a real server whichever way they come."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc import dataplane_pb2_grpc
from tritonclient.http import InferenceServerClient, InferInput

from abserve.slots import PERIODS_SECONDS, slot_of
from abserve.telemetry import Series, read_replica
from tests.runtimes.server_process import (
    OURS,
    REQUEST,
    ServerProcess,
    fail_to_start,
    running,
)
from tests.runtimes.versions import SETOSA, write_version

pytestmark = pytest.mark.e2e

HEADER = "x-unit-id"
Ask = Callable[[ServerProcess, str], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_version(tmp_path_factory.mktemp("iris") / "v1")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    logs = tmp_path_factory.mktemp("units") / "logs"
    with running(OURS, folder, logs, ABSERVE_UNIT_HEADER=HEADER) as started:
        started.wait_until_ready()
        yield started


def samples(server: ServerProcess) -> dict[Series, float]:
    text = requests.get(server.metrics_url, timeout=10).text
    return dict(read_replica(text, "iris").samples)


def n_units(server: ServerProcess) -> float:
    return sum(
        n
        for series, n in samples(server).items()
        if series.name == "abserve_units_total" and series["period"] == "3600"
    )


def outcomes(server: ServerProcess, metric: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Number and sum of the outcomes of a metric, by period and slot."""
    found = samples(server)
    return {
        (series["period"], series["slot"]): (
            n,
            found[Series("abserve_outcome_sum_total", series.labels)],
        )
        for series, n in found.items()
        if series.name == "abserve_outcomes_total" and series["metric"] == metric
    }


def in_all(server: ServerProcess, metric: str, period: int) -> tuple[float, float]:
    of_period = [
        counted for (each, _), counted in outcomes(server, metric).items() if each == str(period)
    ]
    return sum(n for n, _ in of_period), sum(total for _, total in of_period)


# The ways a request may come; each returns the token. Requests of one id would have one token.


def plain(server: ServerProcess, unit: str) -> str:
    body, headers = {**REQUEST, "id": unit}, {HEADER: unit}
    return token_of(server.post("/v2/models/iris/infer", body, headers=headers).json())


def binary(server: ServerProcess, unit: str) -> str:
    tensor = InferInput("features", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array([SETOSA], np.float32))
    with InferenceServerClient(server.url.removeprefix("http://")) as client:
        result = client.infer("iris", [tensor], request_id=unit, headers={HEADER: unit})
    return token_of(result.get_response())


def chunked(server: ServerProcess, unit: str) -> str:
    """A body of unknown length, which our protocol leaves to uvicorn."""
    headers = {HEADER: unit, "content-type": "application/json"}
    body = iter([json.dumps({**REQUEST, "id": unit}).encode()])
    url = f"{server.url}/v2/models/iris/infer"
    return token_of(requests.post(url, data=body, headers=headers, timeout=10).json())


def stream(server: ServerProcess, unit: str) -> str:
    """MLServer's own way to `predict`."""
    body, headers = {**REQUEST, "id": unit}, {HEADER: unit}
    answer = server.post("/v2/models/iris/infer_stream", body, headers=headers)
    return token_of(json.loads(answer.text.removeprefix("data: ")))


def call(server: ServerProcess, unit: str) -> str:
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        response = stub.ModelInfer(message(), metadata=((HEADER, unit),), timeout=10)
    return str(response.parameters["feedback_token"].string_param)


def message() -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="features", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend(SETOSA)
    return request


def token_of(response: dict[str, Any]) -> str:
    return str(response["parameters"]["feedback_token"])


def feed_back(server: ServerProcess, token: str, **known: Any) -> None:
    answer = server.post("/v2/models/iris/feedback", {"feedback_token": token, **known})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "ask", [plain, binary, chunked, stream, call], ids=lambda ask: ask.__name__
)
def test_a_unit_is_counted_at_its_first_request_and_only_that_has_an_outcome(
    server: ServerProcess, ask: Ask
) -> None:
    units, (n, total) = n_units(server), in_all(server, "accuracy", 3600)
    first, second = (ask(server, f"{ask.__name__}-1") for _ in range(2))
    assert n_units(server) == units + 1
    feed_back(server, second, ground_truth="setosa")
    assert in_all(server, "accuracy", 3600) == (n, total)
    feed_back(server, first, ground_truth="setosa")
    assert in_all(server, "accuracy", 3600) == (n + 1, total + 1)


def test_a_unit_is_the_same_whichever_way_it_comes(server: ServerProcess) -> None:
    units = n_units(server)
    for ask in (plain, chunked, stream, call):
        ask(server, "everywhere")
    assert n_units(server) == units + 1


def test_a_stream_of_calls_is_one_unit(server: ServerProcess) -> None:
    units = n_units(server)
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        messages = iter([message(), message(), message()])
        metadata = ((HEADER, "streaming"),)
        assert len(list(stub.ModelStreamInfer(messages, metadata=metadata, timeout=10))) == 3
    assert n_units(server) == units + 1


def test_requests_without_the_header_are_units_of_their_own(server: ServerProcess) -> None:
    units = n_units(server)
    server.infer()
    server.infer_grpc()
    server.post("/v2/models/iris/infer", REQUEST, headers={HEADER: ","})
    assert n_units(server) == units + 3


def test_a_refused_request_is_a_unit_too(server: ServerProcess) -> None:
    units = n_units(server)
    wrong = {"inputs": [{**REQUEST["inputs"][0], "data": [1, 2, 3, 4, 5]}]}
    headers = {HEADER: "refused"}
    for _ in range(2):
        assert server.post("/v2/models/iris/infer", wrong, headers=headers).status_code == 400
    assert n_units(server) == units + 1


def test_feedback_is_counted_in_the_slots_of_its_assignment_time(server: ServerProcess) -> None:
    before = outcomes(server, "reward")
    began = int(time.time())
    feed_back(server, plain(server, "rewarded"), ground_truth="setosa", reward=0.25)
    ended = int(time.time())
    after = outcomes(server, "reward")
    for period in PERIODS_SECONDS[1:]:
        [(key, (n, total))] = [
            item
            for item in after.items()
            if item[0][0] == str(period) and before.get(item[0]) != item[1]
        ]
        assert key[1] in {str(slot_of(began, period)), str(slot_of(ended, period))}
        n_before, total_before = before.get(key, (0, 0))
        assert (n, total) == (n_before + 1, total_before + 0.25)


def test_a_unit_is_counted_in_the_slots_of_the_time_it_arrived(server: ServerProcess) -> None:
    def slots() -> dict[tuple[str, str], float]:
        return {
            (series["period"], series["slot"]): n
            for series, n in samples(server).items()
            if series.name == "abserve_units_total"
        }

    before, began = slots(), int(time.time())
    plain(server, "in a slot")
    after, ended = slots(), int(time.time())
    for period in PERIODS_SECONDS:
        grown = {key: n - before.get(key, 0) for key, n in after.items() if key[0] == str(period)}
        [(_, slot)] = [key for key, more in grown.items() if more]
        assert slot in {str(slot_of(time, period)) for time in range(began, ended + 1)}
        assert sum(grown.values()) == 1


def test_the_server_says_what_it_takes_for_units(server: ServerProcess) -> None:
    assert samples(server)[Series.of("abserve_unit_info", {"version": "v1", "header": HEADER})] == 1


def test_a_header_that_is_none_stops_the_start(folder: Path, tmp_path: Path) -> None:
    last = fail_to_start(folder, tmp_path / "logs", ABSERVE_UNIT_HEADER="X-Unit-Id")[-1]
    assert last == (
        "abserve: ABSERVE_UNIT_HEADER is 'X-Unit-Id'; expected a header's name in lower case, "
        "such as x-unit-id, or nothing if every request is a unit"
    )
