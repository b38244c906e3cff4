import importlib
from pathlib import Path

import pytest
from mlserver.errors import MLServerError
from mlserver.types import InferenceRequest, RequestInput, RequestOutput
from prometheus_client import REGISTRY

import runtimes.tabular
from runtimes.metrics import collectors
from runtimes.tabular import TabularClassifier
from tests.runtimes.conftest import make_runtime
from tests.runtimes.versions import SETOSA, VIRGINICA


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"model": "iris", "version": "v1", **labels})


def test_collectors_are_made_once() -> None:
    importlib.reload(runtimes.tabular)
    assert collectors() is collectors()


async def test_a_version_may_be_loaded_again(version_folder: Path) -> None:
    assert await make_runtime(version_folder).load()


async def test_rows_are_counted_by_predicted_class(runtime: TabularClassifier) -> None:
    before = {
        name: sample("abserve_predictions_total", label=name)
        for name in ("setosa", "versicolor", "virginica")
    }
    rows = [*SETOSA, *VIRGINICA, *VIRGINICA]
    tensor = RequestInput(name="features", datatype="FP32", shape=[3, 4], data=rows)
    await runtime.predict(InferenceRequest(inputs=[tensor]))
    added = {
        name: sample("abserve_predictions_total", label=name) - count
        for name, count in before.items()
    }
    assert added == {"setosa": 1, "versicolor": 0, "virginica": 2}


async def test_an_answered_request_is_counted_and_timed(
    runtime: TabularClassifier, request_: InferenceRequest
) -> None:
    before = sample("abserve_requests_total", outcome="ok")
    timed = sample("abserve_inference_seconds_count")
    await runtime.predict(request_)
    assert sample("abserve_requests_total", outcome="ok") == before + 1
    assert sample("abserve_inference_seconds_count") == timed + 1


async def test_a_refused_request_is_counted_but_not_timed(
    runtime: TabularClassifier, request_: InferenceRequest
) -> None:
    before = sample("abserve_requests_total", outcome="rejected")
    timed = sample("abserve_inference_seconds_count")
    request_.outputs = [RequestOutput(name="nope")]
    with pytest.raises(MLServerError):
        await runtime.predict(request_)
    assert sample("abserve_requests_total", outcome="rejected") == before + 1
    assert sample("abserve_inference_seconds_count") == timed


async def test_a_client_cannot_make_time_series(
    runtime: TabularClassifier, request_: InferenceRequest
) -> None:
    await runtime.predict(request_)
    before = count_series()
    for i in range(20):
        request_.id = f"made-up-{i}"
        request_.outputs = [RequestOutput(name=f"made-up-{i}")]
        with pytest.raises(MLServerError):
            await runtime.predict(request_)
    assert count_series() == before


def count_series() -> int:
    return sum(len(metric.samples) for metric in REGISTRY.collect())


async def test_a_version_says_where_it_comes_from(runtime: TabularClassifier) -> None:
    labels = {"git_commit": "0123abc", "trained_at": "2025-01-02T03:04:05+00:00"}
    assert sample("abserve_model_info", **labels) == 1


async def test_a_version_is_visible_before_its_first_request(runtime: TabularClassifier) -> None:
    for outcome in ("ok", "rejected", "failed"):
        assert sample("abserve_requests_total", outcome=outcome) is not None
    assert sample("abserve_inference_seconds_bucket", le="0.0001") is not None
    assert sample("abserve_inference_seconds_bucket", le="10.0") is not None
