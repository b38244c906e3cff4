"""The prepackaged servers: an implementation in place of a container.

The operator knows an image for each, and what to tell MLServer in it. Of those it has, one machine
runs scikit-learn's: MLServer as it comes, which is what the image holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from abserve.seldon.resource import PredictiveUnit

UNKNOWN_IMPLEMENTATION = "UNKNOWN_IMPLEMENTATION"
SKLEARN_SERVER = "SKLEARN_SERVER"
HUGGINGFACE_SERVER = "HUGGINGFACE_SERVER"

BUILT_IN = ("SIMPLE_MODEL", "SIMPLE_ROUTER", "RANDOM_ABTEST", "AVERAGE_COMBINER")
"""What Seldon's executor does itself, or did."""

MLSERVER_IMAGE = "seldonio/mlserver"


@dataclass(frozen=True, slots=True)
class PrepackagedServer:
    """What the operator makes of an implementation under protocol v2.

    `image` is the one it starts, `runtime` the class that serves the model in it, which looks for
    one of `files`, and `extra` the one of ours that brings it to one machine.
    """

    name: str
    image: str
    runtime: str
    files: tuple[str, ...]
    extra: str


_LOCAL: Mapping[str, PrepackagedServer] = {
    SKLEARN_SERVER: PrepackagedServer(
        name=SKLEARN_SERVER,
        image=f"{MLSERVER_IMAGE}:1.7.1-sklearn",
        runtime="mlserver_sklearn.SKLearnModel",
        files=("model.joblib", "model.pickle", "model.pkl"),
        extra="sklearn",
    )
}

LOCAL_SERVERS = tuple(_LOCAL)
"""The implementations that one machine can run."""


def has_implementation(node: PredictiveUnit) -> bool:
    """Tell whether the node names what runs it, and so needs no container."""
    return bool(node.implementation) and node.implementation != UNKNOWN_IMPLEMENTATION


def is_prepackaged(node: PredictiveUnit) -> bool:
    """Tell whether the operator would look for a server of the node's implementation."""
    return has_implementation(node) and node.implementation not in BUILT_IN


def prepackaged_server(node: PredictiveUnit) -> PrepackagedServer | None:
    """Return the server one machine runs for the node; None where a container of ours serves it."""
    return _LOCAL.get(node.implementation or "")
