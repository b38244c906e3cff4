"""Scoring: the rows of a file go through a model's V2 endpoint, and come back as another file.

::

    IN ──> chunks ──> requests, as many at a time as the server bears ──> parts on disk ──> OUT
           `rows`     `sending`, `pace`; `tensors` is their form            `parts`

A request is one tensor in the protocol's binary form. A server that is busy is waited for, ever
longer and with ever fewer requests in flight; rows that it refuses are its last word. What came
back is on disk within seconds, in order, so a run that was killed is continued by the next. Memory
is that of the requests in flight and one part, whatever the size of the file. IN and OUT may lie
in an object store (`stores`).
"""

from abserve.scoring.endpoint import Endpoint
from abserve.scoring.scoring import Order, Progress, Scored, score
from abserve.scoring.stores import fetch, fetch_if_there, is_url, local_of, place

__all__ = [
    "Endpoint",
    "Order",
    "Progress",
    "Scored",
    "fetch",
    "fetch_if_there",
    "is_url",
    "local_of",
    "place",
    "score",
]
