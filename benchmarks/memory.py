"""What many models, and many requests, cost one server of ours."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil
import requests

from benchmarks.answers import check_answer
from benchmarks.bodies import write_bodies
from benchmarks.cases import Form, Service
from benchmarks.load import Sample, put_under_load
from benchmarks.models import NAME, Prepared, copy_many
from benchmarks.services import Running, running

N_MODELS = 100

_CONNECTIONS = 8
# More than for the table: what is looked for is a difference of a tenth.
_N_ROUNDS = 5
_WARM_UP_SECONDS = 1
# So that what a model keeps from its first requests on is there when memory is read.
_N_FIRST_REQUESTS = 10
_N_WARM_UP = 20_000
# The memory is read between chunks of this length.
_CHUNK_SECONDS = 10


@dataclass(frozen=True, slots=True)
class ManyModels:
    """One model's server beside that of many: the load on a single model, and the memory."""

    n_models: int
    one: tuple[Sample, ...]
    many: tuple[Sample, ...]
    one_bytes: int
    many_bytes: int

    @property
    def ratio(self) -> float:
        """Requests per second with many models, as a part of those with one."""
        return _rate(self.many) / _rate(self.one)

    @property
    def bytes_per_model(self) -> float:
        return (self.many_bytes - self.one_bytes) / (self.n_models - 1)


@dataclass(frozen=True, slots=True)
class ManyRequests:
    """Resident memory over many requests: how many had been answered, and what was in use."""

    readings: tuple[tuple[int, int], ...]

    @property
    def n_requests(self) -> int:
        return self.readings[-1][0]

    @property
    def growth(self) -> float:
        """What was added to the memory in use after the warm-up, as a part of it."""
        before, after = self.readings[0][1], self.readings[-1][1]
        return after / before - 1


def measure_many_models(
    prepared: Prepared, folder: Path, seconds: int, report: Callable[[str], None]
) -> ManyModels:
    """Serve one model and a hundred, and put load on the same one of each, in turn.

    Raises
    ------
    ServiceError
        If a server does not start.
    LoadError
        If it refuses requests.
    """
    report(f"{N_MODELS} models: writing and loading them")
    copy_many(prepared.ours, folder / "many", N_MODELS)
    crowd = replace(prepared, ours=folder / "many")
    bodies = write_bodies(folder / "bodies", Form.JSON, 1, NAME)
    samples: tuple[list[Sample], list[Sample]] = [], []
    with (
        running(Service.OURS, prepared, folder / "logs" / "one.log") as one,
        running(Service.OURS, crowd, folder / "logs" / "many.log") as many,
    ):
        names = sorted(path.name for path in crowd.ours.iterdir() if path.is_dir())
        for target, models in ((one, [NAME]), (many, names)):
            check_answer(target, bodies)
            _ask_each(target, models, bodies.first())
            put_under_load(target, bodies, _CONNECTIONS, _WARM_UP_SECONDS)
        in_use = _resident_bytes(one), _resident_bytes(many)
        for turn in range(_N_ROUNDS):
            report(f"{N_MODELS} models: round {turn + 1} of {_N_ROUNDS}")
            for target, taken in zip((one, many), samples, strict=True):
                taken.append(put_under_load(target, bodies, _CONNECTIONS, seconds))
    return ManyModels(len(names), tuple(samples[0]), tuple(samples[1]), *in_use)


def measure_many_requests(
    prepared: Prepared, folder: Path, n_requests: int, report: Callable[[str], None]
) -> ManyRequests:
    """Read the memory of one server before, between and after many requests.

    Raises
    ------
    ServiceError
        If the server does not start.
    LoadError
        If it refuses requests.
    """
    bodies = write_bodies(folder / "bodies", Form.JSON, 1, NAME)
    with running(Service.OURS, prepared, folder / "logs" / "requests.log") as target:
        check_answer(target, bodies)
        n_sent, rate = 0, math.inf
        while n_sent < _N_WARM_UP:
            report("many requests: warm-up")
            sample = put_under_load(target, bodies, _CONNECTIONS, _WARM_UP_SECONDS)
            n_sent += sample.n_requests
            rate = sample.requests_per_second
        n_sent, readings = 0, [(0, _resident_bytes(target))]
        while n_sent < n_requests:
            report(f"many requests: {n_sent:,} of {n_requests:,}")
            # wrk counts seconds, not requests; the last chunk is about as long as it has to be.
            seconds = math.ceil((n_requests - n_sent) / rate)
            sample = put_under_load(target, bodies, _CONNECTIONS, min(seconds, _CHUNK_SECONDS))
            n_sent += sample.n_requests
            rate = sample.requests_per_second
            readings.append((n_sent, _resident_bytes(target)))
    return ManyRequests(tuple(readings))


def _ask_each(target: Running, models: list[str], body: bytes) -> None:
    with requests.Session() as session:
        for model in models:
            url = f"http://127.0.0.1:{target.http_port}/v2/models/{model}/infer"
            for _ in range(_N_FIRST_REQUESTS):
                headers = {"Content-Type": "application/json"}
                session.post(url, data=body, headers=headers, timeout=30).raise_for_status()


def _resident_bytes(target: Running) -> int:
    """Return the memory in use by the server's process, and by those it has started."""
    process = psutil.Process(target.process_id)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def _rate(samples: tuple[Sample, ...]) -> float:
    return median(sample.requests_per_second for sample in samples)
