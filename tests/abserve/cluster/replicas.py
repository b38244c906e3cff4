"""Replicas that are not started: what is to be seen of one is set by the test."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from abserve.cluster.home import Home
from abserve.cluster.model_server import ModelServer
from abserve.cluster.processes import Processes
from abserve.cluster.replica import Replica, ReplicaSpec
from abserve.seldon import Predictor, SeldonDeployment, with_defaults
from tests.abserve.cluster.documents import Document, seldon_deployment

START = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    """Shows the time it is set to."""

    time: datetime = field(default=START)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def deployment(document: Document | None = None) -> SeldonDeployment:
    return with_defaults(SeldonDeployment.parse(document or seldon_deployment(uid="u-1")))


def new_replica(
    home: Home, http: aiohttp.ClientSession, clock: Clock, predictor: Predictor
) -> Replica:
    """Return a replica `iris-0` of a predictor, which nobody has started."""
    spec = ReplicaSpec(
        name="iris-0",
        namespace="default",
        model=predictor.model_container.name,
        model_uri=predictor.graph.model_uri or "",
        server=ModelServer.of(predictor),
        credentials=dict,
        environment=lambda ports, folder: {},
        grace_seconds=20.0,
    )
    folder: Path = home.pods / "default.iris-0"
    return Replica(spec, Processes(home), folder, http, lambda: None, clock)
