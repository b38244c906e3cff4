"""What the gateway says itself: the answers that no version gave, and its access log.

An answer of the gateway's own has the body ``{"error": "..."}``, like a version's, or over gRPC
the same words as the status' message.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abserve.gateway.envoy import extension, typed

METADATA = "abserve"
"""Under which clusters say whose they are."""

_SAID = "%LOCAL_REPLY_BODY%"
_PODS = "'kubectl get pods' shows what holds its replicas up"

_UNKNOWN_PATH = (
    "no SeldonDeployment is served at this path; expected /seldon/<namespace>/<name>/v2/..., where "
    "'kubectl get sdep' shows the deployment as Available"
)
_UNKNOWN_NAME = (
    "no SeldonDeployment is served by this name; expected a method of "
    "inference.GRPCInferenceService and the metadata seldon: <name>, namespace: <namespace>, where "
    "'kubectl get sdep' shows the deployment as Available"
)

# By Envoy's response flags: what happened to the request.
_BY_FLAG = {
    "UH": f"no replica of this predictor is ready; {_PODS}",
    "NC": "this predictor is being replaced; send the request again",
    "UF": f"this predictor's replica cannot be reached; {_PODS}",
    "UC": f"this predictor's replica ended before it answered; {_PODS}",
    "UR": f"this predictor's replica broke the request off; {_PODS}",
    "UT": (
        "the version did not answer in time; see the deployment's annotation "
        "seldon.io/istio-retries-timeout"
    ),
}
_BY_STATUS = {
    400: "this is no valid HTTP; see the request's first line, its headers and the body's length",
    401: f"{_SAID}; send 'authorization: Bearer <token>' with a token of the configured issuer",
    403: f"{_SAID}; send a token of the configured audience",
    404: _UNKNOWN_PATH,
    408: f"{_SAID}; send the whole request sooner",
    413: f"{_SAID}; send fewer rows in one request",
    426: "send HTTP/1.1 or HTTP/2",
    429: "more requests than this gateway takes in a second; send fewer, or this one again later",
    431: f"{_SAID}; send fewer or shorter headers",
}


def reply_configuration() -> dict[str, Any]:
    """Return how the gateway's own answers look."""
    mappers = [{"filter": _both(_GRPC, _status(404)), "body_format_override": _text(_UNKNOWN_NAME)}]
    for which, words in (
        *((_flagged(flag), words) for flag, words in _BY_FLAG.items()),
        *((_status(status), words) for status, words in _BY_STATUS.items()),
    ):
        mappers += [
            {"filter": _both(_GRPC, which), "body_format_override": _text(words)},
            {"filter": which, "body_format_override": _json(words)},
        ]
    mappers.append({"filter": _GRPC, "body_format_override": _text(_SAID)})
    return {"mappers": mappers, "body_format": _json(_SAID)}


def access_log(path: Path) -> dict[str, Any]:
    """Return the log that gets a JSON object a line for each request.

    Neither headers nor the query are in it: tokens may be, and the unit is somebody.
    """
    line = {
        "start_time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "authority": "%REQ(:AUTHORITY)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS_NUMBER%",
        "response_flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        **{
            part: f"%CLUSTER_METADATA({METADATA}:{part})%"
            for part in ("namespace", "deployment", "predictor")
        },
        "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
        "upstream_host": "%UPSTREAM_HOST%",
    }
    return extension(
        "envoy.access_loggers.file",
        typed(
            "extensions.access_loggers.file.v3.FileAccessLog",
            path=str(path),
            log_format={"json_format": line},
        ),
    )


_GRPC = {
    "header_filter": {
        "header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    }
}


def _flagged(flag: str) -> dict[str, Any]:
    return {"response_flag_filter": {"flags": [flag]}}


def _status(status: int) -> dict[str, Any]:
    # Envoy wants a name under which its runtime could change the value; nobody does.
    value = {"default_value": status, "runtime_key": f"abserve.status_{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _both(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": [first, second]}}


def _text(words: str) -> dict[str, Any]:
    return {"text_format_source": {"inline_string": words}}


def _json(words: str) -> dict[str, Any]:
    return {"json_format": {"error": words}}
