"""Answer the readiness endpoints with 503 until the models are there.

MLServer says 200 while it has no model at all and 400 while one is loading. A gateway would send
traffic to the first and take the second for its own fault; 503 means "not now" to all of them.
"""

from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.routing import APIRoute
from mlserver.handlers import DataPlane

_OK = 200
_UNAVAILABLE = 503


def answer_readiness(app: FastAPI, data_plane: DataPlane) -> None:
    """Put our readiness endpoints in front of those that `app` has; the first match answers."""

    async def ready() -> Response:
        return Response(status_code=_OK if await data_plane.ready() else _UNAVAILABLE)

    async def model_ready(model_name: str, model_version: str | None = None) -> Response:
        is_ready = await data_plane.model_ready(model_name, model_version)
        return Response(status_code=_OK if is_ready else _UNAVAILABLE)

    app.router.routes[:0] = [
        APIRoute("/v2/health/ready", ready),
        APIRoute("/v2/models/{model_name}/ready", model_ready),
        APIRoute("/v2/models/{model_name}/versions/{model_version}/ready", model_ready),
    ]
