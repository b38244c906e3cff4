"""Overlays of ours that somebody broke: `abserve check` says where and why."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from abserve.artifacts import METADATA, MODEL_SETTINGS, seal, to_json
from abserve.keys import new_private_key, write_key_pair
from abserve.repository import Repository
from abserve.signatures import signed
from tests.abserve.cli.conftest import Run, abserve, home
from tests.abserve.cli.published import metadata
from tests.manifests.models import copied
from tests.manifests.overlays import with_values

__all__ = ["abserve", "home"]

WEIGHTS = "overlays/production/iris/weights.yaml"
BASE = "base/iris/seldondeployment.yaml"


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of manifests/ to be broken, in the current folder; iris is split 90 to 10."""
    monkeypatch.delenv("ABSERVE_PUBLIC_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    manifests = copied(tmp_path)
    file = manifests / WEIGHTS
    file.write_text(with_values(file.read_text(), (90, 10), ("v1", "v2")))
    return manifests


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def errors(abserve: Run, *options: str, folder: str = "production/iris") -> list[dict[str, Any]]:
    """Return what is wrong with an overlay; that it is not, is told by the exit code."""
    ended = abserve("check", f"manifests/overlays/{folder}", "--json", *options)
    found = [each for each in json.loads(ended.out)["findings"] if each["severity"] == "error"]
    assert ended.code == int(bool(found))
    return found


def publish(folder: Path, version: str, key: Path | None = None) -> str:
    said = to_json(metadata(version))
    files = seal({METADATA: said, MODEL_SETTINGS: to_json({"name": "iris"})})
    Repository(folder.as_uri()).publish("iris", version, signed(files, key) if key else files)
    return folder.as_uri()


def test_an_overlay_as_it_is_has_no_error(manifests: Path, abserve: Run) -> None:
    assert errors(abserve) == []


def test_weights_that_do_not_sum_to_100(manifests: Path, abserve: Run) -> None:
    replace(manifests / WEIGHTS, "1/traffic,        value: 10", "1/traffic,        value: 20")
    (found,) = errors(abserve)
    assert (found["rule"], found["file"]) == ("admission", f"manifests/{BASE}")
    assert "traffic sums to 110 (baseline=90, candidate=20)" in found["message"]
    assert found["folders"] == ["manifests/overlays/production/iris"]


# In a cluster's overlay the rule that tells Prometheus of both versions finds it first.
@pytest.mark.parametrize(
    ("folder", "rule", "reason"),
    [
        ("local/iris", "drift", "drops candidate, which the base has"),
        ("production/iris", "render", "`spec.predictors.1.name` is missing"),
    ],
)
def test_a_predictor_that_is_dropped(
    folder: str, rule: str, reason: str, manifests: Path, abserve: Run
) -> None:
    with (manifests / "overlays" / folder / "weights.yaml").open("a") as file:
        file.write("- {op: replace, path: /spec/predictors/0/traffic, value: 100}\n")
        file.write("- {op: remove,  path: /spec/predictors/1}\n")
    (found,) = errors(abserve, folder=folder)
    assert (found["rule"], found["file"]) == (
        rule,
        f"manifests/overlays/{folder}/kustomization.yaml",
    )
    assert reason in found["message"]


@pytest.mark.parametrize("folder", ["local/iris", "staging/iris", "production/iris"])
def test_an_overlay_whose_base_moved(folder: str, manifests: Path, abserve: Run) -> None:
    base = yaml.safe_load((manifests / BASE).read_text())
    base["spec"]["predictors"].reverse()
    (manifests / BASE).write_text(yaml.safe_dump(base))
    (found,) = errors(abserve, folder=folder)
    assert found["rule"] == "render"
    assert found["file"] == f"manifests/overlays/{folder}/kustomization.yaml"
    assert "/spec/predictors/0/name" in found["message"]


def test_a_difference_that_tests_nothing(manifests: Path, abserve: Run) -> None:
    replace(
        manifests / WEIGHTS,
        "- {op: test,    path: /spec/predictors/1/name,           value: candidate}\n",
        "",
    )
    (found, *_) = errors(abserve)
    assert (found["rule"], found["file"]) == ("drift", f"manifests/{WEIGHTS}")
    assert "counts on position 1, and nothing tests what stands there" in found["message"]


def test_a_version_that_is_not_in_the_repository(
    manifests: Path, abserve: Run, tmp_path: Path
) -> None:
    url = publish(tmp_path / "repository", "v1")
    (found,) = errors(abserve, "--repository", url)
    assert (found["rule"], found["subject"]) == ("version", "SeldonDeployment/iris")
    assert "has no iris v2; there: v1" in found["message"]


def test_a_version_that_is_not_signed(manifests: Path, abserve: Run, tmp_path: Path) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    write_key_pair(new_private_key(), private, public)
    publish(tmp_path / "repository", "v1", private)
    url = publish(tmp_path / "repository", "v2")
    (found,) = errors(abserve, "--repository", url, "--public-key", str(public))
    assert (found["rule"], found["subject"]) == ("version", "SeldonDeployment/iris")
    assert "iris/v2 holds no signature.json" in found["message"]
