"""Leases in the local cluster's own store, with a network in between that a test may break."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import LEASE
from abserve.cluster.api.status import ApiError
from abserve.errors import KubernetesError
from abserve.promotion.kubernetes import Document

Fate = Literal["arrives", "is lost", "its answer is lost", "arrives late"]
"""What becomes of a request."""


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 1, 2, tzinfo=dt.UTC) + dt.timedelta(seconds=self.seconds)


@dataclass
class Network:
    """Carries the requests of one contender.

    `fate` is asked before each one is sent, `arrived` is called after it, and `late` are those that
    are still on their way.
    """

    store: Store
    fate: Callable[[], Fate] = lambda: "arrives"
    arrived: Callable[[], None] = lambda: None
    late: list[Callable[[], Document | None]] = field(default_factory=list)

    def get(self, name: str) -> Document | None:
        return self._carry(lambda: self.store.find(LEASE, "shop", name))

    def create(self, lease: Document) -> Document | None:
        placed = {**lease, "metadata": {**lease["metadata"], "namespace": "shop"}}
        return self._carry(lambda: self._written(self.store.create, placed))

    def replace(self, lease: Document) -> Document | None:
        return self._carry(lambda: self._written(self.store.update, lease))

    def _carry(self, request: Callable[[], Document | None]) -> Document | None:
        fate = self.fate()
        if fate == "arrives late":
            self.late.append(request)
        if fate in {"is lost", "arrives late"}:
            raise KubernetesError("the API does not answer")
        answer = request()
        self.arrived()
        if fate == "its answer is lost":
            raise KubernetesError("the API does not answer")
        return answer

    @staticmethod
    def _written(write: Callable[..., Document], lease: Document) -> Document | None:
        try:
            return write(LEASE, lease)
        except ApiError as error:
            if error.code not in {404, 409}:
                raise
            return None
