"""Pods that end while clients ask without a pause: through the local gateway, no request fails."""

import pytest
import yaml

from tests.e2e.load import Load
from tests.e2e.local_cluster import OVERLAY, SETOSA, LocalCluster

pytestmark = pytest.mark.e2e

BODY = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}]}


def apply_iris(cluster: LocalCluster, n_replicas: int) -> None:
    """Apply the overlay `local` with so many replicas of each predictor, and wait for them."""
    made = cluster.must("kubectl", "kustomize", str(OVERLAY))
    (document,) = [each for each in yaml.safe_load_all(made) if each["kind"] == "SeldonDeployment"]
    for predictor in document["spec"]["predictors"]:
        predictor["replicas"] = n_replicas
    done = cluster.apply(document)
    assert done.returncode == 0, done.stderr
    cluster.wait_until_available("iris")


def names(cluster: LocalCluster) -> set[str]:
    return {each["metadata"]["name"] for each in cluster.pods("iris")}


def test_no_request_fails_when_pods_are_deleted_one_after_the_other(cluster: LocalCluster) -> None:
    apply_iris(cluster, n_replicas=2)
    before = names(cluster)
    assert len(before) == 4
    with Load(cluster.url(), BODY) as load:
        for pod in sorted(before):
            load.wait_for(200)
            # It returns when the pod has ended.
            cluster.must("kubectl", "delete", "pod", pod, "--timeout=60s")
            cluster.wait_until_available("iris")
        load.wait_for(200)
    assert load.statuses.keys() == {200}
    assert len(names(cluster)) == 4
    assert not names(cluster) & before


def test_no_request_fails_when_replicas_come_and_go(cluster: LocalCluster) -> None:
    apply_iris(cluster, n_replicas=1)
    with Load(cluster.url(), BODY) as load:
        for n_replicas in (3, 1):
            load.wait_for(200)
            apply_iris(cluster, n_replicas)
        load.wait_for(200)
    assert load.statuses.keys() == {200}
    assert len(names(cluster)) == 2
