"""A Kubernetes API, as far as kubectl and the official clients need it to run SeldonDeployments.

::

    kubectl ──TLS, token──> server   who may ask, which path, which format
                              │
                              ├── kinds      what exists: SeldonDeployments, Secrets, Pods, ...
                              ├── admission  what may be stored
                              ├── patches    how a change is written
                              ├── tables     how kubectl shows it
                              └── store      objects, versions, watches

The controller reads and writes the same store; nothing else changes what runs.
"""

from abserve.cluster.api.kinds import KINDS, Kind
from abserve.cluster.api.store import Store

__all__ = ["KINDS", "Kind", "Store"]
