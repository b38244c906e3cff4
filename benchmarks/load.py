"""Load from outside, and what it found: wrk for REST, h2load for gRPC."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abserve.errors import AbserveError
from benchmarks.bodies import Bodies
from benchmarks.cases import Form
from benchmarks.services import Running

GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"

# What Debian calls the packages, by the command in them.
_PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client"}
_SCRIPT = Path(__file__).with_name("load.lua")
_CONTENT_TYPES = {Form.JSON: "application/json", Form.BINARY: "application/octet-stream"}
_MICROSECOND = 1e-6
# A load generator that does not end by itself is stuck.
_PATIENCE_SECONDS = 60
# An answer may be a little shorter than another, its numbers being others.
_SHORTEST_ANSWER = 0.8
_HTTP_OK = 200


class LoadError(AbserveError):
    """The load cannot be made, or what it met were not answers; the message says which."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One service under one load for some seconds."""

    n_requests: int
    requests_per_second: float
    p50_seconds: float
    p99_seconds: float


def require_generators() -> None:
    """Check that wrk and h2load are installed.

    Raises
    ------
    LoadError
        If not; the message says how to install them.
    """
    if missing := [command for command in _PACKAGES if shutil.which(command) is None]:
        packages = " ".join(_PACKAGES.values())
        raise LoadError(
            f"{' and '.join(missing)} not found, which the load comes from; "
            f"on Debian: apt-get install {packages}"
        )


def put_under_load(
    target: Running,
    bodies: Bodies,
    n_connections: int,
    seconds: int,
    *,
    turn: int = 0,
    answer_bytes: int = 0,
) -> Sample:
    """Send requests as fast as they are answered, one at a time on each connection.

    Parameters
    ----------
    target, bodies : Running, Bodies
        Who is asked, and what.
    n_connections, seconds : int
        How many ask at a time, and for how long.
    turn : int
        Which body is sent where only one can be: h2load knows no other way.
    answer_bytes : int
        Length of a proper answer. gRPC says that a request failed after HTTP said that it went
        well, and h2load hears only that; but a refusal carries no message.

    Raises
    ------
    LoadError
        If some requests were refused or got no answer.
    """
    if bodies.form in _CONTENT_TYPES:
        return _wrk(target, bodies, n_connections, seconds)
    return _h2load(target, bodies, n_connections, seconds, turn, answer_bytes)


def _wrk(target: Running, bodies: Bodies, n_connections: int, seconds: int) -> Sample:
    said = _run(
        ["wrk", "-t1", f"-c{n_connections}", f"-d{seconds}s", "-s", str(_SCRIPT)],
        [target.infer_url, "--", _CONTENT_TYPES[bodies.form], str(bodies.head_bytes)],
        list(map(str, bodies.paths)),
        seconds=seconds,
    )
    found = json.loads(said.splitlines()[-1])
    if found["refused"] or found["broken"] or not found["requests"]:
        raise LoadError(
            f"{target.service} refused {found['refused']} of {found['requests']} requests, and "
            f"gave no answer to {found['broken']}"
        )
    return Sample(
        n_requests=found["requests"],
        requests_per_second=round(found["requests"] / (found["duration"] * _MICROSECOND), 1),
        p50_seconds=round(found["p50"] * _MICROSECOND, 6),
        p99_seconds=round(found["p99"] * _MICROSECOND, 6),
    )


def _h2load(
    target: Running,
    bodies: Bodies,
    n_connections: int,
    seconds: int,
    turn: int,
    answer_bytes: int,
) -> Sample:
    body = bodies.paths[turn % len(bodies.paths)]
    log = body.with_name("h2load.log")
    log.unlink(missing_ok=True)
    said = _run(
        ["h2load", "-t1", f"-c{n_connections}", "-m1", f"-D{seconds}", f"--log-file={log}"],
        ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"],
        [f"http://127.0.0.1:{target.grpc_port}{GRPC_METHOD}"],
        seconds=seconds,
    )
    # Columns: start in microseconds since 1970, HTTP status, microseconds until the end.
    lines = np.loadtxt(log, dtype=np.int64, usecols=(0, 1, 2), ndmin=2)
    n_requests = len(lines)
    received = int(re.findall(r"traffic:.*\((\d+)\) data", said)[0])
    if not n_requests or (lines[:, 1] != _HTTP_OK).any():
        raise LoadError(f"{target.service} refused requests or answered none: {said}")
    if received < _SHORTEST_ANSWER * answer_bytes * n_requests:
        raise LoadError(
            f"{target.service} answered {n_requests} requests with {received} bytes, where one "
            f"answer has {answer_bytes}: some were refused"
        )
    p50, p99 = (np.percentile(lines[:, 2], [50, 99]) * _MICROSECOND).round(6).tolist()
    return Sample(n_requests, n_requests / seconds, p50, p99)


def _run(*parts: list[str], seconds: int) -> str:
    command = [word for part in parts for word in part]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            text=True,
            timeout=seconds + _PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"{command[0]} did not end {_PATIENCE_SECONDS} s after its time") from error
    if done.returncode != 0:
        raise LoadError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
