"""The peers people write themselves: FastAPI with scikit-learn, and the floor below it."""

import os
from typing import Any

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

_ANSWER = b'{"model_name":"iris","outputs":[]}'


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    id: str | None = None
    inputs: list[Tensor]


app = FastAPI()
# The benchmark wrote this file itself, a moment ago.
_model = joblib.load(os.environ["BENCHMARK_MODEL"])


@app.get("/v2/models/iris/ready")
def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/v2/models/iris/infer")
async def infer(request: Request) -> dict[str, Any]:
    """Answer with the label and the probabilities, as ours does."""
    tensor = request.inputs[0]
    rows = np.array(tensor.data).reshape(tensor.shape)
    probability = _model.predict_proba(rows)
    labels = _model.classes_[probability.argmax(axis=1)]
    return {"label": labels.tolist(), "probability": probability.tolist()}


async def constant(scope: Any, receive: Any, send: Any) -> None:
    """Answer everything with the same bytes."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_ANSWER)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _ANSWER})
