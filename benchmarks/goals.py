"""What is aimed at, and whether a run reached it."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cases import FOREST, LINEAR, Case, Form, Service
from benchmarks.memory import ManyModels, ManyRequests
from benchmarks.rounds import Figures

_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal; `met` is None if it was not measured."""

    case: str
    goal: str
    measured: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class Results:
    """Everything one run found. What it did not measure is None; `problems` may say why."""

    figures: Figures
    many_models: ManyModels | None
    many_requests: ManyRequests | None
    problems: tuple[str, ...]


# Model, form, rows, connections; the peer, and how many times its requests per second are due.
_RATIOS = (
    (LINEAR, Form.JSON, 1, 8, Service.STOCK, 10.0),
    (LINEAR, Form.JSON, 1, 8, Service.BY_HAND, 7.0),
    (LINEAR, Form.JSON, 1, 8, Service.FLOOR, 0.4),
    (FOREST, Form.JSON, 1, 8, Service.STOCK, 60.0),
    (LINEAR, Form.JSON, 1024, 8, Service.STOCK, 3.0),
    (LINEAR, Form.BINARY, 1024, 8, Service.STOCK, 8.0),
    (FOREST, Form.JSON, 1024, 8, Service.STOCK, 3.0),
    (FOREST, Form.BINARY, 1024, 8, Service.STOCK, 8.0),
    (LINEAR, Form.GRPC, 1, 1, Service.STOCK, 2.0),
    (LINEAR, Form.GRPC, 1, 8, Service.STOCK, 2.0),
)
_P99_SECONDS = 1e-3
_MANY_MODELS_RATIO = 0.9
_BYTES_PER_MODEL = 2 * _MEGABYTE
_GROWTH = 0.05


def judge(results: Results) -> list[Goal]:
    """Return every goal, with what was measured."""
    return [
        *_ratios(results.figures),
        *_latencies(results.figures),
        *_many_models(results.many_models),
        _many_requests(results.many_requests),
    ]


def _ratios(figures: Figures) -> Iterator[Goal]:
    for model, form, n_rows, n_connections, peer, wanted in _RATIOS:
        case = Case(model, form, n_rows, n_connections)
        other = case.compared_with(peer)
        ratio = figures.ratio(case, peer)
        against = f"{peer}'s {other.form}" if other and other.form != form else str(peer)
        measured = None if ratio is None else f"{ratio:.2f} x"
        if (case, Service.OURS) in figures.of and figures.get(case, Service.OURS) is None:
            measured = "no answer"
        yield _judge(
            f"{case.title}, {form}",
            f"at least {wanted:g} x {against}",
            measured,
            ratio is not None and ratio >= wanted,
        )


def _latencies(figures: Figures) -> Iterator[Goal]:
    for model in (LINEAR, FOREST):
        case = Case(model, Form.JSON, 1, 1)
        figure = figures.get(case, Service.OURS)
        yield _judge(
            f"{case.title}, {case.form}",
            "p99 under 1 ms",
            None if figure is None else f"{figure.p99_seconds * 1000:.2f} ms",
            figure is not None and figure.p99_seconds < _P99_SECONDS,
        )


def _many_models(found: ManyModels | None) -> Iterator[Goal]:
    yield _judge(
        "100 models in one server",
        "at least 0.9 x one model's requests/s",
        None if found is None else f"{found.ratio:.2f} x",
        found is not None and found.ratio >= _MANY_MODELS_RATIO,
    )
    yield _judge(
        "each model more",
        "under 2 MB of memory",
        None if found is None else f"{found.bytes_per_model / _MEGABYTE:.2f} MB",
        found is not None and found.bytes_per_model < _BYTES_PER_MODEL,
    )


def _many_requests(found: ManyRequests | None) -> Goal:
    return _judge(
        "1,000,000 requests" if found is None else f"{found.n_requests:,} requests",
        "memory grows under 5 %",
        None if found is None else f"{found.growth:+.1%}",
        found is not None and found.growth < _GROWTH,
    )


def _judge(case: str, goal: str, measured: str | None, met: bool) -> Goal:
    return Goal(case, goal, measured or "not measured", met if measured else None)
