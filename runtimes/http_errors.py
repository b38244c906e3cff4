"""Answer every refused request in the one shape that the protocol knows: ``{"error": "..."}``.

MLServer leaves what FastAPI refuses to FastAPI, which answers in shapes of its own and sends a
malformed request's whole body back.
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from mlserver.errors import ModelNotReady
from starlette.exceptions import HTTPException

_BAD_REQUEST = 400
_NOT_FOUND = 404
_NOT_ALLOWED = 405
_INTERNAL = 500
_UNAVAILABLE = 503
_MAX_FAULTS = 3
_MAX_CHARS = 300


def answer_errors_as_json(app: FastAPI) -> None:
    """Add our exception handlers to `app`; MLServer's own, for its own errors, stays."""
    app.add_exception_handler(RequestValidationError, _answer_malformed)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(ModelNotReady, _answer_not_ready)
    app.add_exception_handler(Exception, _answer_crash)


async def _answer_malformed(request: Request, error: Exception) -> Response:
    faults: list[Any] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    described = "; ".join(_describe(fault) for fault in faults[:_MAX_FAULTS])
    if len(faults) > _MAX_FAULTS:
        described += f"; and {len(faults) - _MAX_FAULTS} more"
    if "json" not in request.headers.get("content-type", "json"):
        described += "; send the header 'content-type: application/json'"
    return _error(_BAD_REQUEST, f"the request cannot be read: {described}")


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
    return _error(error.status_code, message, error.headers)


async def _answer_not_ready(_: Request, error: Exception) -> Response:
    return _error(_UNAVAILABLE, f"{error} Try again shortly.")


async def _answer_crash(_: Request, __: Exception) -> Response:
    return _error(_INTERNAL, "internal error; the server's log has the reason")


def _error(status_code: int, message: str, headers: Any = None) -> Response:
    return JSONResponse({"error": message}, status_code, headers=headers)
