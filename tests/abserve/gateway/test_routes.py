from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from abserve.errors import ManifestError
from abserve.gateway import Backend, Endpoint, Retries, Route
from abserve.weights import Weights
from tests.abserve.gateway.values import (
    BASELINE,
    CANDIDATE,
    IDLE,
    ONE,
    RETRIED,
    SHADOW,
    SHADOWED,
    STICKY,
    TWO,
)

# As the local cluster keeps them on disk.
ROUTE = TypeAdapter(Route)


def test_an_endpoint_is_on_this_machine_unless_it_says_where() -> None:
    assert Endpoint(41001, 42001).host == "127.0.0.1"


def test_a_predictor_is_one_cluster_over_each_transport() -> None:
    assert [cluster.name for cluster in BASELINE.clusters] == [
        "shop.iris.baseline.rest",
        "shop.iris.baseline.grpc",
    ]
    assert {cluster.endpoints for cluster in BASELINE.clusters} == {BASELINE.endpoints}


def test_predictors_whose_services_would_share_a_name_are_told_apart() -> None:
    first = Backend("shop", "iris", "two-baseline", ()).cluster("rest")
    second = Backend("shop", "iris-two", "baseline", ()).cluster("rest")
    assert first.name != second.name
    assert first.file_name != second.file_name


def test_a_clusters_file_has_a_name_that_any_disk_takes() -> None:
    cluster = Backend("n" * 63, "d" * 253, "p" * 63, ()).cluster("rest")
    assert len(cluster.file_name) < 64


def test_a_backend_without_a_weight_is_refused() -> None:
    with pytest.raises(ManifestError, match="give each backend one weight"):
        Route("shop", "iris", "/", (BASELINE, CANDIDATE), Weights({"baseline": 100}))


def test_a_weight_without_a_backend_is_refused() -> None:
    weights = Weights({"baseline": 90, "candidate": 10})
    with pytest.raises(ManifestError, match=r"has backends \['baseline'\]"):
        Route("shop", "iris", "/", (BASELINE,), weights)


def test_a_shadow_has_no_weight() -> None:
    weights = Weights({"baseline": 90, "shadow": 10})
    with pytest.raises(ManifestError, match="give each backend one weight"):
        Route("shop", "iris", "/", (BASELINE,), weights, shadow=SHADOW)


def test_a_route_without_a_shadow_needs_its_backends_only() -> None:
    assert ONE.all_backends == (BASELINE,)


def test_a_route_with_a_shadow_needs_that_too() -> None:
    assert SHADOWED.all_backends == (BASELINE, CANDIDATE, SHADOW)
    assert [cluster.name for cluster in SHADOWED.clusters][4:] == [
        "shop.iris.shadow.rest",
        "shop.iris.shadow.grpc",
    ]


@pytest.mark.parametrize(
    "route",
    [
        ONE,
        TWO,
        SHADOWED,
        STICKY,
        RETRIED,
        IDLE,
        replace(SHADOWED, unit_header="x-user", retries=Retries(1, 60)),
        replace(ONE, backends=(Backend("shop", "iris", "baseline", (Endpoint(1, 2, "::1"),)),)),
    ],
)
def test_a_route_comes_back_from_json_as_it_was(route: Route) -> None:
    text = ROUTE.dump_json(route)
    found = ROUTE.validate_json(text)
    assert found == route
    assert ROUTE.dump_json(found) == text
    assert [backend.predictor for backend in found.backends] == list(found.weights.by_variant)


def test_a_route_from_json_is_checked_like_any_other() -> None:
    text = ROUTE.dump_json(TWO).replace(b'"baseline":90', b'"baseline":50')
    with pytest.raises(ManifestError, match="sum to 60"):
        ROUTE.validate_json(text)
