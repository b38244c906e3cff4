"""Look at one answer before the load: that it is one, for every row, in the form asked for."""

import grpc
import requests
import tritonclient.http
from tritonclient.grpc import service_pb2

from benchmarks.bodies import Bodies
from benchmarks.cases import Form, Service
from benchmarks.load import GRPC_METHOD, LoadError
from benchmarks.services import Running

_PREFIX_BYTES = 5
_SECONDS = 30
_OUTPUTS = {"label", "probability"}


def check_answer(target: Running, bodies: Bodies) -> int:
    """Send the first request, and return the length of its answer in bytes.

    Ours owes labels and probabilities for every row, stock MLServer one output, FastAPI the same
    as ours in its own words; the floor owes nothing but a reply.

    Raises
    ------
    LoadError
        If the service does not answer it, with the reason it gives.
    """
    if bodies.form in {Form.GRPC, Form.GRPC_RAW}:
        return _check_grpc(target, bodies)
    headers = {"Content-Type": "application/json"}
    if bodies.form == Form.BINARY:
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(bodies.head_bytes),
        }
    response = requests.post(
        target.infer_url, data=bodies.first(), headers=headers, timeout=_SECONDS
    )
    if not response.ok:
        raise LoadError(f"HTTP {response.status_code}: {' '.join(response.text.split())}")
    if bodies.form == Form.BINARY:
        _check_binary(response, bodies.n_rows)
    elif target.service == Service.BY_HAND:
        _check_rows({name: len(rows) for name, rows in response.json().items()}, target, bodies)
    elif target.service != Service.FLOOR:
        _check_rows(
            {output["name"]: output["shape"][0] for output in response.json()["outputs"]},
            target,
            bodies,
        )
    return len(response.content)


def _check_binary(response: requests.Response, n_rows: int) -> None:
    length = response.headers.get("Inference-Header-Content-Length")
    if length is None:
        raise LoadError("it answers with JSON alone, where binary tensors were asked for")
    result = tritonclient.http.InferenceServerClient.parse_response_body(
        response.content, header_length=int(length)
    )
    labels, probability = result.as_numpy("label"), result.as_numpy("probability")
    if labels is None or len(labels) != n_rows or probability is None or len(probability) != n_rows:
        raise LoadError("its binary answer lacks rows")


def _check_grpc(target: Running, bodies: Bodies) -> int:
    with grpc.insecure_channel(f"127.0.0.1:{target.grpc_port}") as channel:
        call = channel.unary_unary(GRPC_METHOD)
        try:
            message = call(bodies.first()[_PREFIX_BYTES:], timeout=_SECONDS)
        except grpc.RpcError as error:
            raise LoadError(f"gRPC {error.code().name}: {error.details()}") from error
    outputs = service_pb2.ModelInferResponse.FromString(message).outputs
    _check_rows({output.name: output.shape[0] for output in outputs}, target, bodies)
    return _PREFIX_BYTES + len(message)


def _check_rows(n_rows: dict[str, int], target: Running, bodies: Bodies) -> None:
    complete = target.service == Service.STOCK or n_rows.keys() >= _OUTPUTS
    if not n_rows or not complete or set(n_rows.values()) != {bodies.n_rows}:
        raise LoadError(f"its answer has rows {n_rows}, where {bodies.n_rows} of each are due")
