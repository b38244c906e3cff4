"""Ask a gateway with tritonclient over gRPC: ``python triton_gateway.py ADDRESS '{...}'``.

The second argument says what to send: `headers`, `units` (None for a call of no unit), and
optionally `certificates`, a file for TLS. Prints who answered each, or the error that ended it.
A process of its own for the reason that `triton_grpc.py` gives.
"""

import json
import sys
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException


def ask(address: str, wanted: dict[str, Any]) -> dict[str, Any]:
    tensor = InferInput("features", [1, 4], "FP64")
    tensor.set_data_from_numpy(np.array([[5.1, 3.5, 1.4, 0.2]]))
    certificates = wanted.get("certificates")
    versions = []
    with InferenceServerClient(
        address, ssl=certificates is not None, root_certificates=certificates
    ) as client:
        try:
            for unit in wanted["units"]:
                headers = {**wanted["headers"], **({"x-unit-id": unit} if unit else {})}
                answer = client.infer("iris", [tensor], headers=headers, client_timeout=10)
                versions.append(answer.get_response().model_version)
        except InferenceServerException as error:
            return {"versions": versions, "status": error.status(), "message": error.message()}
    return {"versions": versions}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(ask(sys.argv[1], json.loads(sys.argv[2]))))
