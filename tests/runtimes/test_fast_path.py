"""The layer in front of MLServer's app; the app behind it is a recorder."""

import gzip
import json
from typing import Any

import pytest
from mlserver import Settings
from mlserver.handlers import DataPlane
from mlserver.registry import MultiModelRegistry
from prometheus_client import REGISTRY

from runtimes.fast_path import FastPath, FastPathApp
from runtimes.tabular import TabularClassifier
from tests.runtimes.versions import SETOSA

REQUEST = {
    "id": "r-1",
    "inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": SETOSA}],
}
PATH = "/v2/models/iris/infer"
JSON = (b"content-type", b"application/json")


class Recorder:
    """An ASGI app that keeps the requests it gets, and says 299."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Gate:
    """A fast path and what stands behind it."""

    def __init__(self, registry: MultiModelRegistry, data_plane: DataPlane) -> None:
        self.registry = registry
        self.app = Recorder()
        self.data_plane = data_plane
        self.use(Settings())

    def use(self, settings: Settings) -> None:
        self.fast = FastPathApp(self.app, FastPath(self.app, settings, self.data_plane))

    async def post(
        self,
        body: bytes,
        path: str = PATH,
        headers: tuple[tuple[bytes, bytes], ...] = (JSON,),
        method: str = "POST",
    ) -> tuple[int, dict[str, str], bytes]:
        scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        half = len(body) // 2
        messages = iter(
            [
                {"type": "http.request", "body": body[:half], "more_body": True},
                {"type": "http.request", "body": body[half:], "more_body": False},
            ]
        )
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        await self.fast(scope, receive, send)
        answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], answered, sent[1]["body"]


@pytest.fixture(scope="module")
def planes() -> tuple[MultiModelRegistry, DataPlane]:
    # Its metrics are registered once per process, so there is one for all tests.
    registry = MultiModelRegistry()
    return registry, DataPlane(Settings(), registry)


@pytest.fixture
async def gate(planes: tuple[MultiModelRegistry, DataPlane], runtime: TabularClassifier) -> Gate:
    registry, data_plane = planes
    await registry.load(runtime.settings)
    return Gate(registry, data_plane)


def body(**changes: Any) -> bytes:
    return json.dumps({**REQUEST, **changes}).encode()


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_plain_request_is_answered_without_the_app(gate: Gate) -> None:
    status, headers, content = await gate.post(body())
    answer = json.loads(content)
    assert (status, gate.app.bodies) == (200, [])
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("iris", "v1", "r-1")
    assert answer["outputs"][0]["data"] == ["setosa"]
    assert headers["content-length"] == str(len(content))
    assert (headers["x-model-version"], headers["x-request-id"]) == ("v1", "r-1")


async def test_a_version_in_the_path_is_answered(gate: Gate) -> None:
    status, _, _ = await gate.post(body(), "/v2/models/iris/versions/v1/infer")
    assert (status, gate.app.bodies) == (200, [])


async def test_a_request_that_names_no_content_type_is_taken_for_json(gate: Gate) -> None:
    status, _, _ = await gate.post(body(), headers=())
    assert (status, gate.app.bodies) == (200, [])


async def test_a_request_without_id_gets_one(gate: Gate) -> None:
    _, headers, content = await gate.post(body(id=None))
    assert json.loads(content)["id"] == headers["x-request-id"] != ""


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v2/models/nope/infer", "POST"),
        ("/v2/models/iris/versions/v9/infer", "POST"),
        ("/v2/models/iris", "GET"),
        (PATH, "GET"),
        ("/v2/models/iris/infer/", "POST"),
        ("/v2/models/iris/feedback", "POST"),
    ],
)
async def test_other_paths_go_to_the_app(gate: Gate, path: str, method: str) -> None:
    status, _, _ = await gate.post(body(), path, method=method)
    assert (status, gate.app.bodies) == (299, [body()])


@pytest.mark.parametrize(
    "headers",
    [
        ((b"content-type", b"text/plain"),),
        ((b"content-type", b"application/x-www-form-urlencoded"),),
    ],
)
async def test_other_forms_go_to_the_app(
    gate: Gate, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    status, _, _ = await gate.post(body(), headers=headers)
    assert (status, gate.app.bodies) == (299, [body()])


@pytest.mark.parametrize(
    "sent",
    [
        b"{",
        body(inputs=[]),
        body(id="no\nline"),
        body(outputs=[{"name": "nope"}]),
        body(inputs=[{**REQUEST["inputs"][0], "shape": [1, 3]}]),
        body(inputs=[{**REQUEST["inputs"][0], "data": [1, 2, 3, None]}]),
        body(parameters={"content_type": "np"}),
    ],
)
async def test_what_has_no_answer_goes_to_the_app_untouched_and_uncounted(
    gate: Gate, sent: bytes
) -> None:
    labels = {"model": "iris", "version": "v1"}
    before = [
        sample("abserve_requests_total", **labels, outcome=outcome)
        for outcome in ("ok", "rejected", "failed")
    ]
    status, _, _ = await gate.post(sent)
    assert (status, gate.app.bodies) == (299, [sent])
    assert before == [
        sample("abserve_requests_total", **labels, outcome=outcome)
        for outcome in ("ok", "rejected", "failed")
    ]


@pytest.mark.parametrize("settings", [Settings(cors_settings={}), Settings(root_path="/here")])
async def test_what_only_the_app_can_do_is_left_to_it(gate: Gate, settings: Settings) -> None:
    gate.use(settings)
    status, _, _ = await gate.post(body())
    assert status == 299


async def test_a_large_answer_is_compressed_for_who_wants_it(gate: Gate) -> None:
    rows = body(inputs=[{**REQUEST["inputs"][0], "shape": [100, 4], "data": SETOSA * 100}])
    wants = (JSON, (b"accept-encoding", b"gzip, deflate"))
    _, plain_headers, plain = await gate.post(rows)
    _, headers, compressed = await gate.post(rows, headers=wants)
    assert "content-encoding" not in plain_headers
    assert headers["content-encoding"] == "gzip"
    assert len(compressed) < len(plain)
    outputs = json.loads(gzip.decompress(compressed))["outputs"]
    assert outputs == json.loads(plain)["outputs"]


async def test_binary_tensors_are_answered_whatever_they_hold(gate: Gate) -> None:
    head = (b"inference-header-content-length", b"10")
    status, headers, content = await gate.post(body(), headers=(head,))
    assert (status, gate.app.bodies) == (400, [])
    assert headers["content-type"] == "application/json"
    assert "the first 10 bytes of the body are not JSON" in json.loads(content)["error"]


async def test_an_answer_is_counted_as_mlserver_counts(gate: Gate) -> None:
    model = {"model": "iris", "version": "v1"}
    route = {
        "method": "POST",
        "path": "/v2/models/{model_name}/infer",
        "status_code": "200",
        "app_name": "mlserver",
    }
    series = (
        ("model_infer_request_success_total", model),
        ("model_infer_request_duration_count", model),
        ("rest_server_requests_total", route),
        ("rest_server_request_duration_seconds_count", route),
        ("abserve_requests_total", {**model, "outcome": "ok"}),
        ("abserve_inference_seconds_count", model),
        ("abserve_predictions_total", {**model, "label": "setosa"}),
    )
    before = [sample(name, **labels) for name, labels in series]
    for _ in range(3):
        await gate.post(body())
    after = [sample(name, **labels) for name, labels in series]
    assert [b - a for a, b in zip(before, after, strict=True)] == [3] * len(series)


async def test_a_client_that_goes_away_is_answered_by_nobody(gate: Gate) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [JSON]}
    await gate.fast(scope, receive, send)
    assert [message.get("status") for message in sent] == [299, None]
