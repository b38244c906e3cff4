import pytest

from abserve.errors import ManifestError
from abserve.gateway import Backend, Endpoint, Route
from abserve.weights import Weights
from tests.abserve.gateway.values import BASELINE, CANDIDATE, ONE, SHADOW, SHADOWED


def test_an_endpoint_is_on_this_machine_unless_it_says_where() -> None:
    assert Endpoint(41001).host == "127.0.0.1"


def test_backends_of_one_service_name_are_told_apart_by_their_namespace() -> None:
    assert BASELINE.cluster == "shop.iris-baseline"
    assert Backend("default", "iris-baseline", ()).cluster == "default.iris-baseline"


def test_a_backend_without_a_weight_is_refused() -> None:
    with pytest.raises(ManifestError, match="give each backend one weight"):
        Route("shop", "iris", "/", (BASELINE, CANDIDATE), Weights({"iris-baseline": 100}))


def test_a_weight_without_a_backend_is_refused() -> None:
    weights = Weights({"iris-baseline": 90, "iris-candidate": 10})
    with pytest.raises(ManifestError, match=r"has backends \['iris-baseline'\]"):
        Route("shop", "iris", "/", (BASELINE,), weights)


def test_a_shadow_has_no_weight() -> None:
    weights = Weights({"iris-baseline": 90, "iris-shadow": 10})
    with pytest.raises(ManifestError, match="give each backend one weight"):
        Route("shop", "iris", "/", (BASELINE,), weights, shadow=SHADOW)


def test_a_route_without_a_shadow_needs_its_backends_only() -> None:
    assert ONE.all_backends == (BASELINE,)


def test_a_route_with_a_shadow_needs_that_too() -> None:
    assert SHADOWED.all_backends == (BASELINE, CANDIDATE, SHADOW)
