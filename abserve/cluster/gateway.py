"""The Envoy process: it reads files, we write them and wait until it says they are in force.

The order of a change is what keeps every request answered: endpoints and clusters first, then the
routes that use them, then, once nothing is routed to them any more, what is to go.
"""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import TypeAdapter

from abserve.cluster.home import ProcessRecord, write_atomically
from abserve.cluster.ports import HOST, free_port
from abserve.cluster.probes import says_yes
from abserve.cluster.processes import Child, Processes
from abserve.cluster.programs import program
from abserve.cluster.state import State
from abserve.errors import ClusterError
from abserve.gateway import (
    ROUTE_CONFIGURATION,
    STAT_PREFIX,
    Cluster,
    Listener,
    Route,
    bootstrap,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)

ENVOY = "envoy"
"""The name its process is recorded under."""

_ROUTES = TypeAdapter(tuple[Route, ...])
_ROUTES_SETTING = "routes"
# Clusters that Envoy has been told of and does not use yet, because it has not heard from their
# replicas; a route to one would be answered with 503.
_WARMING = "cluster_manager.warming_clusters"
_POLL_SECONDS = 0.01
_IN_FORCE_SECONDS = 15.0
_STOP_SECONDS = 5.0


class Gateway:
    """The gateway of one local cluster.

    Parameters
    ----------
    processes : Processes
        Starts Envoy.
    folder, log : Path
        Where Envoy's files and its log go.
    state : State
        Keeps the routes, for the case that Envoy outlives the cluster.
    port : int
        Loopback port for requests.
    listener : Listener
        What the user chose about it.
    http : aiohttp.ClientSession
        Asks Envoy for its statistics.
    """

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        log: Path,
        state: State,
        port: int,
        listener: Listener,
        http: aiohttp.ClientSession,
    ) -> None:
        self._state = state
        self._processes = processes
        self._folder = folder
        self._bootstrap_file = folder / "bootstrap.json"
        self._route_file = folder / "routes.json"
        self._clusters = folder / "clusters.json"
        self._endpoints = folder / "endpoints"
        self._log = log
        self._port = port
        self._listener = listener
        self._http = http
        self._admin_port = free_port()
        self.url = f"{listener.scheme}://localhost:{port}"
        self._routes: dict[str, Route] = {}
        self._leaving: dict[str, Cluster] = {}
        self._written: dict[Path, Mapping[str, Any]] = {}
        self._version = 0
        self._lock = asyncio.Lock()

    @property
    def admin_url(self) -> str:
        """Where Envoy tells its statistics, under ``/stats/prometheus`` with labels."""
        return f"http://{HOST}:{self._admin_port}"

    async def start(self) -> Child:
        """Start Envoy and return once it takes requests.

        Raises
        ------
        ClusterError
            If it ends instead.
        """
        self._write_clusters()
        self._write_routes()
        write_atomically(self._bootstrap_file, self._bootstrap())
        child = await self._processes.start(
            ENVOY,
            [
                program("envoy"),
                "--config-path",
                self._bootstrap_file,
                # Hot restart would tie all gateways of this machine together.
                "--disable-hot-restart",
                # As many workers as cores would keep the replicas from theirs: on two cores, two
                # workers pass on a third fewer requests per second than one.
                "--concurrency",
                str(max(1, len(os.sched_getaffinity(0)) // 2)),
                "--log-level",
                "warning",
                # Of the access log; whoever follows it waits no longer.
                "--file-flush-interval-msec",
                "500",
            ],
            {},
            self._log,
            self._folder,
            {"port": self._port, "admin_port": self._admin_port},
        )
        try:
            while not await says_yes(self._http, f"{self.admin_url}/ready"):
                if not child.running:
                    raise ClusterError(f"envoy ended while starting: {child.last_words()}")
                await asyncio.sleep(_POLL_SECONDS)
        except BaseException:  # cancelled: nobody else knows of the child yet
            await child.stop(_STOP_SECONDS)
            raise
        return child

    def resume(self, record: ProcessRecord) -> Child | None:
        """Take over an Envoy that runs already; None if it is not the one that `start` would start.

        Its routes stay in force, and are what `serve` and `withdraw` go on from.
        """
        self._admin_port = record.details["admin_port"]
        if self._bootstrap() != _content(self._bootstrap_file):
            return None
        child = self._processes.take_over(record, self._log)
        if child is None:
            return None
        routes = _ROUTES.validate_json(self._state.setting(_ROUTES_SETTING) or "[]")
        self._routes = {route.path: route for route in routes}
        for path in (self._clusters, self._route_file, *self._endpoints.glob("*.json")):
            found = json.loads(path.read_bytes())
            self._written[path] = {"resources": found["resources"]}
            self._version = max(self._version, int(found["version_info"]))
        return child

    async def serve(self, route: Route) -> None:
        """Put a route in force, in place of the one on the same path.

        Backends that only the earlier route had get no new requests from then on, and lose their
        connections, each after the answer it still owes.
        """
        async with self._lock:
            earlier = self._routes.get(route.path)
            self._routes[route.path] = route
            serving = {cluster.name for cluster in route.clusters}
            for cluster in earlier.clusters if earlier else ():
                if cluster.name not in serving:
                    self._leaving[cluster.name] = cluster
            for name in serving:
                self._leaving.pop(name, None)
            await self._put_in_force()

    async def withdraw(self, path: str) -> None:
        """Take a route out of force; its backends get no new requests from then on."""
        async with self._lock:
            earlier = self._routes.pop(path, None)
            for cluster in earlier.clusters if earlier else ():
                self._leaving[cluster.name] = cluster
            await self._put_in_force()

    def _bootstrap(self) -> bytes:
        return json.dumps(
            bootstrap(self._port, self._admin_port, self._folder, self._listener)
        ).encode()

    async def _put_in_force(self) -> None:
        # Before Envoy is told: a later cluster then goes on from what was wanted.
        routes = _ROUTES.dump_json(tuple(self._routes.values()))
        self._state.settle(_ROUTES_SETTING, routes.decode())
        await self._wait_for(self._write_clusters())
        await self._wait_for(self._write_routes())
        if self._leaving:
            # Envoy now closes their connections, each after the answer it still owes.
            for cluster in self._leaving.values():
                changed = self._write_endpoints(replace(cluster, endpoints=()))
                await self._wait_for(changed)
            self._leaving.clear()

    def _write_clusters(self) -> dict[str, str]:
        """Write the files that changed; return the statistics that will tell of them."""
        self._endpoints.mkdir(exist_ok=True)
        clusters = {
            cluster.name: cluster for route in self._routes.values() for cluster in route.clusters
        } | self._leaving
        kept = {self._endpoint_file(cluster) for cluster in clusters.values()}
        for path in [path for path in self._written if path.parent == self._endpoints]:
            if path not in kept:
                path.unlink()
                del self._written[path]
        changed: dict[str, str] = {}
        for cluster in clusters.values():
            changed |= self._write_endpoints(cluster)
        changed |= self._write(
            self._clusters,
            "cluster_manager.cds.version_text",
            lambda version: cluster_discovery(clusters.values(), self._endpoints, version),
        )
        return changed

    def _write_routes(self) -> dict[str, str]:
        return self._write(
            self._route_file,
            f"http.{STAT_PREFIX}.rds.{ROUTE_CONFIGURATION}.version_text",
            lambda version: route_discovery(self._routes.values(), version),
        )

    def _write_endpoints(self, cluster: Cluster) -> dict[str, str]:
        return self._write(
            self._endpoint_file(cluster),
            f"cluster.{cluster.name}.version_text",
            lambda version: endpoint_discovery(cluster, version),
        )

    def _endpoint_file(self, cluster: Cluster) -> Path:
        return self._endpoints / cluster.file_name

    def _write(
        self, path: Path, statistic: str, content: Callable[[str], dict[str, Any]]
    ) -> dict[str, str]:
        resources = {"resources": content("")["resources"]}
        if self._written.get(path) == resources:
            return {}
        self._version += 1
        version = str(self._version)
        write_atomically(path, json.dumps(content(version)).encode())
        self._written[path] = resources
        return {statistic: version}

    async def _wait_for(self, changed: Mapping[str, str]) -> None:
        try:
            async with asyncio.timeout(_IN_FORCE_SECONDS):
                while not await self._in_force(changed):
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ClusterError(
                "the gateway did not take its new configuration within "
                f"{_IN_FORCE_SECONDS:g} s; its log is {self._log}"
            ) from None

    async def _in_force(self, changed: Mapping[str, str]) -> bool:
        url = f"{self.admin_url}/stats"
        query = {"filter": f"version_text$|{_WARMING}", "format": "json"}
        try:
            async with self._http.get(url, params=query) as response:
                stats = (await response.json())["stats"]
        except aiohttp.ClientError:
            return False  # Envoy is being started again; it will read the same files
        found = {stat["name"]: stat["value"] for stat in stats if "name" in stat}
        return found.get(_WARMING, 0) == 0 and all(
            found.get(statistic, "0").isdecimal() and int(found.get(statistic, "0")) >= int(version)
            for statistic, version in changed.items()
        )


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
