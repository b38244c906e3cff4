"""The four models at once, from what the repository ships: trained, applied as they are, served."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
import yaml
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from tests.e2e.local_cluster import ROOT, SETOSA, LocalCluster, running_cluster

pytestmark = pytest.mark.e2e

MODELS = ["breast-cancer", "diabetes", "digits", "iris"]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster that serves all overlays of the environment `local`."""
    home = tmp_path_factory.mktemp("four")
    LocalCluster(home).must("abserve", "train", "--all")
    with running_cluster(home) as cluster:
        for model in MODELS:
            cluster.must("kubectl", "apply", "-k", str(ROOT / "manifests/overlays/local" / model))
        for model in MODELS:
            cluster.wait_until_available(model)
        yield cluster


def rows(*values: float) -> dict[str, Any]:
    return {
        "name": "features",
        "shape": [1, len(values)],
        "datatype": "FP64",
        "data": [float(each) for each in values],
    }


def picture(pixels: Any) -> dict[str, Any]:
    """Return an input with a PNG of a digit, from 0 (black) to 16 (white) per pixel."""
    file = io.BytesIO()
    Image.fromarray((np.asarray(pixels) / 16 * 255).astype(np.uint8)).save(file, "png")
    return {
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(file.getvalue()).decode()],
    }


def answer(cluster: LocalCluster, model: str, given: dict[str, Any]) -> dict[str, Any]:
    """Ask through the gateway; return the data of each output."""
    answered = requests.post(cluster.url(model), json={"inputs": [given]}, timeout=10)
    assert answered.status_code == 200, answered.text
    body = answered.json()
    assert body["model_name"] == model
    assert body["model_version"] in {"v1", "v2"}
    return {each["name"]: each["data"] for each in body["outputs"]}


def test_both_versions_of_all_four_serve(four: LocalCluster) -> None:
    for model in MODELS:
        assert [(each["name"], each["weight"]) for each in four.status(model)["predictors"]] == [
            ("baseline", 90),
            ("candidate", 10),
        ]


@pytest.mark.parametrize("model", MODELS)
def test_what_serves_is_what_was_rendered(four: LocalCluster, model: str) -> None:
    made = four.must("kubectl", "kustomize", str(ROOT / "manifests/overlays/local" / model))
    (document,) = [each for each in yaml.safe_load_all(made) if each["kind"] == "SeldonDeployment"]
    found = four.get(model)
    assert found["spec"] == document["spec"]
    assert found["metadata"]["labels"] == document["metadata"]["labels"]
    assert found["status"]["state"] == "Available"


def test_iris_is_told_by_its_measurements(four: LocalCluster) -> None:
    assert answer(four, "iris", rows(*SETOSA))["label"] == ["setosa"]


def test_a_malignant_mass_is_told_by_its_nuclei(four: LocalCluster) -> None:
    first = load_breast_cancer().data[0]
    assert answer(four, "breast-cancer", rows(*first))["label"] == ["malignant"]


def test_a_progression_is_estimated(four: LocalCluster) -> None:
    first = load_diabetes(scaled=False).data[0]
    (values,) = answer(four, "diabetes", rows(*first)).values()
    assert 25 <= values[0] <= 346


def test_a_digit_is_read_from_a_png(four: LocalCluster) -> None:
    digits = load_digits()
    assert digits.target[0] == 0
    assert answer(four, "digits", picture(digits.images[0]))["label"] == ["0"]
