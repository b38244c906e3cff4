"""`abserve train` as it is typed: what it trains, what it says, and what it refuses."""

import json
import socket
from pathlib import Path

import pytest
import yaml

from abserve.artifacts import verify
from abserve.cluster.kubeconfig import kubeconfig
from abserve.signatures import verify_signature
from tests.abserve.cli.conftest import Run
from tests.abserve.promotion.local_api import LocalApi
from tests.abserve.seldon.documents import document, predictor

ROOT = Path(__file__).parents[3]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the definition of iris alone."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "iris.yaml").write_text((ROOT / "models/iris.yaml").read_text())
    return folder


@pytest.fixture
def train(abserve: Run, models: Path) -> Run:
    settings = ROOT / "model-settings"
    return lambda *arguments: abserve(
        "train", "--models", models, "--settings", settings, *arguments
    )


def change(models: Path, **fields: object) -> None:
    """Change fields of the definition of iris."""
    file = models / "iris.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **fields}))


def test_all_that_is_described_and_not_published_is_trained(train: Run, home: Path) -> None:
    first = train("iris", "--version", "v1")
    assert first.code == 0, first
    rest = train("iris")
    assert rest.code == 0, rest.out
    assert "iris v1:" not in rest.out
    assert "iris v2: LogisticRegression, accuracy 0.9778 (0.8843 to 0.9961)" in rest.out
    for version in ("v1", "v2"):
        verify(home / "repository/iris" / version)
    again = train("iris")
    assert again.code == 0
    assert again.out == "every version that is described is published already\n"


def test_each_step_is_told_with_its_time(train: Run) -> None:
    said = train("iris", "--version", "v1").out
    assert "  fit       fitting DecisionTreeClassifier on 105 rows (" in said
    assert "  publish   publishing to file://" in said


def test_the_answer_for_machines_is_all_that_stdout_holds(train: Run) -> None:
    answer = json.loads(train("iris", "--version", "v1", "--json").out)
    assert answer["url"].endswith("/repository/iris/v1")
    assert answer["metadata"]["evaluation"]["accuracy"]["value"] == 40 / 45
    assert answer["metadata"]["durations_seconds"].keys() >= {"load", "fit", "export"}


def test_a_version_is_trained_again_under_the_next_number(train: Run, home: Path) -> None:
    train("iris")
    done = train("iris", "--next", "--like", "v1", "--json")
    assert done.code == 0, done.out
    metadata = json.loads(done.out)["metadata"]
    assert (metadata["version"], metadata["described_as"]) == ("v3", "v1")
    newest = json.loads(train("iris", "--next", "--json").out)["metadata"]
    assert (newest["version"], newest["described_as"]) == ("v4", "v2")
    settings = json.loads((home / "repository/iris/v4/model-settings.json").read_text())
    assert settings["parameters"]["version"] == "v4"


def test_a_version_that_fails_a_gate_is_published_nowhere(
    train: Run, models: Path, home: Path
) -> None:
    change(models, gates={"metrics": {"accuracy": {"at_least": 0.95}, "log_loss": {"at_most": 9}}})
    failed = train("iris", "--version", "v1")
    assert failed.code == 1
    assert "Traceback" not in failed.out
    assert "1 of 3 gates failed, and nothing was published" in failed.err
    assert "accuracy is 0.888889, expected at least 0.95" in failed.err
    rows = [line.split() for line in failed.err.splitlines()]
    assert ["accuracy", "at", "least", "0.95", "0.8889", "-0.06111", "failed"] in rows
    assert ["log_loss", "at", "most", "9"] in [row[:4] for row in rows]
    assert not (home / "repository").exists()


def test_for_machines_the_gates_are_the_answer(train: Run, models: Path) -> None:
    change(models, gates={"metrics": {"accuracy": {"at_least": 0.95}}})
    gates = json.loads(train("iris", "--version", "v1", "--json").out)["gates"]
    assert [(each["gate"], each["passed"]) for each in gates] == [
        ("accuracy", False),
        ("parity", True),
    ]


def test_the_newest_version_is_what_a_gate_compares_with(train: Run, models: Path) -> None:
    change(models, gates={"serving": {"accuracy": {"margin": 0.01}}})
    assert train("iris", "--version", "v2").code == 0
    failed = train("iris", "--version", "v1")
    assert failed.code == 1
    assert "accuracy against serving is 0.888889" in failed.err
    assert train("iris", "--version", "v1", "--against", "v1").code == 1


def test_what_the_cluster_serves_is_what_gates_compare_with(
    train: Run, models: Path, api: LocalApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("v1", "v2"):
        assert train("iris", "--version", version).code == 0
    change(models, gates={"serving": {"accuracy": {"margin": 0.01}}})
    again = ("iris", "--next", "--like", "v1")
    assert "accuracy against serving" in train(*again).err
    serving = document(predictor("baseline", "v1", traffic=100))
    api.apply({**serving, "metadata": {"name": "iris", "namespace": "default"}})
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    assert train(*again).code == 0


def test_a_cluster_that_does_not_answer_is_asked_once_for_all_versions(
    train: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "kubeconfig").write_bytes(kubeconfig(url, b"", "a token"))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        trained = train("--all")
        assert trained.code == 0, trained
        assert "iris v1:" in trained.out
        assert "iris v2:" in trained.out
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_what_a_gate_is_to_compare_with_has_to_be_published(train: Run) -> None:
    refused = train("iris", "--version", "v1", "--against", "v7")
    assert refused.code == 1
    assert "v7" in refused.err


def test_one_model_that_fails_does_not_keep_the_others_from_being_trained(
    train: Run, models: Path, home: Path
) -> None:
    (models / "diabetes.yaml").write_text((ROOT / "models/diabetes.yaml").read_text())
    change(models, gates={"metrics": {"accuracy": {"at_least": 0.99}}})
    done = train("--all")
    assert done.code == 1
    assert "2 of 4 versions were not published" in done.err
    assert sorted(path.name for path in (home / "repository").iterdir()) == ["diabetes"]


def test_a_key_signs_what_is_published(
    train: Run, abserve: Run, home: Path, tmp_path: Path
) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    assert abserve("keys", "new", "--private", private, "--public", public).code == 0
    assert train("iris", "--version", "v1", "--private-key", str(private)).code == 0
    verify_signature(home / "repository/iris/v1", public)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "name a model, or all of them with --all"),
        (("iris", "--all"), "name a model, or all of them with --all"),
        (("--all", "--version", "v1"), "--all trains what is described"),
        (("--all", "--next"), "--all trains what is described"),
        (("iris", "--version", "v1", "--next"), "--version names the number"),
        (("iris", "--like", "v1"), "--like says what --next trains"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(
    train: Run, arguments: tuple[str, ...], expected: str
) -> None:
    refused = train(*arguments)
    assert refused.code == 2
    assert expected in refused.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("roses",), "roses.yaml does not exist"),
        (("iris", "--version", "v9"), "describes v1, v2, not 'v9'"),
        (("iris", "--next", "--like", "v9"), "describes v1, v2, not 'v9'"),
        (("iris", "--repository", "nowhere"), "'nowhere' is no repository"),
        (("iris", "--private-key", "none.pem"), "none.pem cannot be read"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    train: Run, arguments: tuple[str, ...], expected: str, home: Path
) -> None:
    refused = train(*arguments)
    assert refused.code == 1
    assert expected in refused.err
    assert not (home / "repository").exists()


def test_a_folder_without_definitions_is_told(abserve: Run, tmp_path: Path) -> None:
    refused = abserve("train", "--all", "--models", tmp_path)
    assert refused.code == 1
    assert "holds no model definition" in refused.err
