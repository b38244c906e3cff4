"""What the pods of a predictor say of the predictor itself, and of its version."""

from typing import Any

from abserve.seldon.own_pods import serve, spread_by_itself, version_label
from tests.abserve.seldon.documents import predictor


def spread(name: str, by: dict[str, str], **fields: Any) -> dict[str, Any]:
    made = predictor(name, "v1", **fields)
    made["componentSpecs"][0]["spec"]["topologySpreadConstraints"] = [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": by}}
    ]
    return made


def selector(made: dict[str, Any]) -> dict[str, str]:
    (constraint,) = made["componentSpecs"][0]["spec"]["topologySpreadConstraints"]
    labels: dict[str, str] = constraint["labelSelector"]["matchLabels"]
    return labels


def test_pods_bear_the_name_of_their_predictor_unless_a_label_says_otherwise() -> None:
    assert version_label(predictor("baseline", "v1")) == "baseline"
    assert version_label(predictor("baseline", "v1", labels={"version": "one"})) == "one"


def test_pods_of_another_are_spread_by_the_predictors_own_label() -> None:
    made = spread("baseline", {"seldon-deployment-id": "iris", "version": "candidate"})
    spread_by_itself(made, "candidate")
    assert selector(made) == {"seldon-deployment-id": "iris", "version": "baseline"}


def test_a_selector_of_something_else_stays() -> None:
    made = spread("baseline", {"seldon-deployment-id": "iris"})
    spread_by_itself(made, "candidate")
    assert selector(made) == {"seldon-deployment-id": "iris"}


def test_pods_that_say_nothing_of_it_stay_as_they_are() -> None:
    made = predictor("baseline", "v1")
    spread_by_itself(made, "candidate")
    assert made == predictor("baseline", "v1")


def test_the_initializer_copies_what_is_served() -> None:
    made = predictor("baseline", "v1")
    own = {"name": "iris-model-initializer", "args": ["copy", "s3://models/iris/v1", "/mnt/models"]}
    other = {"name": "warm-up", "args": ["s3://models/iris/v1"]}
    made["componentSpecs"][0]["spec"]["initContainers"] = [own, other]
    serve(made, "s3://models/iris/v3")
    assert made["graph"]["modelUri"] == "s3://models/iris/v3"
    assert own["args"] == ["copy", "s3://models/iris/v3", "/mnt/models"]
    assert other["args"] == ["s3://models/iris/v1"]


def test_without_an_initializer_seldon_copies_what_is_served() -> None:
    made = predictor("baseline", "v1")
    serve(made, "s3://models/iris/v3")
    assert made == predictor("baseline", "v3")
