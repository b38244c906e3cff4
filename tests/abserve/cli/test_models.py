import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from abserve.artifacts import METADATA, seal, to_json
from abserve.keys import new_private_key, write_key_pair
from abserve.repository import Repository
from abserve.signatures import signed
from tests.abserve.cli.conftest import Run
from tests.abserve.cli.published import metadata, publish
from tests.abserve.cli.test_completing import completed
from tests.abserve.promotion.local_api import LocalApi

Answer = Callable[[str], None]


@pytest.fixture
def url(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The repository that commands use if none is named."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("ABSERVE_PUBLIC_KEY", raising=False)
    return (home / "repository").as_uri()


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answer]:
    """Say something at a terminal when asked."""
    with ExitStack() as closing:

        def say(text: str) -> None:
            person, program = os.openpty()
            closing.callback(os.close, person)
            monkeypatch.setattr(sys, "stdin", closing.enter_context(os.fdopen(program)))
            os.write(person, f"{text}\n".encode())

        yield say


def test_versions_are_listed_with_what_they_say(url: str, abserve: Run) -> None:
    publish(url, "v1", evaluation={"accuracy": 0.875})
    publish(url, "v2")
    ended = abserve("models", "list", "iris")
    assert (ended.code, ended.err) == (0, "")
    assert "used by" not in ended.out
    for said in ("v1", "v2", "0.875", "0.9 (0.8 to 0.95)", "LogisticRegression", "150", "no"):
        assert said in ended.out


def test_all_models_are_listed(url: str, abserve: Run) -> None:
    publish(url, "v1")
    publish(url, "v3", model="rose")
    ended = abserve("models", "list", "--json")
    found = [(each["model"], each["version"]) for each in json.loads(ended.out)["versions"]]
    assert found == [("iris", "v1"), ("rose", "v3")]


def test_an_empty_repository_is_told(url: str, abserve: Run) -> None:
    ended = abserve("models", "list")
    assert (ended.code, ended.out) == (
        0,
        f"{url} holds no versions: 'abserve train' publishes one\n",
    )


def test_an_unknown_model_is_told_with_those_that_there_are(url: str, abserve: Run) -> None:
    publish(url, "v1")
    for command in (["list", "rose"], ["verify", "rose"], ["prune", "rose", "--no-cluster"]):
        ended = abserve("models", *command)
        assert ended.code == 1
        assert "holds no version of 'rose'; there: iris" in ended.err


def test_a_version_that_cannot_be_read_is_listed_with_the_reason(
    url: str, home: Path, abserve: Run
) -> None:
    publish(url, "v1")
    publish(url, "v2")
    (home / "repository/iris/v1/metadata.json").write_bytes(b"{}")
    ended = abserve("models", "list", "--json")
    first, second = json.loads(ended.out)["versions"]
    assert "iris/v1/metadata.json has SHA-256" in first["fault"]
    assert (first["estimator"], second["fault"]) == (None, None)
    assert "has SHA-256" in abserve("models", "list").out


def test_who_uses_a_version_is_listed(url: str, on_cluster: Run, api: LocalApi) -> None:
    api.apply()
    for version in ("v1", "v2", "v3"):
        publish(url, version)
    found = json.loads(on_cluster("models", "list", "--json").out)["versions"]
    users = {each["version"]: each["used_by"] for each in found}
    assert users == {"v1": ["shop/iris baseline"], "v2": ["shop/iris candidate"], "v3": []}
    assert "used by" in on_cluster("models", "list").out


def test_a_cluster_that_cannot_be_asked_is_noted(
    url: str, abserve: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(url, "v1")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    ended = abserve("models", "list")
    assert ended.code == 0
    assert ended.err.startswith("who uses them is not known: ")


def test_a_version_is_shown(url: str, abserve: Run) -> None:
    publish(url, "v1")
    ended = abserve("models", "show", "iris", "v1")
    assert ended.code == 0
    for said in (
        "Tells three species apart.",
        "0dbc874986f2",
        "sklearn:iris",
        "accuracy",
        "0.9 (0.8 to 0.95)",
        "recall of setosa",
        "at least 0.8",
        "Nobody",
        "served by the scikit-learn runtime",
    ):
        assert said in ended.out
    shown = json.loads(abserve("models", "show", "iris", "v1", "--json").out)
    assert shown["schema"]["classes"] == ["setosa", "virginica"]


def test_a_version_of_the_first_days_is_shown(url: str, abserve: Run) -> None:
    publish(url, "v1", evaluation={"accuracy": 0.9}, data=None, gates=[], notes=[], about={})
    ended = abserve("models", "show", "iris", "v1")
    assert (ended.code, ended.err) == (0, "")


def test_the_card_is_saved(url: str, abserve: Run, tmp_path: Path) -> None:
    publish(url, "v1")
    ended = abserve("models", "show", "iris", "v1", "--card", tmp_path / "card.html")
    assert ended == (0, f"the card of iris v1 is in {tmp_path}/card.html\n", "")
    assert (tmp_path / "card.html").read_text() == "<h1>iris v1</h1>"
    ended = abserve("models", "show", "iris", "v1", "--card", tmp_path / "none" / "card.html")
    assert ended.code == 1
    assert "cannot be written (No such file or directory); name another file" in ended.err


def test_a_version_that_is_not_there_is_told(url: str, abserve: Run) -> None:
    publish(url, "v1")
    for command in (["show", "iris", "v9"], ["compare", "iris", "v1", "v9"]):
        ended = abserve("models", *command)
        assert ended.code == 1
        assert "holds no iris v9; of iris there: v1" in ended.err


def test_two_versions_are_compared(url: str, abserve: Run) -> None:
    publish(url, "v1", seed=8)
    publish(url, "v2", evaluation={"accuracy": {"value": 0.97, "low": 0.96, "high": 0.99}})
    ended = abserve("models", "compare", "iris", "v1", "v2")
    assert ended.code == 0
    assert "the split differs" in ended.out
    assert "+0.07" in ended.out
    assert "do not overlap" in ended.out
    compared = json.loads(abserve("models", "compare", "iris", "v1", "v2", "--json").out)
    assert compared["differences"] == [{"what": "seed", "first": 8, "second": 7}]


def test_versions_are_verified(url: str, home: Path, abserve: Run) -> None:
    publish(url, "v1")
    publish(url, "v2")
    assert abserve("models", "verify", "iris").code == 0
    (home / "repository/iris/v2/card.html").write_bytes(b"changed")
    ended = abserve("models", "verify", "iris")
    assert ended.code == 1
    assert ended.out == "iris v1: as published\n"
    assert f"iris v2: {url}/iris/v2/card.html has SHA-256" in ended.err
    assert abserve("models", "verify", "iris", "v1").code == 0
    answer = json.loads(abserve("models", "verify", "iris", "--json").out)
    assert [each["fault"] is None for each in answer["versions"]] == [True, False]


def test_a_version_in_the_place_of_another_is_found(url: str, home: Path, abserve: Run) -> None:
    publish(url, "v1")
    shutil.copytree(home / "repository/iris/v1", home / "repository/iris/v2")
    ended = abserve("models", "verify", "iris", "v2")
    assert ended.code == 1
    assert "iris/v2 holds iris v1; somebody put it in the place" in ended.err


def test_signatures_are_verified_where_a_key_is_named(
    url: str, abserve: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_private_key()
    write_key_pair(key, tmp_path / "private.pem", tmp_path / "public.pem")
    files = signed(seal({METADATA: to_json(metadata("v1"))}), key)
    Repository(url).publish("iris", "v1", files)
    publish(url, "v2")
    ended = abserve("models", "verify", "iris", "--public-key", tmp_path / "public.pem")
    assert ended.code == 1
    assert ended.out == "iris v1: as published, and signed\n"
    assert "iris v2: " in ended.err
    assert "holds no signature.json" in ended.err
    monkeypatch.setenv("ABSERVE_PUBLIC_KEY", str(tmp_path / "public.pem"))
    assert abserve("models", "verify", "iris", "v2").code == 1


def test_a_version_is_deleted(url: str, abserve: Run) -> None:
    publish(url, "v1")
    publish(url, "v2")
    ended = abserve("models", "delete", "iris", "v1", "--no-cluster", "--yes")
    assert ended == (0, f"iris v1 is deleted from {url}\n", "")
    assert Repository(url).versions("iris") == ("v2",)


def test_a_version_in_use_is_not_deleted(url: str, on_cluster: Run, api: LocalApi) -> None:
    api.apply()
    publish(url, "v1")
    publish(url, "v3")
    ended = on_cluster("models", "delete", "iris", "v1", "--yes")
    assert ended.code == 1
    assert "iris v1 is used by shop/iris baseline; serve another version there" in ended.err
    assert on_cluster("models", "delete", "iris", "v3", "--yes").code == 0
    assert Repository(url).versions("iris") == ("v1",)


def test_nothing_is_deleted_before_somebody_agrees(url: str, abserve: Run, answer: Answer) -> None:
    publish(url, "v1")
    answer("n")
    ended = abserve("models", "delete", "iris", "v1", "--no-cluster")
    assert ended.code == 1
    assert "nothing was deleted" in ended.err
    assert Repository(url).versions("iris") == ("v1",)
    answer("y")
    assert abserve("models", "delete", "iris", "v1", "--no-cluster").code == 0
    assert Repository(url).versions("iris") == ()


def test_where_nobody_can_be_asked_nothing_is_deleted(
    url: str, abserve: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(url, "v1")
    with open(os.devnull) as nothing:  # noqa: PTH123  # a device
        monkeypatch.setattr(sys, "stdin", nothing)
        ended = abserve("models", "delete", "iris", "v1", "--no-cluster")
    assert ended.code == 2
    assert "say --yes" in ended.err


@pytest.mark.parametrize("command", [["delete", "iris", "v1"], ["prune", "iris"]])
def test_without_a_cluster_to_ask_nothing_is_deleted(
    url: str, abserve: Run, command: list[str]
) -> None:
    publish(url, "v1")
    ended = abserve("models", *command, "--yes")
    assert ended.code == 1
    assert "nothing is deleted, because a version may be in use" in ended.err
    assert "say --no-cluster" in ended.err
    assert Repository(url).versions("iris") == ("v1",)


def test_the_old_and_unused_are_pruned(url: str, on_cluster: Run, api: LocalApi) -> None:
    api.apply()
    for version, days_ago in {"v1": 400, "v2": 300, "v3": 200, "v4": 80, "v5": 100}.items():
        publish(url, version, days_ago)
    arguments = ("models", "prune", "iris", "--keep-last", "1", "--keep-days", "90")
    planned = on_cluster(*arguments, "--dry-run")
    assert planned.code == 0
    assert planned.out.endswith("1 version would be deleted\n")
    assert "used by shop/iris baseline" in planned.out
    assert len(Repository(url).versions("iris")) == 5
    done = on_cluster(*arguments, "--yes", "--json")
    assert json.loads(done.out)["models"] == [
        {
            "model": "iris",
            "deleted": ["v3"],
            "kept": {
                "v1": "used by shop/iris baseline",
                "v2": "used by shop/iris candidate",
                "v4": "trained 80 days ago, less than 90",
                "v5": "one of the newest 1",
            },
        }
    ]
    assert Repository(url).versions("iris") == ("v1", "v2", "v4", "v5")


def test_retention_comes_from_the_definition(url: str, abserve: Run, tmp_path: Path) -> None:
    for number in range(1, 8):
        publish(url, f"v{number}", days_ago=100)
        publish(url, f"v{number}", days_ago=100, model="rose")
    defined = yaml.safe_load(Path("models/iris.yaml").read_text())
    defined["retention"] = {"keep_last": 2, "keep_days": 30}
    (tmp_path / "iris.yaml").write_text(yaml.safe_dump(defined))
    arguments = ("--models", tmp_path, "--no-cluster", "--yes", "--json")
    done = abserve("models", "prune", "--all", *arguments)
    deleted = {each["model"]: len(each["deleted"]) for each in json.loads(done.out)["models"]}
    assert deleted == {"iris": 5, "rose": 2}


def test_prune_wants_one_model_or_all(abserve: Run) -> None:
    for arguments in ([], ["iris", "--all"]):
        ended = abserve("models", "prune", *arguments)
        assert ended.code == 2
        assert "name one MODEL, or say --all" in ended.err


def test_published_models_and_versions_are_completed(url: str, tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        publish(url, version)
    home = ("--home", tmp_path / "home")
    assert completed(*home, "models", "show", "") == ["iris"]
    assert completed(*home, "models", "show", "iris", "v") == ["v1", "v2"]
    assert completed(*home, "models", "compare", "iris", "v1", "") == ["v1", "v2"]
    assert completed("models", "list", "--repository", "ftb://x", "") == []
