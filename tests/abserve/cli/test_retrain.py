"""What is decided before and after a training; `tests/e2e/test_retrain.py` trains."""

import json
from pathlib import Path
from typing import Any

import pytest

from abserve.artifacts import seal
from abserve.repository import Repository
from tests.abserve.cli.conftest import Run
from tests.abserve.promotion.local_api import LocalApi, do_nothing
from tests.abserve.promotion.test_change import serve_all_but
from tests.abserve.seldon.documents import document, predictor
from tests.abserve.telemetry.replica import Replica

ALONE = document(predictor("baseline", "v1", traffic=100))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A repository with v1, which serves, and v2."""
    repository = Repository(f"file://{tmp_path}/repository")
    for version in ("v1", "v2"):
        repository.publish("iris", version, seal({"metadata.json": b"{}"}))
    return repository.url


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    file = tmp_path / "experiment.yaml"
    file.write_text(
        "{deployment: iris, primary: {metric: accuracy, claim: superiority}, interval_seconds: 60, "
        "maturity_seconds: 60, maximum_seconds: 600, step_seconds: 60, weight_steps: [20, 50], "
        "candidate: challenger}"
    )
    return file


@pytest.fixture
def retrain(on_cluster: Run, url: str) -> Run:
    return lambda *arguments: on_cluster("retrain", "iris", "--repository", url, *arguments)


def answered(api: LocalApi, n_rows: int, **drift: float) -> None:
    """Let the baseline's replica have answered rows with this drift."""
    replica = Replica("v1")
    replica.drift(n_rows, **drift)
    api.run_pod("b-0", "baseline", replica.text)


def weights(on_cluster: Run) -> dict[str, int]:
    found = json.loads(on_cluster("status", "iris", "--json").out)["predictors"]
    return {each["name"]: each["weight"] for each in found}


def test_a_published_version_becomes_the_candidate(
    api: LocalApi, retrain: Run, on_cluster: Run
) -> None:
    api.apply(ALONE)
    api.publish_gateway("http://127.0.0.1:8080/")
    ended = retrain("--published", "v2")
    assert (ended.code, ended.out.splitlines()) == (
        0,
        [
            "making v2 the candidate, with 10 % of the requests",
            "iris: v2 has 10 % of the requests, beside v1",
            "inference requests go to http://127.0.0.1:8080/seldon/shop/iris/v2/models/iris/infer",
            "'abserve status iris' shows both, 'abserve rollout iris' decides",
        ],
    )
    assert weights(on_cluster) == {"baseline": 90, "candidate": 10}


def test_the_experiment_file_says_the_first_weight_and_the_candidates_name(
    api: LocalApi, retrain: Run, on_cluster: Run, experiment: Path
) -> None:
    api.apply(ALONE)
    assert retrain("--published", "v2", "--experiment", experiment).code == 0
    assert weights(on_cluster) == {"baseline": 80, "challenger": 20}


def test_for_machines_the_answer_is_one_object(api: LocalApi, retrain: Run) -> None:
    api.apply(ALONE)
    ended = retrain("--published", "v2", "--json")
    assert json.loads(ended.out) == {
        "model": "iris",
        "name": "iris",
        "namespace": "shop",
        "serving": "v1",
        "opened": True,
        "version": "v2",
        "model_uri": "s3://models/iris/v2",
        "weight": 10,
        "console": None,
        "gateway": None,
    }


def test_without_an_experiment_file_it_begins_with_10_percent(
    api: LocalApi,
    retrain: Run,
    on_cluster: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    api.apply(ALONE)
    assert retrain("--published", "v2").code == 0
    assert weights(on_cluster) == {"baseline": 90, "candidate": 10}


def test_an_experiment_file_that_is_named_has_to_be_there(api: LocalApi, retrain: Run) -> None:
    api.apply(ALONE)
    ended = retrain("--published", "v2", "--experiment", "nowhere.yaml")
    assert ended.code == 1
    assert "nowhere.yaml cannot be read" in ended.err


def test_an_experiment_about_something_else_is_refused(
    api: LocalApi, retrain: Run, experiment: Path
) -> None:
    experiment.write_text(experiment.read_text().replace("deployment: iris", "deployment: wine"))
    api.apply(ALONE)
    ended = retrain("--published", "v2", "--experiment", experiment)
    assert ended.code == 1
    assert "is about SeldonDeployment 'wine'; expected 'iris'" in ended.err


def test_while_an_experiment_is_going_on_nothing_is_trained(api: LocalApi, retrain: Run) -> None:
    api.apply()
    ended = retrain()
    assert (ended.code, ended.out) == (1, "")
    assert "an experiment is going on" in ended.err
    assert "finish it first, with 'abserve promote iris' or 'abserve rollback iris'" in ended.err
    assert len(api.generations) == 1


def test_while_an_experiment_is_going_on_a_job_may_have_nothing_to_do(
    api: LocalApi, retrain: Run
) -> None:
    api.apply()
    ended = retrain("--if-idle", "--if-drift", "0.25")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("nothing is trained: an experiment is going on: SeldonDeployment")
    answer = json.loads(retrain("--if-idle", "--json").out)
    assert (answer["opened"], answer["name"]) == (False, "iris")
    assert answer["under_way"].startswith("an experiment is going on")
    assert len(api.generations) == 1


def test_what_is_wrong_otherwise_is_a_failure_for_a_job_too(
    api: LocalApi, on_cluster: Run, retrain: Run, tmp_path: Path
) -> None:
    assert retrain("--if-idle").code == 1  # there is no SeldonDeployment
    api.apply(ALONE)
    elsewhere = on_cluster(
        "retrain", "iris", "--if-idle", "--repository", f"file://{tmp_path}/other"
    )
    assert elsewhere.code == 1


def test_a_candidate_is_taken_out_if_the_operator_looks_at_nothing(
    api: LocalApi, retrain: Run, on_cluster: Run
) -> None:
    api.apply(ALONE)
    api.operator = do_nothing
    ended = retrain("--published", "v2", "--timeout", "1")
    assert ended.code == 1
    assert "did not come to serve" in ended.err
    assert "is taken out of the SeldonDeployment again, which is not in force yet" in ended.err
    assert weights(on_cluster) == {"baseline": 100}


def test_a_repository_without_the_version_that_serves_is_another_one(
    api: LocalApi, on_cluster: Run, tmp_path: Path
) -> None:
    api.apply(ALONE)
    ended = on_cluster("retrain", "iris", "--repository", f"file://{tmp_path}/other")
    assert ended.code == 1
    assert "does not hold iris v1, which serves from s3://models/iris/v1" in ended.err
    assert "name it with --repository" in ended.err


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("v7", "holds v1, v2 of iris, not 'v7'; name one of them"),
        ("v1", "serves v1 already; expected another version to compare it with"),
    ],
)
def test_what_no_experiment_can_be_opened_with_is_refused(
    version: str, told: str, api: LocalApi, retrain: Run
) -> None:
    api.apply(ALONE)
    ended = retrain("--published", version)
    assert ended.code == 1
    assert told in ended.err
    assert len(api.generations) == 1


def test_a_version_that_cannot_serve_is_told_with_how_to_go_on(
    api: LocalApi, retrain: Run, on_cluster: Run
) -> None:
    api.operator = serve_all_but("candidate")
    api.apply(ALONE)
    ended = retrain("--published", "v2")
    assert ended.code == 1
    assert "iris v2 is published, and no experiment is open with it: s3://models" in ended.err
    assert "'abserve retrain iris --published v2' opens one" in ended.err
    assert weights(on_cluster) == {"baseline": 100}


def test_another_deployment_may_serve_the_model(
    api: LocalApi, retrain: Run, url: str, on_cluster: Run
) -> None:
    flowers: dict[str, Any] = {**ALONE, "metadata": {"name": "flowers", "namespace": "shop"}}
    api.apply(flowers)
    ended = retrain("--published", "v2", "--name", "flowers")
    assert ended.code == 0
    assert "flowers: v2 has 10 % of the requests, beside v1" in ended.out


@pytest.mark.parametrize(
    ("n_rows", "drift", "told"),
    [
        (300, {"width": 0.1, "length": 0.25}, "drift of length is 0.25, not above 0.25, by the"),
        (40, {}, "v1, which serves, has answered 40 rows, too few to measure drift; nothing is"),
        (0, {}, "no drift is known; nothing is trained"),
    ],
)
def test_without_drift_nothing_happens(
    n_rows: int, drift: dict[str, float], told: str, api: LocalApi, retrain: Run
) -> None:
    api.apply(ALONE)
    answered(api, n_rows, **drift)
    ended = retrain("--if-drift", "0.25")
    assert (ended.code, ended.err) == (0, "")
    assert told in ended.out
    assert len(api.generations) == 1


def test_without_drift_machines_are_told_how_much_there_is(api: LocalApi, retrain: Run) -> None:
    api.apply(ALONE)
    answered(api, 300, width=0.1)
    answer = json.loads(retrain("--if-drift", "0.25", "--json").out)
    assert answer["opened"] is False
    assert answer["drift"] == {"n_rows": 300, "feature": "width", "index": 0.1}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--published", "v2", "--if-drift", "0.2"],
        ["--published", "v2", "--every", "1h"],
        ["--published", "v2", "--like", "v1"],
        ["--every", "soon"],
        ["--if-drift", "-1"],
        ["--prometheus", "http://127.0.0.1:9"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: list[str], retrain: Run) -> None:
    ended = retrain(*arguments)
    assert (ended.code, ended.out) == (2, "")
