"""The card of a version: one page of HTML that a person reads before trusting the version.

::

    Metadata ─┐
              ├─> page ─┬─ what it is, how good it is, its limits, how to call it
    Evidence ─┘         ├─ plots    what held-out rows look like
                        └─ example  a request that can be sent, and this version's answer to it

The page needs nothing else: no scripts, no requests, no files. It is the same, byte for byte,
whenever it is made of the same.
"""

from training.card.evidence import Baseline, Evidence
from training.card.page import card

__all__ = ["Baseline", "Evidence", "card"]
