"""The web console: what serves, how well, and what to do about it, on one page.

::

    Kubernetes API <──2 s── Observer ──> one Deployment each: Ledger (counts), EvidenceLog (blocks)
          ▲                     │
          │                     └──> Stream ──server-sent events──> static/: HTML, CSS, JS modules
          └── Changes <── POST, confirmed in a dialog ──────────────────────────┘

It is a client of the Kubernetes API and of nothing else; `Cluster` says which calls it makes. What
it shows of the past is what it has seen since it was started: it stores nothing. Only this machine
reaches it, and only with its token (`guard`).
"""

from abserve.console.app import Console
from abserve.console.cluster import Cluster

__all__ = ["Cluster", "Console"]
