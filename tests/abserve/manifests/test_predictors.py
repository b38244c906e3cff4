"""The predictors of a SeldonDeployment are what they say, and differ in their versions only."""

from pathlib import Path
from typing import Any

import pytest

from tests.abserve.manifests.trees import DIGEST, Document, iris, kustomization, messages, two
from tests.abserve.seldon.documents import predictor

ARGS = ["copy", "s3://models/iris/v2", "/mnt/models"]


def pods(**fields: Any) -> list[Document]:
    return [{"spec": {"containers": [{"name": "iris", "image": DIGEST}]}, **fields}]


def copying(name: str, args: list[str]) -> Document:
    """Return iris, whose candidate says itself how version v2 is copied."""
    container = {"name": name, "image": f"docker.io/rclone/rclone@{DIGEST}", "args": args}
    spec = {"containers": [{"name": "iris", "image": DIGEST}], "initContainers": [container]}
    return iris(*two(componentSpecs=[{"spec": spec}]))


# What is copied into a pod.


def test_what_is_copied_is_the_version_that_is_named(tmp_path: Path) -> None:
    kustomization(tmp_path, copying("iris-model-initializer", ARGS))
    assert messages(tmp_path, "version") == []


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["copy", "s3://models/iris/v1", "/mnt/models"], "copy s3://models/iris/v1 /mnt/models"),
        ([], "nothing"),
    ],
)
def test_a_pod_that_would_serve_another_version_is_an_error(
    args: list[str], found: str, tmp_path: Path
) -> None:
    kustomization(tmp_path, copying("iris-model-initializer", args))
    (message,) = messages(tmp_path, "version")
    assert message.startswith(
        "spec.predictors[1].componentSpecs[0].spec.initContainers[0].args: "
        f"found {found}, expected s3://models/iris/v2 among it"
    )


def test_another_container_may_copy_what_it_likes(tmp_path: Path) -> None:
    kustomization(tmp_path, copying("certificates", ["copy", "s3://certificates", "/etc/ssl"]))
    assert messages(tmp_path, "version") == []


# How predictors that share the requests are scaled.


def keda(**fields: Any) -> Document:
    trigger = {"type": "prometheus", "metadata": {"query": "1", "threshold": "1"}}
    return {"minReplicaCount": 1, "maxReplicaCount": 5, "triggers": [trigger], **fields}


def shared(baseline: Document, candidate: Document, *, weight: int = 10) -> Document:
    """Return iris, whose predictors have these fields, and the candidate this weight."""
    return iris(
        predictor("baseline", "v1", traffic=100 - weight, **baseline),
        predictor("candidate", "v2", traffic=weight, **candidate),
    )


HPA = {"minReplicas": 1, "maxReplicas": 5}
CPU = [{"type": "cpu", "metadata": {"value": "70"}}]


@pytest.mark.parametrize(
    "made",
    [
        shared({"replicas": 3}, {"replicas": 3}),
        # One of Seldon's places for it is as good as another.
        shared({"replicas": 3}, {"componentSpecs": pods(replicas=3)}),
        shared({"replicas": 1}, {}),
        shared(
            {"componentSpecs": pods(kedaSpec=keda())}, {"componentSpecs": pods(kedaSpec=keda())}
        ),
        # One alone gets the requests.
        shared({"replicas": 3, "componentSpecs": pods(hpaSpec=HPA)}, {"replicas": 1}, weight=0),
    ],
)
def test_predictors_that_are_scaled_alike_are_no_finding(made: Document, tmp_path: Path) -> None:
    kustomization(tmp_path, made)
    assert messages(tmp_path, "scaling") == []


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            shared({"replicas": 3}, {}),
            "spec.predictors[1].replicas: found 1, expected 3 as 'baseline' has",
        ),
        (
            shared({"replicas": 3}, {"componentSpecs": pods(replicas=2)}),
            "spec.predictors[1].replicas: found 2, expected 3 as 'baseline' has",
        ),
        (
            shared(
                {"componentSpecs": pods(kedaSpec=keda())},
                {"componentSpecs": pods(kedaSpec=keda(minReplicaCount=2))},
            ),
            "spec.predictors[1].componentSpecs[0].kedaSpec: minReplicaCount: expected what "
            "'baseline' has",
        ),
        (
            shared({"componentSpecs": pods(kedaSpec=keda())}, {"componentSpecs": pods()}),
            "spec.predictors[1].componentSpecs[0].kedaSpec: ",
        ),
    ],
)
def test_predictors_that_are_scaled_unlike_are_an_error(
    made: Document, said: str, tmp_path: Path
) -> None:
    kustomization(tmp_path, made)
    assert any(each.startswith(said) for each in messages(tmp_path, "scaling"))


@pytest.mark.parametrize(
    ("scaling", "field"),
    [({"hpaSpec": HPA}, "hpaSpec"), ({"kedaSpec": keda(triggers=CPU)}, "kedaSpec")],
)
def test_predictors_that_are_scaled_by_their_own_load_are_an_error(
    scaling: Document, field: str, tmp_path: Path
) -> None:
    both = {"componentSpecs": pods(**scaling)}
    kustomization(tmp_path, shared(both, both))
    said = messages(tmp_path, "scaling")
    assert [each.partition(":")[0] for each in said] == [
        f"spec.predictors[0].componentSpecs[0].{field}",
        f"spec.predictors[1].componentSpecs[0].{field}",
    ]
    assert "the one with the larger weight gets more of them" in said[0]


def test_a_shadow_may_be_smaller(tmp_path: Path) -> None:
    shadow = predictor("shadow", "v3", shadow=True, traffic=10, replicas=1)
    kustomization(tmp_path, iris(predictor("baseline", "v1", traffic=100, replicas=3), shadow))
    assert messages(tmp_path, "scaling") == []


def test_what_seldon_refuses_does_not_hide_the_rest(tmp_path: Path) -> None:
    kustomization(tmp_path, iris(*two(traffic=20, replicas=3)))
    assert len(messages(tmp_path, "admission")) == 1
    assert len(messages(tmp_path, "scaling")) == 1
