"""The layer in front of MLServer's app; the app behind it is a recorder."""

import gzip
import json
from typing import Any

import pytest
from mlserver import Settings
from mlserver.handlers import DataPlane
from mlserver.registry import MultiModelRegistry
from prometheus_client import REGISTRY

from runtimes.fast_path import FastPath, FastPathApp, Target
from runtimes.opened import Parts
from runtimes.tabular import TabularClassifier
from tests.runtimes.versions import COLUMNS, SETOSA

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
        ("/v2/models/iris", "GET"),
        (PATH, "GET"),
        ("/v2/models/iris/infer/", "POST"),
        ("/v2/models/iris/feedback", "POST"),
    ],
)
async def test_other_paths_go_to_the_app(gate: Gate, path: str, method: str) -> None:
    status, _, _ = await gate.post(body(), path, method=method)
    assert (status, gate.app.bodies) == (299, [body()])


@pytest.mark.parametrize("content_type", [b"text/plain", b"application/x-www-form-urlencoded"])
async def test_other_content_types_are_refused(gate: Gate, content_type: bytes) -> None:
    status, _, content = await gate.post(body(), headers=((b"content-type", content_type),))
    assert (status, gate.app.bodies) == (415, [])
    assert (
        f"the content-type is {content_type.decode()!r}; expected" in json.loads(content)["error"]
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v2/models/nope/infer", "model 'nope' is not served here; expected iris"),
        (
            "/v2/models/iris/versions/v9/infer",
            "version 'v9' of model 'iris' is not served here; expected v1",
        ),
        ("/v2/models/a\r\nb/infer", r"model 'a\r\nb' is not served here; expected iris"),
    ],
)
async def test_who_is_not_there_is_not_found(gate: Gate, path: str, message: str) -> None:
    status, _, content = await gate.post(b"whatever it holds", path)
    assert (status, json.loads(content)) == (404, {"error": message})


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"{", "the body is not JSON: "),
        (b"[]", "the request cannot be read: Expected `object`, got `array`"),
        (b'{"inputs": [5, 5]}', "cannot be read: Expected `object`, got `int` - at `$.inputs[0]`"),
        (
            b'{"inputs": [], "parameters": {"a": ' + b"[" * 100_000,
            "the body is JSON that is nested too deeply",
        ),
        (body(inputs=[]), "the request has no inputs"),
        (body(id="no\nline"), "the request id is"),
        (body(id=5), "Expected `str | null`, got `int` - at `$.id`"),
        (body(outputs=[{"name": "nope"}]), "output 'nope' is not known"),
        (body(inputs=[{**REQUEST["inputs"][0], "shape": [1, 3]}]), "has shape [1, 3]"),
        (body(inputs=[{**REQUEST["inputs"][0], "data": [1, 2, 3, None]}]), "holds null in row 0"),
        (body(parameters={"content_type": "zzz"}), "has content_type 'zzz'"),
    ],
)
async def test_what_is_wrong_is_said_and_counted_once(
    gate: Gate, sent: bytes, message: str
) -> None:
    labels = {"model": "iris", "version": "v1"}
    before = sample("abserve_requests_total", **labels, outcome="rejected")
    status, headers, content = await gate.post(sent)
    assert (status, gate.app.bodies) == (400, [])
    assert message in json.loads(content)["error"]
    assert headers == {"content-type": "application/json", "content-length": str(len(content))}
    assert sample("abserve_requests_total", **labels, outcome="rejected") == before + 1


class Failing(TabularClassifier):
    """A classifier whose estimator fails in a way that nobody foresaw."""

    @classmethod
    def open_parts(cls, *args: Any) -> Parts:
        return super().open_parts(*args)._replace(estimator=cls)  # type: ignore[return-value]

    @staticmethod
    def compute(rows: Any) -> Any:
        raise ZeroDivisionError("secret")


@pytest.mark.parametrize("sent", [body(), body(parameters={"content_type": "np"})])
async def test_a_failure_of_ours_is_said_and_counted_as_ours(
    gate: Gate, runtime: TabularClassifier, sent: bytes
) -> None:
    failing = Failing(runtime.settings)
    failing.ready = await failing.load()
    labels = {"model": "iris", "version": "v1", "outcome": "failed"}
    before = sample("abserve_requests_total", **labels)
    fast = FastPath(gate.app, Settings(), gate.data_plane)
    answer = fast.answer(Target(failing, False, None, False), sent)
    assert answer.status == 500
    assert json.loads(answer.body) == {"error": "internal error; the server's log has the reason"}
    assert sample("abserve_requests_total", **labels) == before + 1


async def test_a_request_in_the_form_of_pandas_is_answered(gate: Gate) -> None:
    columns = [
        {"name": name, "shape": [1], "datatype": "FP32", "data": [value]}
        for name, value in zip(COLUMNS, SETOSA, strict=True)
    ]
    status, _, content = await gate.post(body(inputs=columns, parameters={"content_type": "pd"}))
    assert (status, gate.app.bodies) == (200, [])
    assert json.loads(content)["outputs"][0]["data"] == ["setosa"]


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
    gate.fast._fast_path.count_pending()
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
    assert (sent, gate.app.bodies) == ([], [])
