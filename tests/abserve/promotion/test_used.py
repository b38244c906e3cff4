import pytest

from abserve.cluster.api.kinds import SELDON_DEPLOYMENT
from abserve.promotion import Kubernetes, Use, uses
from tests.abserve.promotion.local_api import LocalApi
from tests.abserve.seldon.documents import document, predictor


def use(uri: str) -> Use:
    return Use(uri, "shop", "iris", "baseline")


def test_every_predictor_counts_shadows_and_those_of_weight_0_too(
    api: LocalApi, cluster: Kubernetes
) -> None:
    predictors = (
        predictor("baseline", "v1", traffic=100),
        predictor("candidate", "v2", traffic=0),
        predictor("shadow", "v3", shadow=True),
    )
    api.create(SELDON_DEPLOYMENT, document(*predictors))
    found = {each.predictor: each.uri for each in uses(cluster)}
    assert found == {
        "baseline": "s3://models/iris/v1",
        "candidate": "s3://models/iris/v2",
        "shadow": "s3://models/iris/v3",
    }


def test_all_namespaces_count(api: LocalApi, cluster: Kubernetes) -> None:
    api.create(SELDON_DEPLOYMENT, document())
    elsewhere = document()
    elsewhere["metadata"]["namespace"] = "market"
    api.create(SELDON_DEPLOYMENT, elsewhere)
    assert sorted({each.namespace for each in uses(cluster)}) == ["market", "shop"]


def test_nodes_below_a_node_and_explainers_count(api: LocalApi, cluster: Kubernetes) -> None:
    only = predictor("baseline", "v1")
    only["graph"]["children"] = [{"name": "second", "modelUri": "gs://others/iris/v2/"}]
    only["explainer"] = {"type": "AnchorTabular", "modelUri": "s3://models/iris/v3"}
    api.create(SELDON_DEPLOYMENT, document(only))
    found = uses(cluster)
    assert all(any(each.is_of("iris", version) for each in found) for version in ("v1", "v2", "v3"))


@pytest.mark.parametrize(
    "uri",
    ["s3://models/iris/v1", "s3:iris/v1", "gs://a/b/c/iris/v1/", "file:///srv/models/iris/v1"],
)
def test_a_uri_is_of_the_version_in_whose_folder_it_ends(uri: str) -> None:
    assert use(uri).is_of("iris", "v1")


@pytest.mark.parametrize(
    "uri", ["s3://models/iris/v10", "s3://models/my-iris/v1", "s3://models/iris/v1/members", ""]
)
def test_a_uri_is_of_no_other_version(uri: str) -> None:
    assert not use(uri).is_of("iris", "v1")


def test_a_use_says_whose_it_is() -> None:
    assert str(use("s3://models/iris/v1")) == "shop/iris baseline"
