"""Answer the streaming endpoints: a refusal as a refusal, and an end that says that it is one.

MLServer answers 200 before there is anything to answer with; what goes wrong then breaks the
connection, and the client cannot tell why. Here the first answer is waited for, so that a bad
request gets its 4xx, and what goes wrong later is the stream's last event: ``{"error": "..."}``.
"""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.requests import Request
from fastapi.responses import Response, StreamingResponse
from mlserver.codecs.json import encode_to_json_bytes
from mlserver.errors import MLServerError
from mlserver.handlers import DataPlane
from mlserver.rest.app import APIRoute
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import extract_headers, insert_headers
from pydantic import ValidationError

from runtimes.logs import request_log
from runtimes.opened import FailedError
from runtimes.refusals import RefusedError
from runtimes.rest_requests import check_form

_PATHS = tuple(
    f"/v2/models/{{model_name}}{version}/{verb}"
    for version in ("", "/versions/{model_version}")
    for verb in ("infer_stream", "generate_stream")
)

_logger = logging.getLogger("mlserver.abserve.streaming")
_closing: set["asyncio.Task[None]"] = set()


def answer_streams(app: FastAPI, data_plane: DataPlane) -> None:
    """Put our streaming endpoints in front of those that `app` has; the first match answers."""

    async def infer_stream(
        request: Request,
        model_name: str,
        model_version: str | None = None,
    ) -> Response:
        payload = await _read(request)
        insert_headers(payload, dict(request.headers))
        responses = _in_one_context(
            data_plane.infer_stream(_only(payload), model_name, model_version)
        )
        first = await anext(responses, None)
        headers = extract_headers(first) if first is not None else None
        return StreamingResponse(
            _to_events(first, responses), headers=headers, media_type="text/event-stream"
        )

    app.router.routes[:0] = [
        APIRoute(path, infer_stream, methods=["POST"])  # type: ignore[no-untyped-call]  # MLServer's
        for path in _PATHS
    ]


async def _read(request: Request) -> InferenceRequest:
    """Return what a request says, or raise at the first fault: pydantic would list a million."""
    body = await request.body()
    try:
        check_form(body)
        return InferenceRequest.model_validate(msgspec.json.decode(body))
    except RefusedError as error:
        refusal = error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        refusal = RefusedError("other", f"the request cannot be read: {where}: {first['msg']}")
    request_log().refused(None, refusal.status_code, str(refusal))
    raise refusal


async def _only(payload: InferenceRequest) -> AsyncIterator[InferenceRequest]:
    yield payload


async def _in_one_context(
    responses: AsyncIterator[InferenceResponse],
) -> AsyncIterator[InferenceResponse]:
    """Yield `responses`, asking for each in one and the same context.

    MLServer's stream resets context variables at its end, which Python permits only in the context
    they were set in; and a response is sent by another task than the one that began it.
    """
    context = contextvars.copy_context()

    async def ask() -> InferenceResponse | None:
        return await anext(responses, None)

    async def close() -> None:
        await responses.aclose()  # type: ignore[attr-defined]  # it is a generator

    try:
        while (response := await asyncio.create_task(ask(), context=context)) is not None:
            yield response
    finally:
        closing = asyncio.create_task(close(), context=context)
        # Kept, because the event loop itself does not keep its tasks alive; and shielded, because
        # whoever is cancelled because the client went away may be so again while it cleans up.
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
        await asyncio.shield(closing)


async def _to_events(
    first: InferenceResponse | None, others: AsyncIterator[InferenceResponse]
) -> AsyncIterator[bytes]:
    """Yield each response as an event, and what ends the stream before its time as the last."""
    try:
        if first is not None:
            yield _event(_to_json(first))
        async for response in others:
            yield _event(_to_json(response))
    except MLServerError as error:
        yield _event({"error": str(error)})
    except Exception:  # anything, since anyone may write a runtime
        _logger.exception("a stream ended with an error")
        yield _event({"error": str(FailedError())})


def _to_json(response: InferenceResponse) -> dict[str, Any]:
    # Only the first response's headers can be headers of the whole.
    extract_headers(response)
    content: dict[str, Any] = response.model_dump(  # type: ignore[no-untyped-call]  # MLServer's
        exclude_unset=True, exclude_none=True
    )
    return content


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + encode_to_json_bytes(content) + b"\n\n"
