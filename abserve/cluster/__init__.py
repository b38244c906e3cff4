"""The local cluster: real MLServer, Envoy, rclone and kubectl on one machine, without containers.

::

    kubectl, abserve ──> api ──> store <── controller ──> deployment ──> replica_set ──> replica
                                                              │                            │
                                                           gateway (Envoy)     rclone copy, MLServer

`local` starts and stops the whole, `background` does so for a cluster that outlives the command.
"""

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
