import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from abserve import __version__
from abserve.cluster.api import Store
from abserve.cluster.api.kinds import SELDON_DEPLOYMENT
from tests.abserve.cli.conftest import Run
from tests.abserve.promotion.local_api import LocalApi, do_nothing, fail
from tests.abserve.telemetry.replica import Replica

ROOT = Path(__file__).parents[3]
ABSERVE = Path(sys.executable).with_name("abserve")
HERE = "http://127.0.0.1:8080"
PROGRESS = {"state": "Creating", "description": "candidate: copying s3://models/iris/v2"}


def begin(store: Store, changed: dict[str, Any]) -> None:
    """Begin to serve the deployment, and come no further."""
    store.update(SELDON_DEPLOYMENT, {**changed, "status": PROGRESS})


def test_without_a_command_the_commands_are_listed(abserve: Run) -> None:
    ended = abserve("--help")
    assert ended.code == 0
    for command in (
        *(
            "train",
            "retrain",
            "models",
            "keys",
            "up",
            "down",
            "status",
            "weights",
            "simulate",
            "analyze",
            "rollout",
            "replay",
        ),
        *("promote", "rollback", "demo"),
    ):
        assert f"\n  {command} " in ended.out


def test_it_says_its_version(abserve: Run) -> None:
    assert abserve("--version") == (0, f"abserve, version {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["deploy"],
        ["status", "iris", "--jason"],
        ["status", "iris", "--all-namespaces"],
        ["logs"],
        ["logs", "iris", "--tail", "-1"],
        ["logs", "iris", "--system"],
        ["logs", "--system", "--previous"],
        ["completion", "tcsh"],
        ["up", "--json"],
        ["weights", "iris"],
        ["weights", "iris", "baseline=100", "--timeout", "0"],
        ["weights", "iris", "baseline=100", "--timeout", "soon"],
        ["promote"],
        ["train"],
        ["up", "--gateway-port", "99999"],
        ["--kubeconfig", "/nowhere", "status", "iris"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(arguments: list[str], abserve: Run) -> None:
    ended = abserve(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [(["statsu"], "status"), (["wieghts"], "weights"), (["status", "--jason"], "--json")],
    ids=["statsu", "wieghts", "--jason"],
)
def test_what_was_meant_is_told(misspelt: list[str], meant: str, abserve: Run) -> None:
    assert f"Did you mean '{meant}'?" in abserve(*misspelt).err


def test_a_misspelt_deployment_is_told_with_what_was_meant(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    assert "Did you mean 'iris'?" in on_cluster("status", "irsi").err


@pytest.mark.parametrize("given", ["baseline", "baseline=", "=90", "baseline=half", "baseline=-"])
def test_what_is_no_weight_is_refused(given: str, on_cluster: Run) -> None:
    ended = on_cluster("weights", "iris", given)
    assert (ended.code, ended.out) == (1, "")
    assert f"{given!r} is no weight; expected NAME=PERCENT" in ended.err


def test_weights_that_do_not_sum_to_100_are_refused(on_cluster: Run) -> None:
    ended = on_cluster("weights", "iris", "baseline=90", "candidate=20")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("abserve: weights sum to 110, expected 100")


def test_a_refusal_is_one_line_on_stderr_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [ABSERVE, "weights", "iris", "baseline=90"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, "KUBECONFIG": "/nowhere"},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "abserve: weights sum to 90, expected 100 (found baseline=90); "
        "change them so that they sum to 100\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["promote"],
        ["rollback"],
        ["weights", "baseline=50", "candidate=50"],
    ],
    ids=" ".join,
)
def test_an_unknown_name_is_answered_with_what_is_there(
    command: list[str], api: LocalApi, on_cluster: Run
) -> None:
    api.apply()
    ended = on_cluster(command[0], "rose", *command[1:])
    assert ended.code == 1
    assert ended.err.startswith("abserve: no SeldonDeployment 'rose' in namespace 'shop'")
    assert "there: iris" in ended.err


def test_new_weights_are_told_when_they_are_in_force(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    ended = on_cluster("weights", "iris", "baseline=50", "candidate=50")
    assert ended == (0, "iris: baseline 50 %, candidate 50 %\n", "")
    assert [each["traffic"] for each in api.generations[-1]["spec"]["predictors"]] == [50, 50]


def test_weights_that_are_not_in_force_in_time_end_with_1(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    api.operator = do_nothing
    ended = on_cluster("weights", "iris", "baseline=50", "candidate=50", "--timeout", "1")
    assert (ended.code, ended.out) == (1, "")
    assert "after 1 s" in ended.err


def test_new_weights_are_told_to_machines(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    ended = on_cluster("weights", "iris", "baseline=50", "candidate=50", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {
        "name": "iris",
        "namespace": "shop",
        "weights": {"baseline": 50, "candidate": 50},
    }


def test_what_is_waited_for_is_told_in_the_clusters_words(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    api.operator = begin
    ended = on_cluster("weights", "iris", "baseline=50", "candidate=50", "--timeout", "1")
    assert ended.code == 1
    assert "iris: Creating, candidate: copying s3://models/iris/v2\n" in ended.err


def test_a_promotion_is_told_to_machines_and_its_steps_on_stderr(
    api: LocalApi, on_cluster: Run
) -> None:
    api.apply()
    ended = on_cluster("promote", "iris", "--json")
    assert json.loads(ended.out) == {
        "name": "iris",
        "namespace": "shop",
        "variant": "baseline",
        "model_uri": "s3://models/iris/v2",
        "weight": 100,
    }
    assert ended.err.startswith("sending all requests to candidate\n")


def test_a_promotion_tells_its_steps_and_what_serves_then(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    ended = on_cluster("promote", "iris")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "sending all requests to candidate",
        "giving baseline the version of candidate",
        "sending all requests to baseline and removing candidate",
        "iris: baseline serves s3://models/iris/v2 with 100 %",
    ]


def test_a_promotion_that_fails_ends_with_1(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    api.operator = fail
    ended = on_cluster("promote", "iris")
    assert (ended.code, ended.out) == (1, "sending all requests to candidate\n")
    assert ended.err == "abserve: SeldonDeployment 'iris' failed: candidate: no such bucket\n"


def test_the_status_is_a_table_and_the_address_for_requests(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    api.publish_gateway(HERE)
    ended = on_cluster("status", "iris")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.rstrip() for line in ended.out.splitlines()]
    assert lines[0] == "iris in shop: Available"
    assert [line.split()[0] for line in lines[1:4]] == ["predictor", "baseline", "candidate"]
    assert lines[4:] == [
        f"inference requests go to {HERE}/seldon/shop/iris/v2/models/iris/infer",
    ]


def test_the_status_for_machines_is_the_same_and_nothing_else(
    api: LocalApi, on_cluster: Run
) -> None:
    replica = Replica("v1")
    replica.answer("v1", ok=3, failed=1)
    replica.judge("v1", correct=3, incorrect=1)
    api.apply()
    api.publish_gateway(HERE)
    api.run_pod("iris-baseline-1", "baseline", replica.text)
    ended = on_cluster("status", "iris", "--json")
    assert (ended.code, ended.err) == (0, "")
    answer = json.loads(ended.out)
    baseline, candidate = answer.pop("predictors")
    assert answer == {
        "name": "iris",
        "namespace": "shop",
        "model": "iris",
        "state": "Available",
        "description": "",
        "gateway": f"{HERE}/seldon/shop/iris/v2/models/iris/infer",
    }
    assert baseline == {
        "name": "baseline",
        "version": "v1",
        "weight": 90,
        "shadow": False,
        "ready": True,
        "n_ready": 1,
        "n_replicas": 1,
        "n_requests": 4,
        "n_errors": 1,
        "n_rejected": 0,
        "n_failed": 1,
        "latency_p50_seconds": None,
        "latency_p99_seconds": None,
        "n_feedback": 4,
        "accuracy": 0.75,
    }
    assert candidate.keys() == baseline.keys()
    assert (candidate["version"], candidate["ready"]) == (None, False)


def test_without_a_name_all_deployments_of_the_namespace_are_listed(
    api: LocalApi, on_cluster: Run, home: Path
) -> None:
    api.apply()
    api.publish_gateway(HERE)
    ended = on_cluster("status")
    assert (ended.code, ended.err) == (0, "")
    assert [" ".join(line.split()) for line in ended.out.splitlines()] == [
        f"no local cluster is running in {home}",
        f"Kubernetes API: {api.url}",
        f"gateway: {HERE}",
        "",
        "name state predictors",
        "iris Available baseline 90 %, candidate 10 %",
    ]


def test_the_deployments_of_all_namespaces_can_be_listed(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    assert on_cluster("-n", "other", "status").out.endswith(
        "there is no SeldonDeployment in namespace other\n"
    )
    last = on_cluster("-n", "other", "status", "-A").out.splitlines()[-1]
    assert last.split()[:3] == ["shop", "iris", "Available"]


def test_the_list_for_machines_is_the_same_and_nothing_else(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    api.publish_gateway(HERE)
    assert json.loads(on_cluster("status", "--json").out) == {
        "server": api.url,
        "namespace": "shop",
        "local_cluster": None,
        "gateway": HERE,
        "console": None,
        "deployments": [
            {
                "name": "iris",
                "namespace": "shop",
                "state": "Available",
                "description": "",
                "weights": {"baseline": 90, "candidate": 10},
                "shadow": None,
            }
        ],
    }


def test_the_gateway_can_be_given(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    api.publish_gateway(HERE)
    ended = on_cluster("status", "iris", "--json", "--gateway", "https://models.example")
    assert json.loads(ended.out)["gateway"].startswith("https://models.example/seldon/shop/iris/")


def test_the_gateway_can_be_given_by_a_variable(
    api: LocalApi, on_cluster: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABSERVE_GATEWAY", "https://models.example")
    api.apply()
    ended = on_cluster("status", "iris", "--json")
    assert json.loads(ended.out)["gateway"].startswith("https://models.example/seldon/shop/iris/")


def test_the_local_cluster_is_found_in_its_home(api: LocalApi, abserve: Run, home: Path) -> None:
    home.mkdir()
    (home / "kubeconfig").write_bytes(api.kubeconfig.read_bytes())
    api.apply()
    assert abserve("--namespace", "shop", "status", "iris").code == 0


def test_where_nothing_runs_there_is_nothing_to_stop(abserve: Run, home: Path) -> None:
    assert abserve("down") == (0, f"no local cluster is running in {home}\n", "")


def test_that_nothing_runs_is_told_to_machines(abserve: Run, home: Path) -> None:
    assert json.loads(abserve("down", "--json").out) == {"home": str(home), "stopped": False}


def test_stopping_what_does_not_run_leaves_no_folder(abserve: Run, home: Path) -> None:
    abserve("down")
    assert not home.exists()


TRAIN = (
    "train",
    "iris",
    "--version",
    "v1",
    *("--models", ROOT / "models"),
    *("--settings", ROOT / "model-settings"),
)


def test_training_publishes_beside_the_local_cluster(abserve: Run, home: Path) -> None:
    ended = abserve(*TRAIN)
    assert (ended.code, ended.err) == (0, "")
    said = ended.out.splitlines()
    assert "iris v1: DecisionTreeClassifier, accuracy 0.8889" in ended.out
    assert said[-1] == f"published to file://{home}/repository/iris/v1"
    assert (home / "repository" / "iris" / "v1" / "model.onnx").exists()


def test_training_for_machines_answers_in_json_and_tells_its_steps_on_stderr(
    abserve: Run, tmp_path: Path
) -> None:
    ended = abserve(*TRAIN, "--repository", f"file://{tmp_path}/elsewhere", "--json")
    assert ended.code == 0
    answer = json.loads(ended.out)
    assert answer.keys() == {"url", "metadata"}
    assert answer["url"] == f"file://{tmp_path}/elsewhere/iris/v1"
    written = tmp_path / "elsewhere" / "iris" / "v1" / "metadata.json"
    assert answer["metadata"] == json.loads(written.read_text())
    assert len(ended.err.splitlines()) > 1
    assert "Traceback" not in ended.err


def test_a_repository_can_be_given_by_a_variable(
    abserve: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABSERVE_REPOSITORY", f"file://{tmp_path}/variable")
    assert abserve(*TRAIN).out.endswith(f"published to file://{tmp_path}/variable/iris/v1\n")


def test_a_version_is_published_once(abserve: Run) -> None:
    abserve(*TRAIN)
    ended = abserve(*TRAIN, "--json")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1].startswith("abserve: ")


def test_a_model_that_nobody_defined_is_refused(abserve: Run, tmp_path: Path) -> None:
    ended = abserve("train", "rose", "--version", "v1", "--models", tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("abserve: ")
