"""A Kubernetes API, as far as kubectl and the official clients need it to run SeldonDeployments.

::

    kubectl ──TLS, token──> server       who may ask, and who answers which path
                              │
                              ├── kinds, openapi, schemas   what exists, and what it is made of
                              ├── reading                   get, list, watch
                              │     └── selectors, tables
                              ├── writing                   create, replace, patch, apply, delete
                              │     ├── bodies, options     what is sent, and how it is meant
                              │     ├── patches, parts      what becomes of the object
                              │     ├── field_validation    what nobody knows is refused
                              │     └── field_managers      who owns which field: managed_fields
                              ├── pods, logs                what a pod alone has
                              ├── reviews                   who am I, may I
                              └── store                     objects, versions, watches

What may be stored is not decided here: `abserve.cluster.admission` says so. The controller reads
and writes the same store; nothing else changes what runs.
"""

from abserve.cluster.api.kinds import KINDS, Kind
from abserve.cluster.api.store import Store

__all__ = ["KINDS", "Kind", "Store"]
