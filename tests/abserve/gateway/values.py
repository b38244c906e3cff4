"""Routes that the tests of the gateway share."""

from abserve.gateway import Backend, Endpoint, Route
from abserve.weights import Weights

BASELINE = Backend("shop", "iris-baseline", (Endpoint(41001), Endpoint(41002)))
CANDIDATE = Backend("shop", "iris-candidate", (Endpoint(41003),))
SHADOW = Backend("shop", "iris-shadow", (Endpoint(41004),))

ONE = Route("shop", "iris", "/seldon/shop/iris/", (BASELINE,), Weights({"iris-baseline": 100}))
TWO = Route(
    "shop",
    "iris",
    "/seldon/shop/iris/",
    (BASELINE, CANDIDATE),
    Weights({"iris-baseline": 90, "iris-candidate": 10}),
)
SHADOWED = Route(
    "shop",
    "iris",
    "/seldon/shop/iris/",
    (BASELINE, CANDIDATE),
    Weights({"iris-baseline": 90, "iris-candidate": 10}),
    shadow=SHADOW,
    shadow_percent=20,
)
IDLE = Route(
    "default",
    "wine",
    "/seldon/default/wine/",
    (Backend("default", "wine-baseline", ()),),
    Weights({"wine-baseline": 100}),
)
