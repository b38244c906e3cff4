"""Routes that the tests of the gateway share."""

from dataclasses import replace
from pathlib import Path

from abserve.gateway import Backend, Endpoint, Jwt, Listener, Retries, Route, Tls
from abserve.weights import Weights

BASELINE = Backend("shop", "iris", "baseline", (Endpoint(41001, 42001), Endpoint(41002, 42002)))
CANDIDATE = Backend("shop", "iris", "candidate", (Endpoint(41003, 42003),))
SHADOW = Backend("shop", "iris", "shadow", (Endpoint(41004, 42004),))

ONE = Route("shop", "iris", "/seldon/shop/iris/", (BASELINE,), Weights({"baseline": 100}))
TWO = Route(
    "shop",
    "iris",
    "/seldon/shop/iris/",
    (BASELINE, CANDIDATE),
    Weights({"baseline": 90, "candidate": 10}),
)
SHADOWED = replace(TWO, shadow=SHADOW, shadow_percent=20)
STICKY = replace(TWO, unit_header="x-unit-id")
RETRIED = replace(TWO, retries=Retries(3, 2))
IDLE = Route(
    "default",
    "wine",
    "/seldon/default/wine/",
    (Backend("default", "wine", "baseline", ()),),
    Weights({"baseline": 100}),
)

PLAIN = Listener()
# The certificate is the reader's to make.
KEY_SET = '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'
JWT = Jwt("https://issuer.example", "abserve", KEY_SET)


def full_listener(folder: Path) -> Listener:
    return Listener(
        tls=Tls(folder / "tls.crt", folder / "tls.key"),
        jwt=JWT,
        requests_per_second=100,
        access_log=folder / "access.log",
    )
