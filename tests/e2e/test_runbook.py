"""The runbook, walked through word for word: faults are made, and its pages mend them."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from abserve.cli.training import MODELS, held_out_rows
from tests.e2e.debian import needs
from tests.e2e.local_cluster import (
    ROOT,
    LocalCluster,
    infer,
    iris,
    running_cluster,
)
from tests.e2e.on_call import on_call, remotes
from tests.runbook import blocks

pytestmark = [pytest.mark.e2e, needs("jq"), needs("curl"), needs("openssl")]

# What the customer complains of: a versicolor that v3 takes for a virginica.
REPORTED = [7.0, 3.2, 4.7, 1.4]
COLUMNS = ("sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm")

# Regularised so much that it passes every gate of iris, and errs between two of the species.
WRONG = {
    "estimator": "sklearn.linear_model.LogisticRegression",
    "scale": False,
    "parameters": {"C": 0.02},
}
RIGHT = {**WRONG, "scale": True, "parameters": {"C": 5.0}}


def serving(baseline: str, candidate: str) -> dict[str, Any]:
    """Return iris with these two versions at 50/50, each answer a line of the log."""
    document = iris()
    for predictor, version in zip(
        document["spec"]["predictors"], (baseline, candidate), strict=True
    ):
        predictor["traffic"] = 50
        predictor["graph"]["modelUri"] = f"s3://models/iris/{version}"
        (container,) = predictor["componentSpecs"][0]["spec"]["containers"]
        container["env"].append({"name": "ABSERVE_REQUEST_LOG", "value": "all"})
    return document


def split(cluster: LocalCluster) -> list[tuple[str, int]]:
    return [(each["name"], each["traffic"]) for each in cluster.get("iris")["spec"]["predictors"]]


class Shop:
    """The folder of a clone: the definition of iris, its versions, and who signs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bucket = folder / "buckets/abserve-models-production"
        self.definition = folder / "models/iris.yaml"
        shutil.copytree(ROOT / "models", folder / "models")
        shutil.copytree(ROOT / "model-settings", folder / "model-settings")
        LocalCluster(folder).must(
            "abserve", "keys", "new", "--private", str(folder / "private.pem"),
            "--public", str(folder / "public.pem"),
        )  # fmt: skip

    def define(self, **versions: Any) -> None:
        """Describe further versions; None takes one away."""
        found = yaml.safe_load(self.definition.read_text())
        known = {**found["versions"], **versions}
        found["versions"] = {name: what for name, what in known.items() if what is not None}
        self.definition.write_text(yaml.safe_dump(found, sort_keys=False))

    def train(self) -> None:
        """Train and publish what is described and not published yet."""
        LocalCluster(self.folder).must(
            "abserve", "train", "iris", "--models", str(self.folder / "models"),
            "--repository", self.bucket.as_uri(), "--private-key", str(self.folder / "private.pem"),
        )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A repository with v2 and the wrong v3, both signed."""
    made = Shop(tmp_path)
    made.define(v1=None, v3=WRONG)
    made.train()
    return made


@pytest.fixture
def production(shop: Shop) -> Iterator[LocalCluster]:
    """The cluster that serves: here a local one, that demands signatures."""
    with running_cluster(
        shop.folder / "production",
        *("--repository", shop.bucket.as_uri()),
        *("--public-key", str(shop.folder / "public.pem")),
    ) as running:
        assert running.apply(serving("v2", "v3")).returncode == 0
        running.wait_until_available("iris")
        yield running


def test_a_bug_in_a_model_from_the_report_to_the_note(shop: Shop, production: LocalCluster) -> None:
    laptop = LocalCluster(shop.folder / "bug")
    rows, _ = held_out_rows("iris", ROOT / MODELS)
    url = production.url()
    answers = [infer(url, row).json() for row in [*rows, REPORTED]]
    by_v3 = [each["id"] for each in answers if each["model_version"] == "v3"]
    (shop.folder / "request.json").write_text(
        json.dumps({"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64",
                                "data": REPORTED}]})
    )  # fmt: skip
    lines = [
        ",".join(map(str, (*row, each["id"])))
        for row, each in zip([*rows, REPORTED], answers, strict=True)
    ]
    (shop.folder / "rows.csv").write_text("\n".join([",".join((*COLUMNS, "id")), *lines, ""]))

    try:
        with on_call(
            "model-bug",
            shop.folder,
            production,
            **remotes(s3=shop.bucket.parent),
            ABSERVE_PRIVATE_KEY=str(shop.folder / "private.pem"),
        ) as person:
            person.types("abserve -n models status iris")
            assert split(production) == [("baseline", 100), ("candidate", 0)]

            kept = person.types("abserve -n models logs iris > iris.log")
            assert f'"answers": {len(by_v3)}' in kept
            assert sorted((shop.folder / "ids.txt").read_text().split()) == sorted(by_v3)

            verified = person.types("export KUBECONFIG=")
            assert "v3: as published, and signed" in verified
            reproduced = person.types("cat > sdep.yaml")
            assert '["v3",["virginica"]]' in reproduced
            assert split(production) == [("baseline", 100), ("candidate", 0)]
            assert "C" in person.types("abserve models compare iris v2 v3")

            (gate,) = [each.text for each in blocks("model-bug") if each.says == "yaml"]
            wanted = yaml.safe_load(gate)["gates"]
            found = yaml.safe_load(shop.definition.read_text())
            found["gates"] |= wanted
            shop.definition.write_text(yaml.safe_dump(found, sort_keys=False))
            refused = person.types("abserve train iris --next --like v3")
            assert "between_the_species" in refused
            assert "LETS THE BUG THROUGH" not in refused

            shop.define(v4=RIGHT)
            mended = person.types("abserve train iris --version v4")
            assert '["v4",["versicolor"]]' in mended

            # What CI would train: the same data and seed give the same version.
            shutil.copytree(laptop.home / "repository/iris/v4", shop.bucket / "iris/v4")
            assert production.apply(serving("v2", "v4")).returncode == 0
            production.wait_until_available("iris")
            verified = person.types("abserve -n models status iris")
            assert '["v4",["versicolor"]]' in verified
            assert "virginica" not in verified

            counted = person.types("abserve score rows.csv v4.parquet")
            affected = (shop.folder / "affected.txt").read_text().split()
            assert answers[-1]["id"] in affected
            assert f"{len(affected)} of {len(answers)} rows have another answer" in counted

            person.types("abserve down")
            assert not laptop.home.exists()
    finally:
        laptop.abserve("down")


def test_a_version_that_has_to_go(iris_cluster: LocalCluster, tmp_path: Path) -> None:
    with on_call("rollback", tmp_path, iris_cluster) as person:
        person.types("abserve -n models rollback iris")
        assert split(iris_cluster) == [("baseline", 100), ("candidate", 0)]
        person.types("abserve -n models rollback iris --remove")
        assert split(iris_cluster) == [("baseline", 100)]
        iris_cluster.apply_iris()
        person.types("kubectl -n models patch sdep iris")
        assert split(iris_cluster) == [("baseline", 100), ("candidate", 0)]
        iris_cluster.apply_iris()
        person.types("kubectl -n models patch sdep iris")
        assert split(iris_cluster) == [("baseline", 100)]
    assert infer(iris_cluster.url()).json()["model_version"] == "v1"


def test_a_candidate_that_crashes_is_found_and_gets_no_more_requests(
    iris_cluster: LocalCluster, tmp_path: Path
) -> None:
    iris_cluster.must("abserve", "weights", "iris", "baseline=50", "candidate=50")
    iris_cluster.break_candidate()
    with on_call("bad-candidate", tmp_path, iris_cluster) as person:
        looked = person.types("abserve -n models status iris")
        assert "0/1" in looked
        said = person.types("abserve -n models logs iris candidate --previous")
        assert "the file was changed or the copy is damaged" in said
        person.types("abserve -n models rollback iris")
    assert split(iris_cluster) == [("baseline", 100)]
    url = iris_cluster.url()
    answered = Counter(infer(url).status_code for _ in range(30))
    assert answered == {200: 30}
