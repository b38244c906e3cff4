"""The requests that are sent, in each form, as files that a load generator can read.

What is not plain JSON is made by tritonclient and its messages: a client nobody here wrote.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tritonclient.http
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from tritonclient.grpc import service_pb2

from benchmarks.cases import Form

Rows = NDArray[np.float32]

# Enough that no cache of a service is flattered; a large request differs in itself.
_N_SMALL, _N_LARGE = 64, 8
_LARGE_ROWS = 100
_SEED = 7


@dataclass(frozen=True, slots=True)
class Bodies:
    """Requests of one form and size; `head_bytes` is the length of a binary one's JSON head."""

    form: Form
    n_rows: int
    paths: tuple[Path, ...]
    head_bytes: int = 0

    def first(self) -> bytes:
        return self.paths[0].read_bytes()


def write_bodies(folder: Path, form: Form, n_rows: int, model: str) -> Bodies:
    """Write different requests with `n_rows` rows each into `folder`, the same at every call."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, head_bytes = [], 0
    for i, rows in enumerate(_draw(n_rows)):
        match form:
            case Form.JSON:
                body = _json(rows)
            case Form.BINARY:
                body, head_bytes = _binary(rows)
            case Form.GRPC:
                body = _grpc(rows, model, raw=False)
            case Form.GRPC_RAW:
                body = _grpc(rows, model, raw=True)
        path = folder / f"{form.name.lower()}-{n_rows}-{i}"
        path.write_bytes(body)
        paths.append(path)
    return Bodies(form, n_rows, tuple(paths), head_bytes)


def _draw(n_rows: int) -> Iterator[Rows]:
    """Give rows as Fisher might have measured them, to a hundredth of a centimetre."""
    random = np.random.default_rng(_SEED)
    measured = load_iris().data
    low, high = measured.min(axis=0), measured.max(axis=0)
    for _ in range(_N_LARGE if n_rows > _LARGE_ROWS else _N_SMALL):
        rows = measured[random.integers(len(measured), size=n_rows)]
        rows = rows + random.normal(scale=0.1, size=rows.shape)
        yield np.clip(rows, low, high).round(2).astype(np.float32)


def _json(rows: Rows) -> bytes:
    # By way of text, so that 5.1 is sent and not 5.099999904632568.
    data = [float(str(value)) for value in rows.ravel()]
    tensor = {"name": "features", "shape": list(rows.shape), "datatype": "FP32", "data": data}
    # Stock MLServer answers with its labels only: it is not asked for more.
    return json.dumps({"inputs": [tensor]}).encode()


def _binary(rows: Rows) -> tuple[bytes, int]:
    tensor = tritonclient.http.InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=True)
    outputs = [
        tritonclient.http.InferRequestedOutput(name, binary_data=True)
        for name in ("label", "probability")
    ]
    client = tritonclient.http.InferenceServerClient
    body, head_bytes = client.generate_request_body([tensor], outputs=outputs)
    return body, head_bytes


def _grpc(rows: Rows, model: str, *, raw: bool) -> bytes:
    """Return a message with the prefix it has on the wire: not compressed, and its length."""
    request = service_pb2.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="features", shape=rows.shape, datatype="FP32")
    if raw:
        request.raw_input_contents.append(rows.tobytes())
    else:
        tensor.contents.fp32_contents.extend(rows.ravel().tolist())
    message: bytes = request.SerializeToString()
    return struct.pack(">BL", 0, len(message)) + message
