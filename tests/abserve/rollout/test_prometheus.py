"""What is made of Prometheus' answers; `tests/e2e/test_prometheus.py` asks a real one."""

import json
import re
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from abserve.analysis import Experiment
from abserve.errors import LostCountsError, TelemetryError
from abserve.rollout.prometheus import PrometheusHistory
from abserve.rollout.prometheus_api import Access
from abserve.telemetry import ReplicaReading, Series

AT = 1_800_000_000.0
IN_SLOT = {"version": "v1", "period": "60", "slot": "7"}
UNITS = Series.of("abserve_units_total", IN_SLOT)
POD = {"namespace": "shop", "pod": "iris-0", "instance": "10.0.0.7:6000", "job": "pods"}
STARTED = {"__name__": "process_start_time_seconds"}
COUNTER = {"__name__": "abserve_units_total", "model": "iris", **IN_SLOT}


class Answering:
    """An HTTP server with one answer, which keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.date = 200, b"", AT
        self.path, self.headers = "", {}
        answering = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answering.path, answering.headers = self.path, dict(self.headers)
                self.send_response(answering.status)
                self.send_header("content-length", str(len(answering.body)))
                self.end_headers()
                self.wfile.write(answering.body)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(answering.date, usegmt=True)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, *series: tuple[dict[str, str], list[tuple[float, str]]]) -> None:
        result = [{"metric": metric, "values": values} for metric, values in series]
        self.say({"status": "success", "data": {"resultType": "matrix", "result": result}})

    def say(self, answer: Any, status: int = 200) -> None:
        self.status, self.body = status, json.dumps(answer).encode()


@pytest.fixture
def answering() -> Iterator[Answering]:
    answering = Answering()
    thread = threading.Thread(target=answering.server.serve_forever, args=(0.01,))
    thread.start()
    yield answering
    answering.server.shutdown()
    thread.join()
    answering.server.server_close()


def experiment(interval_seconds: int = 60, maturity_seconds: int = 600) -> Experiment:
    return Experiment.model_validate(
        {
            "deployment": "iris",
            "primary": {"metric": "reward"},
            "interval_seconds": interval_seconds,
            "maturity_seconds": maturity_seconds,
            "maximum_seconds": 86_400,
            "weight_steps": (50,),
            "step_seconds": interval_seconds,
        }
    )


def history(url: str, **options: Any) -> PrometheusHistory:
    return PrometheusHistory(Access(url, **options), "shop", "iris", experiment())


def test_a_replica_has_the_samples_of_one_scrape(answering: Answering) -> None:
    older = {**COUNTER, "version": "v0"}
    answering.answer(
        (POD | STARTED, [(AT - 20, "100"), (AT - 5, "1799999990.25")]),
        (POD | COUNTER, [(AT - 20, "40"), (AT - 5, "3")]),
        (POD | older, [(AT - 20, "7")]),
    )
    assert history(answering.url).reading(AT).replicas == {
        "iris-0/10.0.0.7:6000": ReplicaReading(1799999990.25, {UNITS: 3.0})
    }


def test_labels_that_the_target_has_too_are_the_metrics_own(answering: Answering) -> None:
    target = POD | {"version": "stable"}
    answering.answer(
        (target | STARTED, [(AT, "100")]),
        (target | COUNTER | {"version": "stable", "exported_version": "v1"}, [(AT, "40")]),
    )
    assert history(answering.url).reading(AT).replicas == {
        "iris-0/10.0.0.7:6000": ReplicaReading(100.0, {UNITS: 40.0})
    }


def test_the_query_asks_for_what_is_needed_and_no_more(answering: Answering) -> None:
    answering.answer((POD | STARTED, [(AT, "1")]), (POD | COUNTER, [(AT, "40")]))
    history(f"{answering.url}/prom/", selector='job="pods"', recent_seconds=7.5).reading(AT)
    parts = urlsplit(answering.path)
    asked = parse_qs(parts.query)
    assert (parts.path, asked["time"]) == ("/prom/api/v1/query", ["1800000000.000"])
    assert asked["query"][0].split("total", 1)[1] == (
        "|abserve_units_total|abserve_unit_info|abserve_inference_seconds_bucket|"
        "abserve_predictions_total|abserve_outcomes_total|abserve_outcome_sum_total"
        '",namespace="shop",model=~"|iris",seldon_deployment_id=~"|iris",metric=~"|reward",'
        'period=~"|60",job="pods"}[7500ms]'
    )


def test_samples_may_have_to_be_of_after_a_moment_by_any_clock(answering: Answering) -> None:
    answering.answer((POD | STARTED, [(AT, "1")]), (POD | COUNTER, [(AT, "40")]))
    history(answering.url).reading(AT, since=AT - 30)
    (asked,) = parse_qs(urlsplit(answering.path).query)["query"]
    assert asked.endswith("}[29000ms]")
    history(answering.url).reading(AT, since=AT)
    (asked,) = parse_qs(urlsplit(answering.path).query)["query"]
    assert asked.endswith("}[1ms]")


def test_samples_may_not_be_older_than_slots_rest(answering: Answering) -> None:
    answering.answer((POD | STARTED, [(AT, "1")]), (POD | COUNTER, [(AT, "40")]))
    short = experiment(interval_seconds=40, maturity_seconds=10)
    PrometheusHistory(Access(answering.url), "shop", "iris", short).reading(AT)
    assert "%5B21000ms%5D" in answering.path


def test_a_token_is_sent_and_a_password_is_shown_to_nobody(
    answering: Answering, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("abc\n")
    answering.say({"status": "error", "errorType": "unauthorized", "error": "no"}, 401)
    secret = answering.url.replace("//", "//user:secret@")
    access = Access(secret, token_file=token, headers={"X-Scope-OrgID": "shop"})
    with pytest.raises(TelemetryError) as refused:
        PrometheusHistory(access, "shop", "iris", experiment()).reading(AT)
    assert str(refused.value) == (f"Prometheus at {answering.url} answered 401: unauthorized: no")
    assert answering.headers["Authorization"] == "Bearer abc"
    assert answering.headers["X-Scope-OrgID"] == "shop"


def test_a_token_that_is_not_there_is_said(tmp_path: Path) -> None:
    access = Access("http://127.0.0.1:9", token_file=tmp_path / "token")
    with pytest.raises(TelemetryError, match="the token for Prometheus cannot be read"):
        PrometheusHistory(access, "shop", "iris", experiment()).reading(AT)


def test_a_part_of_the_samples_is_not_taken_for_all(answering: Answering) -> None:
    answering.say({"status": "success", "data": {"result": []}, "warnings": ["a store is down"]})
    with pytest.raises(TelemetryError, match="answered in part: a store is down"):
        history(answering.url).reading(AT)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b'{"status": "success", "data": 1}'])
def test_what_is_no_answer_of_prometheus_is_refused(answering: Answering, body: bytes) -> None:
    answering.body = body
    with pytest.raises(TelemetryError, match="answered 200 with what is no answer of Prometheus"):
        history(answering.url).reading(AT)


def test_a_moment_to_come_is_refused_and_not_said_to_be_lost(answering: Answering) -> None:
    answering.answer()
    answering.date = AT - 60
    with pytest.raises(TelemetryError, match=r"its clock says .* 07:59:00") as refused:
        history(answering.url).reading(AT)
    assert not isinstance(refused.value, LostCountsError)


def test_a_replica_that_is_scraped_twice_is_not_counted_twice(answering: Answering) -> None:
    again = {**POD, "job": "annotated", "instance": "iris-0"}
    answering.answer(
        *(
            (target | metric, [(AT, value)])
            for target in (POD, again)
            for metric, value in ((STARTED, "100"), (COUNTER, "40"))
        )
    )
    with pytest.raises(LostCountsError, match=r'two targets for replica .* as job="models"'):
        history(answering.url).reading(AT)


def test_a_second_process_of_a_pod_is_no_second_target(answering: Answering) -> None:
    sidecar = {**POD, "instance": "10.0.0.7:15020"}
    answering.answer(
        (sidecar | STARTED, [(AT, "100")]),
        (POD | STARTED, [(AT, "100")]),
        (POD | COUNTER, [(AT, "40")]),
    )
    assert history(answering.url).reading(AT).replicas == {
        "iris-0/10.0.0.7:15020": ReplicaReading(100.0, {}),
        "iris-0/10.0.0.7:6000": ReplicaReading(100.0, {UNITS: 40.0}),
    }


def test_counters_without_a_start_time_are_not_read(answering: Answering) -> None:
    answering.answer((POD | COUNTER, [(AT, "40")]))
    with pytest.raises(LostCountsError, match="expected it to be kept with the other metrics"):
        history(answering.url).reading(AT)


def test_numbers_that_are_none_are_read_as_they_are(answering: Answering) -> None:
    answering.answer(
        (POD | STARTED, [(AT, "100")]),
        (POD | COUNTER, [(AT, "NaN")]),
        (POD | COUNTER | {"version": "v2"}, [(AT, "+Inf")]),
    )
    (replica,) = history(answering.url).reading(AT).replicas.values()
    assert [str(value) for value in replica.samples.values()] == ["nan", "inf"]


@pytest.mark.parametrize(
    "url",
    [
        "prometheus:9090",
        "ftp://prometheus",
        "http://",
        "http://host:port",
        "http://[::1",
        "http://a/?b=c",
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    shown = re.escape(url.partition("?")[0])
    with pytest.raises(TelemetryError, match=rf"is '{shown}'; expected one as http://prometheus"):
        Access(url)


@pytest.mark.parametrize("selector", ["job", 'job="a",', 'job="a"} or vector(1) or {job="a"', "{}"])
def test_a_selector_that_is_none_is_refused(selector: str) -> None:
    with pytest.raises(TelemetryError, match="expected label matchers as"):
        Access("http://127.0.0.1:9", selector=selector)
