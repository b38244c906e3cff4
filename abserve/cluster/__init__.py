"""The local cluster: real MLServer, Envoy, rclone and kubectl on one machine, without containers.

::

    kubectl, abserve ──> api ──> store <── controller ──> deployment ──> replica_set ──> replica
                                                              │                            │
                                                           gateway (Envoy)     rclone copy, MLServer

`local` starts and stops the whole, `background` does so for a cluster that outlives the command.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abserve.cluster.background import start_in_background, stop_cluster
    from abserve.cluster.home import ClusterRecord, Home
    from abserve.cluster.local import LocalCluster, Options
    from abserve.cluster.programs import program

__all__ = [
    "ClusterRecord",
    "Home",
    "LocalCluster",
    "Options",
    "program",
    "start_in_background",
    "stop_cluster",
]

_MODULES = {
    "ClusterRecord": "home",
    "Home": "home",
    "LocalCluster": "local",
    "Options": "local",
    "program": "programs",
    "start_in_background": "background",
    "stop_cluster": "background",
}


def __getattr__(name: str) -> Any:
    # Every command asks for the home, and few for the cluster, whose parts take long to import.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
