"""How a gRPC call is taken and ended, whichever method it is of: bytes in, bytes out or a status.

::

    bytes ──> parsed ──> the servicer's method ──> serialized ──> bytes
      └────────────────────────┴──> an exception ──> the status that says whose fault it is

A call is counted in MLServer's own metrics, ``grpc_server_*``. MLServer wraps the method anew in
each call to do so, leaves out calls that fail, and writes a traceback to the log for each request
that is refused.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs
from grpc import StatusCode, aio
from mlserver.errors import MLServerError, ModelNotReady
from mlserver.grpc.interceptors import PromServerInterceptor

from runtimes.logs import request_log
from runtimes.opened import FailedError
from runtimes.refusals import RefusedError

_CODES = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    408: StatusCode.DEADLINE_EXCEEDED,
    409: StatusCode.FAILED_PRECONDITION,
    # As gRPC itself says of a message that is too large.
    413: StatusCode.RESOURCE_EXHAUSTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    501: StatusCode.UNIMPLEMENTED,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}
_SERVER_FAULTS = 500
_UNAVAILABLE = 503
_INTERNAL = str(FailedError())
# Clients take some thousand bytes of metadata; what is longer ends as a fault of the connection.
_MAX_DETAILS = 1000

_UNARY = "UNARY"
_STREAM = "BIDI_STREAMING"

# The types of grpc.aio are loose; these are what its server hands over.
Handlers: TypeAlias = "dict[str, grpc.RpcMethodHandler[Any, Any]]"
Context: TypeAlias = "aio.ServicerContext[Any, Any]"

_logger = logging.getLogger("mlserver.abserve.grpc")


def status_of(error: Exception) -> tuple[StatusCode, str]:
    """Return the code that an exception ends a call with, and what is said of it.

    Of exceptions that are not meant for a client, and of faults of ours, nothing is said.
    """
    if isinstance(error, ModelNotReady):
        return StatusCode.UNAVAILABLE, f"{error} Try again shortly."
    if not isinstance(error, MLServerError):
        return StatusCode.INTERNAL, _INTERNAL
    usual = (
        StatusCode.INTERNAL if error.status_code >= _SERVER_FAULTS else StatusCode.INVALID_ARGUMENT
    )
    code = _CODES.get(error.status_code, usual)
    if code is StatusCode.INTERNAL:
        return code, _INTERNAL
    said = str(error).encode("ascii", "backslashreplace").decode()
    return code, said if len(said) <= _MAX_DETAILS else f"{said[:_MAX_DETAILS]}..."


class CallCounts:
    """Counts the calls of one method.

    Parameters
    ----------
    interceptor : PromServerInterceptor
        MLServer's; its collectors are used, and it is not.
    service, method : str
        Of the calls.
    kind : str
        What the label ``grpc_type`` says.
    """

    def __init__(
        self, interceptor: PromServerInterceptor, service: str, method: str, kind: str
    ) -> None:
        theirs = interceptor._interceptor
        labels = {"grpc_type": kind, "grpc_service": service, "grpc_method": method}
        metrics = theirs._metrics
        self._labels = labels
        self._started = metrics["grpc_server_started_counter"].labels(**labels)
        self._seconds = metrics["grpc_server_handled_histogram"].labels(**labels)
        self._all_handled = theirs._grpc_server_handled_total_counter
        self._handled: dict[StatusCode, Any] = {}
        if kind == _STREAM:
            self.received = metrics["grpc_server_stream_msg_received"].labels(**labels)
            self.sent = metrics["grpc_server_stream_msg_sent"].labels(**labels)

    def start(self) -> float:
        """Count a call that begins; return when it does."""
        self._started.inc()
        return perf_counter()

    def end(self, start: float, code: StatusCode) -> None:
        """Count a call that has ended with `code`."""
        handled = self._handled.get(code)
        if handled is None:
            handled = self._handled[code] = self._all_handled.labels(
                **self._labels, grpc_code=code.name
            )
        handled.inc()
        self._seconds.observe(perf_counter() - start)


class Registrar:
    """Adds a service to a server, where MLServer's generated functions expect a server.

    Parameters
    ----------
    server : aio.Server
        Gets the service's methods, each taking and returning bytes.
    interceptor : PromServerInterceptor
        Holds MLServer's metrics.
    """

    def __init__(self, server: aio.Server, interceptor: PromServerInterceptor) -> None:
        self._server = server
        self._interceptor = interceptor

    def add_registered_method_handlers(self, service: str, handlers: Handlers) -> None:
        """Add the methods of a service.

        They are not registered one by one with gRPC: its server would then wait for each of them
        anew after every call of any.
        """
        wrapped = {
            method: self._wrap(service, method, handler) for method, handler in handlers.items()
        }
        generic = grpc.method_handlers_generic_handler(service, wrapped)
        self._server.add_generic_rpc_handlers((generic,))

    def add_generic_rpc_handlers(self, _: Any) -> None:
        """Add nothing: the same handlers come without a name here, and by name above."""

    def _wrap(
        self, service: str, method: str, handler: "grpc.RpcMethodHandler[Any, Any]"
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        kind = _STREAM if handler.response_streaming else _UNARY
        counts = CallCounts(self._interceptor, service, method, kind)
        parse = handler.request_deserializer
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                _take_stream(method, handler.stream_stream, parse, counts)
            )
        return grpc.unary_unary_rpc_method_handler(
            _take_one(method, handler.unary_unary, parse, counts)
        )


def _take_one(
    method: str, behavior: Callable[..., Awaitable[Any]], parse: Any, counts: CallCounts
) -> Callable[..., Awaitable[bytes]]:
    async def take(message: bytes, context: Context) -> bytes:
        start = counts.start()
        # What ends with no exception of these and no answer was cancelled.
        code = StatusCode.CANCELLED
        try:
            response = await behavior(_parse(parse, message), context)
            code = StatusCode.OK
            return response if type(response) is bytes else response.SerializeToString()
        except Exception as error:  # noqa: BLE001  # anything, since anyone may write a runtime
            code = _end(method, error, context)
            return b""
        finally:
            counts.end(start, code)

    return take


def _take_stream(
    method: str, behavior: Callable[..., AsyncIterator[Any]], parse: Any, counts: CallCounts
) -> Callable[..., AsyncIterator[bytes]]:
    async def parsed(messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for message in messages:
            counts.received.inc()
            yield _parse(parse, message)

    async def take(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        start = counts.start()
        code = StatusCode.CANCELLED
        try:
            async for response in behavior(parsed(messages), context):
                counts.sent.inc()
                yield response if type(response) is bytes else response.SerializeToString()
            code = StatusCode.OK
        except Exception as error:  # noqa: BLE001  # anything, since anyone may write a runtime
            code = _end(method, error, context)
        finally:
            counts.end(start, code)

    return take


def _parse(parse: Callable[[bytes], Any], message: bytes) -> Any:
    try:
        return parse(message)
    except DecodeError as error:
        raise MLServerError(
            f"the message cannot be read as a protocol buffer of its type: {error}"
        ) from error


def _end(method: str, error: Exception, context: Context) -> StatusCode:
    """Let a call end with what an exception means; return its code.

    The call is not aborted: what that raises holds the call, and the call what was raised, so that
    a refused message of megabytes would stay until the garbage collector comes by.
    """
    code, details = status_of(error)
    context.set_code(code)
    context.set_details(details)
    if isinstance(error, RefusedError | FailedError):
        return code  # the version that was asked has logged it
    if isinstance(error, MLServerError) and code is not StatusCode.INTERNAL:
        status = _UNAVAILABLE if code is StatusCode.UNAVAILABLE else error.status_code
        request_log().refused(None, status, details)
    else:
        _logger.error("%s failed", method, exc_info=error)
    return code
