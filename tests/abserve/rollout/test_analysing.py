import json
import threading
from collections.abc import Iterator
from datetime import datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from abserve.errors import ExperimentError, KubernetesError, ManifestError, TelemetryError
from abserve.experiment import Action
from abserve.promotion import Kubernetes
from abserve.rollout.analysing import (
    DeploymentAnalysis,
    analyse_deployment,
    analyse_log,
    changed_at,
)
from abserve.rollout.prometheus_api import Access
from abserve.slots import N_SLOTS
from abserve.telemetry.readings import STARTED
from tests.abserve.promotion.local_api import LocalApi
from tests.abserve.rollout.logs import write_log
from tests.abserve.rollout.recorded import NOON, record, samples
from tests.abserve.seldon.documents import Document, document, predictor

EVEN_WEIGHTS = {"baseline": 50, "candidate": 50}
EVENLY_SPLIT = document(
    predictor("baseline", "v1", traffic=50), predictor("candidate", "v2", traffic=50)
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for manifests where there are none."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return tmp_path / "recording.db"


def analyse(
    api: LocalApi, home: Path, recording: Path | None, **more: object
) -> DeploymentAnalysis:
    cluster = Kubernetes(api.kubeconfig, "shop")
    return analyse_deployment(
        cluster, "iris", logs=home, now=NOON + 1000.0, recording=recording, **more
    )


def write_experiment(file: Path, **changes: str) -> Path:
    stated = {
        "deployment": "iris",
        "primary": "{metric: accuracy}",
        "interval_seconds": "10",
        "maturity_seconds": "30",
        "maximum_seconds": "86400",
        "weight_steps": "[50]",
        "step_seconds": "60",
        **changes,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{field}: {value}\n" for field, value in stated.items()))
    return file


def test_what_was_recorded_since_the_weights_came_into_force_is_analysed(
    api: LocalApi, home: Path, recording: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    record(recording, 200, right={"v1": 5, "v2": 8}, weights=EVEN_WEIGHTS)
    found = analyse(api, home, recording)
    assert found.analysis.decision.action is Action.PROMOTE
    assert found.analysis.effect == pytest.approx(0.3)
    # 190 seconds without the first ten, in which things settle; the last 30 are not mature.
    assert found.analysis.n_blocks == 16
    assert (found.analysis.n_baseline, found.analysis.n_candidate) == (1600, 1600)


def test_it_is_said_what_was_computed_from_what(api: LocalApi, home: Path, recording: Path) -> None:
    api.apply(EVENLY_SPLIT)
    record(recording, 100, right={"v1": 5, "v2": 5}, weights=EVEN_WEIGHTS)
    found = analyse(api, home, recording)
    assert found.sources["versions"] == "baseline v1, candidate v2"
    assert found.sources["experiment"] == (
        "none is written in manifests/base/iris/experiment.yaml, so a plain one: is its accuracy "
        "higher, in blocks of 10 s, from ground truth that comes within 30 s"
    )
    assert found.sources["counts"] == (
        f"recording {recording}, from 2027-01-15 08:00:10 UTC to 2027-01-15 08:01:40 UTC"
    )
    told = found.to_json()
    assert (told["name"], told["namespace"], told["decision"]) == ("iris", "shop", "CONTINUE")
    assert told["experiment"]["interval_seconds"] == 10
    assert told["sources"] == dict(found.sources)


def test_the_experiment_that_is_given_is_taken(
    api: LocalApi, home: Path, recording: Path, tmp_path: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    record(recording, 200, right={"v1": 5, "v2": 8}, weights=EVEN_WEIGHTS)
    file = write_experiment(tmp_path / "mine.yaml", minimum_units="100000")
    found = analyse(api, home, recording, experiment_file=file)
    assert found.analysis.decision.action is Action.CONTINUE
    assert found.sources["experiment"] == str(file)


def test_the_experiment_beside_the_manifests_is_found(
    api: LocalApi, home: Path, recording: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    record(recording, 200, right={"v1": 5, "v2": 8}, weights=EVEN_WEIGHTS)
    write_experiment(Path("manifests/base/iris/experiment.yaml"), alpha="0.01")
    found = analyse(api, home, recording)
    assert (found.experiment.alpha, found.sources["experiment"]) == (
        0.01,
        "manifests/base/iris/experiment.yaml",
    )


def test_an_experiment_with_something_else_is_refused(
    api: LocalApi, home: Path, recording: Path, tmp_path: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    file = write_experiment(tmp_path / "wine.yaml", deployment="wine")
    with pytest.raises(ExperimentError, match="states an experiment with 'wine'; expected"):
        analyse(api, home, recording, experiment_file=file)


@pytest.mark.parametrize(
    ("applied", "message"),
    [
        (document(predictor("baseline", "v1", traffic=100)), "has only the predictor 'baseline'"),
        (
            document(
                predictor("baseline", "v1", traffic=100), predictor("candidate", "v2", traffic=0)
            ),
            "gives 'baseline' 100 % of the requests and 'candidate' 0 %",
        ),
        (
            document(
                predictor("baseline", "v1", traffic=50), predictor("candidate", "v1", traffic=50)
            ),
            "both serve version 'v1'",
        ),
    ],
    ids=["one variant", "no requests", "one version"],
)
def test_what_cannot_be_compared_is_refused(
    applied: Document, message: str, api: LocalApi, home: Path, recording: Path
) -> None:
    api.apply(applied)
    record(recording, 20, right={"v1": 5}, weights=EVEN_WEIGHTS)
    with pytest.raises((ManifestError, ExperimentError), match=message):
        analyse(api, home, recording)


def test_a_candidate_that_the_experiment_names_and_nobody_has_is_refused(
    api: LocalApi, home: Path, recording: Path, tmp_path: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    file = write_experiment(tmp_path / "mine.yaml", candidate="challenger")
    with pytest.raises(ManifestError, match="has no predictor 'challenger'"):
        analyse(api, home, recording, experiment_file=file)


def test_a_deployment_that_is_not_there_is_told(api: LocalApi, home: Path, recording: Path) -> None:
    with pytest.raises(KubernetesError, match="no SeldonDeployment 'iris'"):
        analyse(api, home, recording)


def test_where_nothing_says_what_was_counted_that_is_told(api: LocalApi, home: Path) -> None:
    api.apply(EVENLY_SPLIT)
    with pytest.raises(ExperimentError, match="name a Prometheus that does with --prometheus URL"):
        analyse(api, home, None)


def test_weights_that_nobody_has_recorded_yet_are_told(
    api: LocalApi, home: Path, recording: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    record(recording, 100, right={"v1": 5, "v2": 8}, weights={"baseline": 90, "candidate": 10})
    with pytest.raises(
        TelemetryError, match="found baseline v1 90 %, candidate v2 10 %, available"
    ):
        analyse(api, home, recording)


def test_before_the_first_block_is_over_it_is_waited_for(
    api: LocalApi, home: Path, recording: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    record(recording, 15, right={"v1": 5, "v2": 8}, weights=EVEN_WEIGHTS)
    found = analyse(api, home, recording)
    assert found.analysis.decision.action is Action.CONTINUE
    assert found.analysis.decision.reasons[-1] == (
        "no block of 10 s is over since the weights are steady"
    )


def test_the_latest_audit_log_is_taken_if_it_is_of_these_versions(
    api: LocalApi, home: Path, recording: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    write_log(home)
    latest = write_log(home, at=NOON + 3600)
    found = analyse(api, home, recording)
    assert found.analysis.decision.action is Action.PROMOTE
    assert found.sources["counts"] == f"audit log {latest}, as of 2027-01-15 09:00:50 UTC"
    assert found.sources["experiment"] == (
        "of the rollout that began 2027-01-15 09:00:00 UTC; it has not ended"
    )


def test_an_audit_log_of_other_versions_is_not_taken(
    api: LocalApi, home: Path, recording: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    write_log(home, candidate="v7")
    record(recording, 100, right={"v1": 5, "v2": 5}, weights=EVEN_WEIGHTS)
    assert analyse(api, home, recording).sources["counts"].startswith("recording ")


def test_after_a_promotion_the_audit_log_is_all_there_is(
    api: LocalApi, home: Path, recording: Path
) -> None:
    api.apply(document(predictor("baseline", "v2", traffic=100)))
    write_log(home)
    assert analyse(api, home, recording).analysis.decision.action is Action.PROMOTE


def test_an_audit_log_is_analysed_while_the_cluster_is_away(
    api: LocalApi, home: Path, recording: Path
) -> None:
    write_log(home)
    assert analyse(api, home, recording).analysis.decision.action is Action.PROMOTE


def test_an_audit_log_needs_no_cluster(home: Path) -> None:
    found = analyse_log(write_log(home), "iris")
    assert (found.namespace, found.analysis.decision.action) == ("shop", Action.PROMOTE)


def test_an_audit_log_of_something_else_is_refused(home: Path) -> None:
    with pytest.raises(ExperimentError, match="is of a rollout of 'wine'; expected one of 'iris'"):
        analyse_log(write_log(home, name="wine"), "iris")


CREATED, APPLIED, MOVED, READY = (f"2026-01-02T03:0{minute}:05Z" for minute in range(4))


def changed(*managed: Document, **status: object) -> float:
    metadata = {"creationTimestamp": CREATED, "managedFields": list(managed)}
    return changed_at({"metadata": metadata, "status": status})


def entry(time: str, *fields: str) -> Document:
    return {"manager": "kubectl", "time": time, "fieldsV1": {"f:spec": {f: {} for f in fields}}}


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def test_weights_are_those_since_somebody_last_changed_the_predictors() -> None:
    managed = entry(APPLIED, "f:protocol", "f:predictors"), entry(MOVED, "f:predictors")
    assert changed(*managed) == seconds(MOVED)


def test_who_changes_something_else_changes_no_weights() -> None:
    assert changed(entry(APPLIED, "f:predictors"), entry(MOVED, "f:replicas")) == seconds(APPLIED)


def test_without_managed_fields_weights_are_those_since_the_beginning() -> None:
    assert changed() == seconds(CREATED)


def test_weights_are_in_force_once_the_deployment_is_ready() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": READY}
    broken = {"type": "Other", "status": "False", "lastTransitionTime": "2027-01-01T00:00:00Z"}
    found = changed(entry(APPLIED, "f:predictors"), conditions=[ready, broken])
    assert found == seconds(READY)


class Prometheus:
    """Answers what two replicas had counted, from `began_at` on."""

    def __init__(self, began_at: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.at = float(parse_qs(urlsplit(self.path).query)["time"][0])
                answer = {"status": "success", "data": {"resultType": "matrix"}}
                answer["data"]["result"] = list(self.result())
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def result(self) -> Iterator[Document]:
                for version, right in (("v1", 5), ("v2", 8)):
                    pod = {"namespace": "shop", "pod": f"iris-{version}"}
                    started = {**pod, "__name__": STARTED}
                    yield {"metric": started, "values": [(self.at, str(began_at - 60))]}
                    for series, value in samples(version, right, int(self.at) - began_at).items():
                        labels = {"__name__": series.name, "model": "iris", **dict(series.labels)}
                        yield {"metric": pod | labels, "values": [(self.at, str(value))]}

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(self.at, usegmt=True)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Prometheus":
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_what_prometheus_counted_since_the_weights_were_changed_is_analysed(
    api: LocalApi, home: Path
) -> None:
    api.apply(EVENLY_SPLIT)
    cluster = Kubernetes(api.kubeconfig, "shop")
    applied_at = changed_at(cluster.get("iris"))
    with Prometheus(int(applied_at) // N_SLOTS * N_SLOTS) as prometheus:
        found = analyse_deployment(
            cluster,
            "iris",
            logs=home,
            now=applied_at + 200,
            prometheus=Access(prometheus.url),
        )
    assert found.analysis.decision.action is Action.PROMOTE
    assert found.analysis.effect == pytest.approx(0.3)
    assert found.sources["counts"].startswith(f"Prometheus at {prometheus.url}, from ")
