"""MLServer's own setting sends spans to a collector; ours must not keep it from doing so."""

import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from mlserver.grpc import dataplane_pb2, dataplane_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.runtimes.server_process import OURS, REQUEST, ServerProcess, running
from tests.runtimes.versions import SETOSA, version_files, write_version

pytestmark = pytest.mark.e2e

# Spans leave in batches, by default every 5 s.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
SAID = "5.1234567"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.sent = b""
        self._server = grpc.server(futures.ThreadPoolExecutor(1))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(  # noqa: N802 - its name in the protocol
        self, request: trace_service_pb2.ExportTraceServiceRequest, _: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        self.sent += request.SerializeToString()
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace_id: str) -> list[Span]:
        """Return the spans of one trace; wait for the first that another process began."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            spans = [span for span in self.spans if span.trace_id.hex() == trace_id]
            if any(span.kind == Span.SPAN_KIND_SERVER for span in spans):
                return spans
            time.sleep(0.05)
        raise AssertionError(f"no span of {trace_id} among {self.spans}")

    def stop(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def server(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    files = version_files(tracing_server=collector.address)
    folder = write_version(tmp_path_factory.mktemp("iris") / "v1", files)
    with running(OURS, folder, tmp_path_factory.mktemp("logs") / "logs", **SOON) as started:
        started.wait_until_ready()
        yield started


def traceparent(trace_id: str) -> str:
    return f"00-{trace_id}-00f067aa0ba902b7-01"


def body() -> dict[str, Any]:
    tensor = {**REQUEST["inputs"][0], "data": [float(SAID), *SETOSA[1:]]}
    return {"id": "an-id-of-mine", "inputs": [tensor]}


def server_span(spans: list[Span]) -> Span:
    [span] = [each for each in spans if each.kind == Span.SPAN_KIND_SERVER]
    return span


def test_a_rest_request_is_a_span_of_its_callers_trace(
    server: ServerProcess, collector: Collector
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": traceparent(trace_id)}
    assert server.post("/v2/models/iris/infer", body(), headers=headers).status_code == 200
    span = server_span(collector.of(trace_id))
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert span.name == "POST /v2/models/{model_name}/infer"


def test_a_grpc_request_is_a_span_of_its_callers_trace(
    server: ServerProcess, collector: Collector
) -> None:
    trace_id = "1bf7651916cd43dd8448eb211c80319c"
    request = dataplane_pb2.ModelInferRequest(model_name="iris", id="an-id-of-mine")
    tensor = request.inputs.add(name="features", datatype="FP64", shape=[1, 4])
    tensor.contents.fp64_contents.extend([float(SAID), *SETOSA[1:]])
    metadata = [("traceparent", traceparent(trace_id))]
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ModelInfer(request, timeout=10, metadata=metadata).model_version == "v1"
    span = server_span(collector.of(trace_id))
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert span.name == "/inference.GRPCInferenceService/ModelInfer"


def test_a_refused_request_is_a_span_too(server: ServerProcess, collector: Collector) -> None:
    trace_id = "2cf7651916cd43dd8448eb211c80319c"
    tensor = {**REQUEST["inputs"][0], "data": ["kept to ourselves"]}
    headers = {"traceparent": traceparent(trace_id)}
    refused = server.post("/v2/models/iris/infer", {"inputs": [tensor]}, headers=headers)
    assert refused.status_code == 400
    attributes = {each.key: each.value for each in server_span(collector.of(trace_id)).attributes}
    assert attributes["http.status_code"].int_value == 400


def test_spans_say_nothing_of_what_was_asked_and_answered(
    server: ServerProcess, collector: Collector
) -> None:
    trace_id = "3df7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": traceparent(trace_id)}
    token = server.post("/v2/models/iris/infer", body(), headers=headers).json()["parameters"]
    collector.of(trace_id)
    for secret in (SAID, "setosa", "an-id-of-mine", "kept to ourselves", token["feedback_token"]):
        assert secret.encode() not in collector.sent


def test_probes_are_no_spans(server: ServerProcess, collector: Collector) -> None:
    assert server.status("/v2/health/ready") == 200
    test_a_rest_request_is_a_span_of_its_callers_trace(server, collector)
    assert b"/v2/health" not in collector.sent


def test_a_collector_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    files = version_files(tracing_server="127.0.0.1:1")
    folder = write_version(tmp_path / "v1", files)
    # By default 10 s, which a pod that ends does not have.
    patience = {"OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
    with running(OURS, folder, tmp_path / "logs", **patience) as server:
        server.wait_until_ready()
        assert server.infer().status_code == 200
        start = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - start < 5
