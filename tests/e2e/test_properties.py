"""No request makes a 5xx: hundreds around the good one, generated, and each damaged in one place.

What is found here is always the same: nothing is drawn at random that the code does not fix.
"""

import gzip
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from http.client import HTTPConnection
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import grpc
import mlserver
import pytest
import schemathesis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlserver.grpc import dataplane_pb2 as pb
from schemathesis.checks import not_a_server_error

from tests.e2e.bad_requests import (
    BODY,
    FEEDBACK,
    GOOD_MESSAGE,
    INFER,
    INFERENCE,
    JSON,
    REQUEST,
    SIZE,
    VALUES,
    chunked,
    http,
)
from tests.e2e.bad_requests import (
    LENGTH as HEADER,
)
from tests.e2e.raw_http import Answer, read_statuses
from tests.runtimes.server_process import OURS, STOCK, ServerProcess, running
from tests.runtimes.versions import COLUMNS, SETOSA, write_version

pytestmark = pytest.mark.e2e

PATIENCE_SECONDS = 5
OUTPUTS = ["label", "class_index", "probability"]
WIDTHS = {"label": 1, "class_index": 1, "probability": 3}
# A request that comes whole, one that does not take the shortest way, and MLServer's own.
ROUTES = [INFER, f"{INFER}?a=b", "/v2/models/iris/generate"]
REFUSALS = {400, 404, 405, 411, 413, 415, 431}
CODES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def examples(n: int) -> settings:
    return settings(
        max_examples=n,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


class Client:
    """A server, asked over one connection."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.connection = HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_SECONDS)
        self.channel = grpc.insecure_channel(server.grpc_address)

    def ask(self, body: bytes, path: str = INFER, **headers: str) -> Answer:
        sent = {"content-type": "application/json", **headers}
        self.connection.request("POST", path, body, sent)
        response = self.connection.getresponse()
        lowered = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, body[:1_000], response.read(), lowered)

    def connect(self) -> socket.socket:
        address = ("127.0.0.1", self.server.http_port)
        return socket.create_connection(address, timeout=PATIENCE_SECONDS)

    def call(self, message: bytes) -> tuple[grpc.StatusCode, bytes]:
        """Return how a call ended, and the response, empty if there is none."""
        method = self.channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        try:
            return grpc.StatusCode.OK, method(message, timeout=PATIENCE_SECONDS)
        except grpc.RpcError as error:
            return error.code(), b""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_version(tmp_path_factory.mktemp("iris") / "v1")


def started(command: list[str], folder: Path, logs: Path) -> Iterator[Client]:
    with running(command, folder, logs) as server:
        server.wait_until_ready()
        client = Client(server)
        with closing(client.connection), closing(client.channel):
            yield client


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    yield from started(OURS, folder, tmp_path_factory.mktemp("ours") / "logs")


@pytest.fixture(scope="module")
def stock(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    yield from started(STOCK, folder, tmp_path_factory.mktemp("stock") / "logs")


def check(answer: Answer) -> None:
    """Check that an answer is a whole one, or a refusal in the protocol's form."""
    if answer.status == 200:
        length = answer.headers.get(HEADER)
        check_outputs(answer.content, len(answer.content) if length is None else int(length))
        return
    assert answer.status in REFUSALS, answer
    assert answer.headers["content-type"] == "application/json"
    content = json.loads(answer.content)
    assert list(content) == ["error"]
    assert isinstance(content["error"], str)
    assert len(answer.content) < 2_000


def check_outputs(content: bytes, length: int) -> None:
    answer = json.loads(content[:length])
    assert (answer["model_name"], answer["model_version"]) == ("iris", "v1")
    assert answer["outputs"]
    n_rows = answer["outputs"][0]["shape"][0]
    assert n_rows > 0
    size = 0
    for output in answer["outputs"]:
        assert output["shape"] == [n_rows, WIDTHS[output["name"]]]
        if "data" in output:
            assert len(output["data"]) == prod(output["shape"])
        else:
            size += output["parameters"][SIZE]
    assert len(content) == length + size


# What is sent: JSON of any kind in each place of the good request, and tensors of any make.


def mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return `usual`, and one time in ten `other`: most of what is made shall be answered."""
    return st.integers(0, 9).flatmap(lambda n: other if n == 5 else usual)


texts = st.text(st.characters(), max_size=8)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)

WHOLE = {
    **REQUEST,
    "parameters": {"content_type": "np"},
    "inputs": [{**REQUEST["inputs"][0], "parameters": {}}],
    "outputs": [{"name": "label", "parameters": {}}, {"name": "probability"}],
}
PLACES: list[tuple[Any, ...]] = [
    ("id",),
    ("parameters",),
    ("parameters", "content_type"),
    ("parameters", "a"),
    ("inputs",),
    ("inputs", 0),
    ("inputs", 0, "name"),
    ("inputs", 0, "datatype"),
    ("inputs", 0, "shape"),
    ("inputs", 0, "shape", 0),
    ("inputs", 0, "shape", 1),
    ("inputs", 0, "parameters"),
    ("inputs", 0, "parameters", "content_type"),
    ("inputs", 0, "data"),
    ("inputs", 0, "data", 0),
    ("inputs", 0, "data", 3),
    ("inputs", 0, "a"),
    ("outputs",),
    ("outputs", 0),
    ("outputs", 0, "name"),
    ("outputs", 0, "parameters"),
    ("a",),
]
DATATYPES = [
    *("FP16", "FP32", "FP64", "BOOL", "BYTES"),
    *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
]
names = st.sampled_from(["features", *COLUMNS]) | texts
datatypes = mostly(st.sampled_from(["FP32", "FP64"]), st.sampled_from(DATATYPES) | texts)
shapes = st.lists(st.integers(-2, 6) | st.integers(-(2**64), 2**64), max_size=4)


def put(request: Any, place: tuple[Any, ...], value: Any) -> None:
    """Write `value` into a place of `request`, `...` to empty it; if the place is still there."""
    *outer, last = place
    for key in outer:
        request = _inside(request, key)
    if isinstance(request, dict) and value is ...:
        request.pop(last, None)
    elif isinstance(request, dict) or (isinstance(request, list) and _has(request, last)):
        request[last] = None if value is ... else value


def _inside(value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        return value.get(key)
    return value[key] if isinstance(value, list) and _has(value, key) else None


def _has(values: list[Any], key: Any) -> bool:
    return isinstance(key, int) and key < len(values)


@st.composite
def changed_requests(draw: st.DrawFn) -> Any:
    """Return the good request with up to three places overwritten or emptied."""
    request = deepcopy(WHOLE)
    changes = st.tuples(st.sampled_from(PLACES), values | st.just(...))
    for place, value in draw(st.lists(changes, min_size=1, max_size=3)):
        put(request, place, value)
    return request


@st.composite
def tensors(draw: st.DrawFn, name: str = "features", width: int = 4) -> dict[str, Any]:
    """Return a tensor that is right more often than not."""
    n_rows = draw(mostly(st.integers(1, 5), st.just(0)))
    width = draw(mostly(st.just(width), st.integers(1, 5)))
    floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
    kind = draw(mostly(st.sampled_from([st.integers(0, 9), floats]), st.just(numbers)))
    n_values = n_rows * width + draw(mostly(st.just(0), st.sampled_from([1, -1])))
    data: list[Any] = draw(st.lists(kind, min_size=max(n_values, 0), max_size=max(n_values, 0)))
    if draw(st.booleans()):
        data = [data[i : i + width] for i in range(0, len(data), width)]
    if data and draw(mostly(st.just(False), st.just(True))):
        data[draw(st.integers(0, len(data) - 1))] = draw(values)
    return {
        "name": draw(mostly(st.just(name), names)),
        "datatype": draw(datatypes),
        "shape": draw(mostly(st.just([n_rows, width]), shapes)),
        "data": data,
    }


@st.composite
def made_requests(draw: st.DrawFn) -> dict[str, Any]:
    """Return a request for a matrix or for columns, with an id and outputs that may be wrong."""
    one_matrix = st.lists(tensors(), min_size=1, max_size=1)
    columns = st.integers(1, 3).flatmap(
        lambda n: st.tuples(*(columns_of(name, n) for name in COLUMNS))
    )
    request: dict[str, Any] = {"inputs": draw(one_matrix | columns)}
    if draw(st.booleans()):
        request["id"] = draw(mostly(st.sampled_from(["r-1", "a b", "", None]), texts))
    if draw(st.booleans()):
        wanted = st.lists(mostly(st.sampled_from(OUTPUTS), texts), max_size=3)
        request["outputs"] = [{"name": name} for name in draw(wanted)]
    if draw(st.booleans()):
        request["parameters"] = draw(st.dictionaries(texts, values, max_size=2))
    return request


def columns_of(name: str, n_rows: int) -> st.SearchStrategy[dict[str, Any]]:
    column = {
        "name": name,
        "datatype": "FP32",
        "shape": [n_rows, 1],
        "data": list(range(n_rows)),
    }
    return st.just(column) | mostly(st.just(column), tensors(name, 1))


json_requests = changed_requests() | made_requests()


def to_json(request: Any) -> bytes:
    return json.dumps(request).encode()


@examples(1000)
@given(request_=json_requests, route=st.sampled_from(ROUTES))
@example(request_=WHOLE, route=INFER)
def test_a_request_of_any_json_is_answered_or_refused(
    client: Client, request_: Any, route: str
) -> None:
    check(client.ask(to_json(request_), route))


@examples(600)
@given(
    head=json_requests,
    wanted=st.booleans(),
    tail=st.just(VALUES) | st.binary(max_size=40),
    size=st.sampled_from([None, 16]) | values,
    length=st.none() | st.integers(-2, 400) | texts,
)
def test_a_request_in_binary_is_answered_or_refused(
    client: Client, head: Any, wanted: bool, tail: bytes, size: Any, length: Any
) -> None:
    if size is not None:
        put(head, ("inputs", 0, "parameters"), {SIZE: size})
        put(head, ("inputs", 0, "data"), ...)
    if wanted:
        put(head, ("parameters",), {"binary_data_output": True})
    content = to_json(head)
    length = len(content) if length is None else length
    headers = {HEADER: ascii(length).replace("'", "")}
    check(client.ask(content + tail, **headers))


@examples(400)
@given(
    body=st.binary(max_size=200),
    headers=st.sampled_from(
        [
            {},
            {"content-type": "text/plain"},
            {"content-encoding": "gzip"},
            {HEADER: "10"},
        ]
    ),
    path=st.sampled_from(
        [*ROUTES, FEEDBACK, "/v2/repository/index", "/v2/models/iris/infer_stream"]
    ),
)
def test_bytes_are_refused(client: Client, body: bytes, headers: dict[str, str], path: str) -> None:
    answer = client.ask(body, path, **headers)
    # The index of models needs no body.
    assert answer.status in REFUSALS | ({200} if path.endswith("index") else set())
    assert json.loads(answer.content)


@examples(150)
@given(
    message=st.dictionaries(
        st.sampled_from(["id", "feedback_token", "ground_truth", "reward"]), values, max_size=4
    )
    | values,
    with_token=st.booleans(),
)
def test_feedback_of_any_json_is_counted_or_refused(
    client: Client, message: Any, with_token: bool
) -> None:
    if with_token and isinstance(message, dict):
        answer = json.loads(client.ask(BODY).content)
        message["feedback_token"] = answer["parameters"]["feedback_token"]
    told = client.ask(to_json(message), FEEDBACK)
    assert told.status in {200, 400}, told
    assert list(json.loads(told.content)) == ["error"] or told.status == 200


def flipped(content: bytes) -> Iterator[bytes]:
    """Yield `content` with each of its bits turned over."""
    for index, byte in enumerate(content):
        for bit in range(8):
            yield content[:index] + bytes([byte ^ 1 << bit]) + content[index + 1 :]


HEAD = to_json(
    {"inputs": [{**REQUEST["inputs"][0], "parameters": {SIZE: len(VALUES)}, "data": None}]}
)
LENGTH = {HEADER: str(len(HEAD))}


def test_json_that_is_cut_anywhere_is_refused(client: Client) -> None:
    statuses = {client.ask(BODY[:n], route).status for n in range(len(BODY)) for route in ROUTES}
    assert statuses == {400}


def test_binary_that_is_cut_anywhere_is_refused(client: Client) -> None:
    body = HEAD + VALUES
    assert {client.ask(body[:n], **LENGTH).status for n in range(len(body))} == {400}


def test_gzip_that_is_cut_anywhere_is_refused(client: Client) -> None:
    packed = gzip.compress(BODY)
    headers = {"content-encoding": "gzip"}
    assert {client.ask(packed[:n], **headers).status for n in range(len(packed))} == {400}


def test_json_with_a_wrong_bit_is_answered_or_refused(client: Client) -> None:
    for body in flipped(BODY):
        check(client.ask(body))


def test_binary_with_a_wrong_bit_is_answered_or_refused(client: Client) -> None:
    for body in flipped(HEAD + VALUES):
        check(client.ask(body, **LENGTH))


def test_gzip_with_a_wrong_bit_is_answered_or_refused(client: Client) -> None:
    for body in flipped(gzip.compress(BODY, mtime=0)):
        check(client.ask(body, **{"content-encoding": "gzip"}))


def test_a_token_with_a_wrong_bit_is_refused(client: Client) -> None:
    token = json.loads(client.ask(BODY).content)["parameters"]["feedback_token"]
    bodies = (
        b'{"reward": 1, "feedback_token": "%b"}' % altered for altered in flipped(token.encode())
    )
    assert {client.ask(body, FEEDBACK).status for body in bodies} == {400}


def exchange(client: Client, sent: bytes) -> bytes:
    """Return all that a server says to a client that sends something and then no more."""
    with client.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        said = b""
        while received := connection.recv(100_000):
            said += received
        return said


def test_a_request_whose_head_has_a_wrong_bit_harms_nobody(client: Client) -> None:
    request = http(BODY, *JSON)
    head = request[: -len(BODY)]
    for altered in flipped(head):
        said = exchange(client, altered + BODY)
        assert not said.startswith(b"HTTP/1.1 5"), (altered, said)
    check(client.ask(BODY))


PIECES = {
    "good": (http(BODY, *JSON), 200),
    "bad": (http(b"{", *JSON), 400),
    "unknown": (http(path="/v2/models/rose/infer"), 404),
    "text": (http(BODY, "content-type: text/plain"), 415),
    "live": (b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n", 200),
    "metadata": (b"GET /v2/models/iris HTTP/1.1\r\nhost: a\r\n\r\n", 200),
    "chunks": (chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)), 200),
    "packed": (http(gzip.compress(BODY), *JSON, "content-encoding: gzip"), 200),
    "upgrade": (http(BODY, *JSON, "connection: upgrade", "upgrade: h2c"), 200),
    "generate": (http(BODY, *JSON, path="/v2/models/iris/generate"), 200),
    "feedback": (http(b"{}", *JSON, path=FEEDBACK), 400),
}


@examples(300)
@given(
    kinds=st.lists(st.sampled_from(sorted(PIECES)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 1_500), max_size=4),
)
def test_requests_in_any_pieces_are_answered_in_their_order(
    client: Client, kinds: list[str], cuts: list[int]
) -> None:
    sent = b"".join(PIECES[kind][0] for kind in kinds)
    with client.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in pairwise([0, *sorted(cuts), len(sent)]):
            connection.sendall(sent[start:end])
            # The server is given the time to read each piece by itself.
            time.sleep(0.001)
        statuses = read_statuses(connection, len(kinds))
    assert statuses == [PIECES[kind][1] for kind in kinds]


# The fast path and MLServer's own.


def without_tokens(answer: Answer, request: Any) -> Any:
    content = json.loads(answer.content)
    del content["parameters"]["feedback_token"]
    if not request.get("id"):
        del content["id"]
    return content


def is_converted(request: Any) -> bool:
    """Return whether MLServer takes what is no integer of a shape for one, as ours does not."""
    inputs = request.get("inputs") if isinstance(request, dict) else None
    return isinstance(inputs, list) and any(
        not isinstance(size, int) or isinstance(size, bool)
        for tensor in inputs
        if isinstance(tensor, dict) and isinstance(tensor.get("shape"), list)
        for size in tensor["shape"]
    )


@examples(800)
@given(request_=json_requests)
@example(request_=WHOLE)
def test_both_servers_answer_the_same(client: Client, stock: Client, request_: Any) -> None:
    ours, theirs = (server.ask(to_json(request_)) for server in (client, stock))
    assert theirs.status != 500, theirs
    assert ours.status == 200 or theirs.status != 200 or is_converted(request_), (ours, theirs)
    if ours.status == 200:
        assert theirs.status == 200, (ours, theirs)
        assert without_tokens(ours, request_) == without_tokens(theirs, request_)


# The protocol's own description.


def description() -> dict[str, Any]:
    """Return the OpenAPI document of the protocol as MLServer ships it, for our one model."""
    folder = Path(mlserver.__file__).parent / "rest/openapi"
    whole, repository = (
        json.loads((folder / name).read_text())
        for name in ("dataplane.json", "model_repository.json")
    )
    whole["paths"] |= repository["paths"]
    schemas = whole["components"]["schemas"] | repository["components"]["schemas"]
    whole["components"]["schemas"] = schemas
    # OpenAPI has no type "bytes".
    schemas["TensorData"]["oneOf"] = [{"type": "array"}, {"type": "string"}]
    for operations in whole["paths"].values():
        for parameter in operations.get("parameters", []):
            known = "iris" if parameter["name"] == "model_name" else "v1"
            parameter["schema"] = {"type": "string", "enum": [known]}
    schemas["RequestInput"]["properties"]["name"]["enum"] = ["features", *COLUMNS]
    return whole


protocol = schemathesis.openapi.from_dict(description())


@protocol.parametrize()
@examples(20)
def test_the_protocol_is_spoken(case: schemathesis.Case, client: Client) -> None:
    response = case.call(base_url=client.server.url, timeout=PATIENCE_SECONDS)
    case.validate_response(response, checks=[not_a_server_error])
    if response.status_code != 200 and case.method != "HEAD":
        assert list(response.json()) == ["error"]


# gRPC.

proto_texts = st.text(max_size=8)
int32, int64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "bool_contents": st.booleans(),
    "int_contents": int32,
    "int64_contents": int64,
    "uint_contents": st.integers(0, 2**32 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
    "bytes_contents": st.binary(max_size=8),
}
proto_parameters = st.dictionaries(
    st.sampled_from(["content_type", "headers", "binary_data_output"]) | proto_texts,
    st.builds(pb.InferParameter, bool_param=st.booleans())
    | st.builds(pb.InferParameter, int64_param=int64)
    | st.builds(pb.InferParameter, string_param=st.just("np") | proto_texts)
    | st.just(pb.InferParameter()),
    max_size=1,
)


def contents(field: str) -> st.SearchStrategy[dict[str, list[Any]]]:
    of_four = st.lists(FIELDS[field], min_size=4, max_size=4)
    return st.fixed_dictionaries({field: of_four | st.lists(FIELDS[field], max_size=6)})


two_contents = st.tuples(contents("fp32_contents"), contents("int_contents"))
proto_contents = mostly(
    st.just({"fp32_contents": SETOSA}) | contents("fp32_contents"),
    st.one_of(
        st.just({}),
        *(contents(field) for field in FIELDS),
        two_contents.map(lambda two: two[0] | two[1]),
    ),
)
proto_tensors = st.builds(
    lambda name, datatype, shape, fields, parameters: pb.ModelInferRequest.InferInputTensor(
        name=name,
        datatype=datatype,
        shape=shape,
        contents=pb.InferTensorContents(**fields) if fields else None,
        parameters=parameters,
    ),
    mostly(st.just("features"), st.sampled_from(COLUMNS) | proto_texts),
    mostly(st.just("FP32"), st.sampled_from(DATATYPES) | proto_texts),
    mostly(st.just([1, 4]), st.lists(st.integers(-2, 6) | int64, max_size=4)),
    proto_contents,
    mostly(st.just({}), proto_parameters),
)
proto_requests = st.builds(
    lambda name, version, request_id, inputs, outputs, raw, parameters: pb.ModelInferRequest(
        model_name=name,
        model_version=version,
        id=request_id,
        inputs=inputs,
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=each) for each in outputs],
        raw_input_contents=raw,
        parameters=parameters,
    ),
    mostly(st.just("iris"), proto_texts),
    mostly(st.sampled_from(["", "v1"]), proto_texts),
    mostly(st.sampled_from(["g-1", ""]), proto_texts),
    mostly(st.lists(proto_tensors, min_size=1, max_size=1), st.lists(proto_tensors, max_size=3)),
    st.lists(mostly(st.sampled_from(OUTPUTS), proto_texts), max_size=2),
    mostly(st.just([]), st.just([VALUES]) | st.lists(st.binary(max_size=20), max_size=2)),
    mostly(st.just({}), proto_parameters),
)


def check_call(code: grpc.StatusCode, content: bytes) -> None:
    assert code in CODES
    if code is not grpc.StatusCode.OK:
        return
    response = pb.ModelInferResponse.FromString(content)
    assert (response.model_name, response.model_version) == ("iris", "v1")
    n_rows = response.outputs[0].shape[0]
    assert n_rows > 0
    for output in response.outputs:
        assert list(output.shape) == [n_rows, WIDTHS[output.name]]
    assert len(response.raw_output_contents) in {0, len(response.outputs)}


@examples(1000)
@given(message=proto_requests)
@example(message=GOOD_MESSAGE)
def test_a_message_of_any_make_is_answered_or_refused(
    client: Client, message: pb.ModelInferRequest
) -> None:
    check_call(*client.call(message.SerializeToString()))


@pytest.mark.parametrize(
    "damaged",
    [flipped, lambda message: (message[:n] for n in range(len(message)))],
    ids=["a wrong bit", "cut"],
)
def test_a_damaged_message_is_answered_or_refused(
    client: Client, damaged: Callable[[bytes], Iterator[bytes]]
) -> None:
    for message in damaged(GOOD_MESSAGE.SerializeToString()):
        check_call(*client.call(message))


@examples(400)
@given(message=st.binary(max_size=60))
def test_bytes_are_no_message(client: Client, message: bytes) -> None:
    check_call(*client.call(message))


# All forms.


def floats_of(raw: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def over_rest(client: Client, shape: list[int], data: Any) -> list[float]:
    tensor = {**REQUEST["inputs"][0], "shape": shape, "data": data}
    answer = client.ask(to_json({"inputs": [tensor], "outputs": [{"name": "probability"}]}))
    numbers: list[float] = json.loads(answer.content)["outputs"][0]["data"]
    # Written with as many digits as a float has, and read as doubles.
    return floats_of(struct.pack(f"<{len(numbers)}f", *numbers))


def over_rest_in_binary(client: Client, shape: list[int], raw: bytes) -> list[float]:
    tensor = {"name": "features", "datatype": "FP32", "shape": shape}
    head = to_json(
        {
            "inputs": [{**tensor, "parameters": {SIZE: len(raw)}}],
            "outputs": [{"name": "probability", "parameters": {"binary_data": True}}],
        }
    )
    answer = client.ask(head + raw, **{HEADER: str(len(head))})
    return floats_of(answer.content[int(answer.headers[HEADER]) :])


def over_grpc(client: Client, shape: list[int], raw: bytes, *, typed: bool) -> list[float]:
    contents = pb.InferTensorContents(fp32_contents=floats_of(raw)) if typed else None
    message = pb.ModelInferRequest(
        model_name="iris",
        inputs=[
            pb.ModelInferRequest.InferInputTensor(
                name="features", datatype="FP32", shape=shape, contents=contents
            )
        ],
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="probability")],
        raw_input_contents=[] if typed else [raw],
    )
    _, content = client.call(message.SerializeToString())
    response = pb.ModelInferResponse.FromString(content)
    if typed:
        return list(response.outputs[0].contents.fp32_contents)
    return floats_of(response.raw_output_contents[0])


@examples(200)
@given(
    rows=st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4), min_size=1, max_size=5
    )
)
def test_every_form_of_a_request_gives_the_same_numbers(
    client: Client, rows: list[list[float]]
) -> None:
    shape = [len(rows), 4]
    flat = [number for row in rows for number in row]
    raw = struct.pack(f"<{len(flat)}f", *flat)
    found = over_rest(client, shape, flat)
    assert len(found) == 3 * len(rows)
    assert over_rest(client, shape, rows) == found
    assert over_rest_in_binary(client, shape, raw) == found
    assert over_grpc(client, shape, raw, typed=True) == found
    assert over_grpc(client, shape, raw, typed=False) == found


# After all of them.


def test_the_servers_still_run(client: Client, stock: Client) -> None:
    for each in (client, stock):
        assert each.server.infer().status_code == 200
        assert each.server.process.poll() is None
    log = (client.server.stdout + client.server.stderr).splitlines()
    assert [line[:2_000] for line in log if "Traceback" in line] == []
