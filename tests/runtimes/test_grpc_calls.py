"""How calls end, seen by a client of a small service on a server of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode, aio
from mlserver.errors import MLServerError, ModelNotFound, ModelNotReady
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import (
    GRPCInferenceServiceServicer,
    GRPCInferenceServiceStub,
    add_GRPCInferenceServiceServicer_to_server,
)
from mlserver.grpc.interceptors import PromServerInterceptor
from prometheus_client import CollectorRegistry

from runtimes.grpc_calls import Registrar, status_of
from runtimes.opened import FailedError
from runtimes.refusals import RefusedError

SERVICE = "inference.GRPCInferenceService"


class Service(GRPCInferenceServiceServicer):
    """Raises what it is told to, or answers with the id it was sent."""

    error: Exception | None = None
    entered: asyncio.Event

    async def ModelReady(  # noqa: N802 - its name in the protocol
        self, request: pb.ModelReadyRequest, context: Any
    ) -> pb.ModelReadyResponse:
        if self.error is not None:
            raise self.error
        if request.name == "slow":
            self.entered.set()
            await asyncio.sleep(60)
        return pb.ModelReadyResponse(ready=True)

    async def ModelInfer(  # noqa: N802 - its name in the protocol
        self, request: pb.ModelInferRequest, context: Any
    ) -> bytes:
        written: bytes = pb.ModelInferResponse(id=request.id).SerializeToString()
        return written

    async def ModelStreamInfer(  # noqa: N802 - its name in the protocol
        self, requests: AsyncIterator[pb.ModelInferRequest], context: Any
    ) -> AsyncIterator[pb.ModelInferResponse]:
        async for request in requests:
            if self.error is not None and request.id == "b":
                raise self.error
            yield pb.ModelInferResponse(id=request.id)


class Client:
    """A client of the service, and what is counted of it."""

    def __init__(self, channel: aio.Channel, service: Service, registry: CollectorRegistry) -> None:
        self.channel = channel
        self.service = service
        self.stub = GRPCInferenceServiceStub(channel)
        self._registry = registry

    async def fail(self, error: Exception) -> tuple[StatusCode, str]:
        self.service.error = error
        with pytest.raises(aio.AioRpcError) as caught:
            await self.stub.ModelReady(pb.ModelReadyRequest(name="a"))
        return caught.value.code(), caught.value.details()

    def stream(self, *ids: str) -> Any:
        return self.stub.ModelStreamInfer(iter([pb.ModelInferRequest(id=each) for each in ids]))

    def count(self, name: str, method: str, kind: str = "UNARY", **labels: str) -> float | None:
        all_labels = {"grpc_service": SERVICE, "grpc_method": method, "grpc_type": kind, **labels}
        return self._registry.get_sample_value(f"grpc_server_{name}", all_labels)

    async def counted(self, name: str, method: str, kind: str = "UNARY", **labels: str) -> bool:
        """Wait until it is: a client has its answer before the call is over for the server."""
        for _ in range(100):
            if self.count(name, method, kind, **labels):
                return True
            await asyncio.sleep(0.01)
        return False


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    registry = CollectorRegistry()
    service = Service()
    service.entered = asyncio.Event()
    server = aio.server()
    metrics = PromServerInterceptor(enable_handling_time_histogram=True, registry=registry)
    add_GRPCInferenceServiceServicer_to_server(service, Registrar(server, metrics))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(channel, service, registry)
    await server.stop(None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MLServerError("x", 400), StatusCode.INVALID_ARGUMENT),
        (MLServerError("x", 401), StatusCode.UNAUTHENTICATED),
        (MLServerError("x", 403), StatusCode.PERMISSION_DENIED),
        (MLServerError("x", 404), StatusCode.NOT_FOUND),
        (ModelNotFound("x"), StatusCode.NOT_FOUND),
        (MLServerError("x", 409), StatusCode.FAILED_PRECONDITION),
        (MLServerError("x", 413), StatusCode.RESOURCE_EXHAUSTED),
        (MLServerError("x", 415), StatusCode.INVALID_ARGUMENT),
        (MLServerError("x", 418), StatusCode.INVALID_ARGUMENT),
        (MLServerError("x", 422), StatusCode.INVALID_ARGUMENT),
        (MLServerError("x", 429), StatusCode.RESOURCE_EXHAUSTED),
        (MLServerError("x", 500), StatusCode.INTERNAL),
        (MLServerError("x", 501), StatusCode.UNIMPLEMENTED),
        (MLServerError("x", 503), StatusCode.UNAVAILABLE),
        (MLServerError("x", 504), StatusCode.DEADLINE_EXCEEDED),
        (MLServerError("x", 599), StatusCode.INTERNAL),
        (ModelNotReady("x"), StatusCode.UNAVAILABLE),
        (RefusedError("value", "x"), StatusCode.INVALID_ARGUMENT),
        (RefusedError("rows", "x", 413), StatusCode.RESOURCE_EXHAUSTED),
        (FailedError(), StatusCode.INTERNAL),
        (ValueError("x"), StatusCode.INTERNAL),
    ],
)
def test_an_error_has_the_code_of_its_status(error: Exception, code: StatusCode) -> None:
    assert status_of(error)[0] is code


@pytest.mark.parametrize("error", [ValueError("secret"), MLServerError("secret", 500)])
async def test_our_faults_are_logged_and_not_told(
    client: Client, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    with caplog.at_level(logging.ERROR):
        told = await client.fail(error)
    assert told == (StatusCode.INTERNAL, "internal error; the server's log has the reason")
    [record] = caplog.records
    assert record.getMessage() == "ModelReady failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize(
    "error", [RefusedError("value", "no"), MLServerError("no"), ModelNotReady("a"), FailedError()]
)
async def test_a_refusal_is_no_error_of_the_server(
    client: Client, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    with caplog.at_level(logging.WARNING):
        _, told = await client.fail(error)
    assert told.startswith(str(error))
    assert caplog.records == []


@pytest.mark.parametrize("text", ["x" * 100_000, "\u2603" * 100_000, "a\r\nb\x00" * 10_000])
async def test_a_client_is_told_no_more_than_fits_into_metadata(client: Client, text: str) -> None:
    code, told = await client.fail(MLServerError(text))
    assert code is StatusCode.INVALID_ARGUMENT
    assert told.isascii()
    assert len(told) == 1003


async def test_a_message_that_is_none_is_the_clients_fault(client: Client) -> None:
    for method in ("ModelReady", "ModelInfer"):
        with pytest.raises(aio.AioRpcError) as caught:
            await client.channel.unary_unary(f"/{SERVICE}/{method}")(b"\xff")
        assert caught.value.code() is StatusCode.INVALID_ARGUMENT
        assert "cannot be read" in caught.value.details()


async def test_a_message_that_is_bytes_already_is_sent(client: Client) -> None:
    assert (await client.stub.ModelInfer(pb.ModelInferRequest(id="a"))).id == "a"


async def test_a_call_is_counted_by_how_it_ended(client: Client) -> None:
    await client.stub.ModelReady(pb.ModelReadyRequest())
    await client.fail(MLServerError("no"))
    ended = {"kind": "UNARY", "method": "ModelReady"}
    assert await client.counted("handled_total", grpc_code="OK", **ended)
    assert await client.counted("handled_total", grpc_code="INVALID_ARGUMENT", **ended)
    assert client.count("started_total", "ModelReady") == 2
    assert client.count("handling_seconds_count", "ModelReady") == 2
    assert client.count("started_total", "ModelInfer") == 0


async def test_a_call_that_its_client_gave_up_is_counted_as_that(client: Client) -> None:
    call = client.stub.ModelReady(pb.ModelReadyRequest(name="slow"))
    waiting = asyncio.ensure_future(call)
    await client.service.entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await client.counted("handled_total", "ModelReady", grpc_code="CANCELLED")


async def test_a_stream_is_counted_message_by_message(client: Client) -> None:
    assert [each.id async for each in client.stream("a", "b")] == ["a", "b"]
    ended = {"kind": "BIDI_STREAMING", "method": "ModelStreamInfer"}
    assert await client.counted("handled_total", grpc_code="OK", **ended)
    assert client.count("msg_received_total", **ended) == 2
    assert client.count("msg_sent_total", **ended) == 2
    assert client.count("started_total", **ended) == 1


async def test_a_stream_ends_with_what_is_wrong_with_a_message(client: Client) -> None:
    client.service.error = RefusedError("value", "no")
    stream = client.stream("a", "b", "c")
    assert (await stream.read()).id == "a"
    with pytest.raises(aio.AioRpcError) as caught:
        await stream.read()
    assert (caught.value.code(), caught.value.details()) == (StatusCode.INVALID_ARGUMENT, "no")
    assert await client.counted(
        "handled_total", "ModelStreamInfer", "BIDI_STREAMING", grpc_code="INVALID_ARGUMENT"
    )


async def test_a_method_that_is_not_there_is_said_to_be_not_there(client: Client) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await client.channel.unary_unary(f"/{SERVICE}/Nope")(b"")
    assert caught.value.code() is StatusCode.UNIMPLEMENTED
