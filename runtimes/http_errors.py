"""Answer every refused request in the one shape that the protocol knows: ``{"error": "..."}``.

MLServer leaves what FastAPI refuses to FastAPI, which answers in shapes of its own and sends a
malformed request's whole body back. What is refused here has reached no version, whose runtime
would have logged it; so it is logged here.
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from mlserver.errors import ModelNotFound, ModelNotReady
from starlette.exceptions import HTTPException

from runtimes.logs import request_log
from runtimes.opened import FailedError

_BAD_REQUEST = 400
_NOT_FOUND = 404
_NOT_ALLOWED = 405
_UNAVAILABLE = 503
_MAX_FAULTS = 3
_MAX_CHARS = 300


def answer_errors_as_json(app: FastAPI) -> None:
    """Add our exception handlers to `app`; MLServer's own, for its own errors, stays."""
    app.add_exception_handler(RequestValidationError, _answer_malformed)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(ModelNotFound, _answer_not_found)
    app.add_exception_handler(ModelNotReady, _answer_not_ready)
    app.add_exception_handler(Exception, _answer_crash)


async def _answer_malformed(request: Request, error: Exception) -> Response:
    faults: list[Any] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    described = "; ".join(_describe(fault) for fault in faults[:_MAX_FAULTS])
    if len(faults) > _MAX_FAULTS:
        described += f"; and {len(faults) - _MAX_FAULTS} more"
    sent_as = request.headers.get("content-type", "application/json")
    if sent_as.partition(";")[0].strip().lower() != "application/json":
        described += "; send the header 'content-type: application/json'"
    return _refuse(_BAD_REQUEST, f"the request cannot be read: {described}")


def _describe(fault: dict[str, Any]) -> str:
    """Say where and what is wrong; never the input itself, which may be megabytes."""
    if fault["type"] == "json_invalid":
        return f"the body is not JSON: {fault['ctx']['error']}"[:_MAX_CHARS]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}"[:_MAX_CHARS]


async def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    message = str(error.detail)
    if error.status_code == _NOT_FOUND:
        message = "nothing is served at this path; models answer at /v2/models/<name>/infer"
    elif error.status_code == _NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{request.method} is not allowed at this path; expected {allowed}"
    return _refuse(error.status_code, message, error.headers)


async def _answer_not_found(_: Request, error: Exception) -> Response:
    # The message names what was asked for, at any length and in any characters.
    status = error.status_code if isinstance(error, ModelNotFound) else _NOT_FOUND
    return _refuse(status, ascii(str(error)[:_MAX_CHARS])[1:-1])


async def _answer_not_ready(_: Request, error: Exception) -> Response:
    return _refuse(_UNAVAILABLE, f"{error} Try again shortly.")


async def _answer_crash(_: Request, __: Exception) -> Response:
    # uvicorn logs the exception, since Starlette lets it pass as well.
    failed = FailedError()
    return _error(failed.status_code, str(failed))


def _refuse(status_code: int, message: str, headers: Any = None) -> Response:
    request_log().refused(None, status_code, message)
    return _error(status_code, message, headers)


def _error(status_code: int, message: str, headers: Any = None) -> Response:
    return JSONResponse({"error": message}, status_code, headers=headers)
