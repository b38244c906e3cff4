"""Endpoints that MLServer leaves open on the inference port, and that we close.

Whoever can ask for an inference could unload a model, or make the server read a folder again: on
Kubernetes and on the local cluster, versions are changed by the SeldonDeployment alone. The pages
of the API's description load their scripts from elsewhere.
"""

import os

from fastapi import FastAPI

LOADING_VARIABLE = "ABSERVE_REPOSITORY_API"

_LOADING = "/v2/repository/models/"
_DESCRIPTIONS = ("/docs", "/docs/dataplane.json", "/openapi.json")


def loading_is_open() -> bool:
    """Return whether the environment leaves loading and unloading open."""
    return os.environ.get(LOADING_VARIABLE, "").lower() == "true"


def close_open_endpoints(app: FastAPI) -> None:
    """Take loading, unloading and the API's description out of `app`; they answer 404 then.

    ``ABSERVE_REPOSITORY_API=true`` leaves loading and unloading open.
    """
    loads = loading_is_open()

    def stays(path: str) -> bool:
        closed = path.endswith(_DESCRIPTIONS)
        return not closed and (loads or not path.startswith(_LOADING))

    app.router.routes[:] = [
        route for route in app.router.routes if stays(getattr(route, "path", ""))
    ]
