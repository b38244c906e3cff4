"""Ask a server with tritonclient, and print what it says: ``python triton_grpc.py ADDRESS``.

A process of its own, because tritonclient and MLServer each bring the protocol's messages, under
the same names, and protobuf takes them once in a process.
"""

import json
import sys
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]])


def features(datatype: str, dtype: str) -> InferInput:
    tensor = InferInput("features", [2, 4], datatype)
    tensor.set_data_from_numpy(ROWS.astype(dtype))
    return tensor


def ask(client: InferenceServerClient) -> dict[str, Any]:
    asked = client.infer(
        "iris", [features("FP32", "f4")], model_version="v1", request_id="t-1", headers={"a": "b"}
    )
    wanted = [InferRequestedOutput("probability")]
    chosen = client.infer("iris", [features("FP64", "f8")], outputs=wanted)
    metadata = client.get_model_metadata("iris")
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready() and client.is_model_ready("iris", "v1"),
        "server": client.get_server_metadata().name,
        "inputs": [each.name for each in metadata.inputs],
        "index": sorted({each.state for each in client.get_model_repository_index().models}),
        "id": asked.get_response().id,
        "version": asked.get_response().model_version,
        "label": [each.decode() for each in asked.as_numpy("label").ravel()],
        "class_index": asked.as_numpy("class_index").ravel().tolist(),
        "probability": asked.as_numpy("probability").shape,
        "chosen": [each.name for each in chosen.get_response().outputs],
        "sum": float(chosen.as_numpy("probability").sum()),
    }


if __name__ == "__main__":
    with InferenceServerClient(sys.argv[1]) as opened:
        sys.stdout.write(json.dumps(ask(opened)))
