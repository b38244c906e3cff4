"""The Envoy process: it reads files, we write them and wait until it says they are in force.

The order of a change is what keeps every request answered: endpoints and clusters first, then the
routes that use them, then, once nothing is routed to them any more, what is to go.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from abserve.cluster.home import write_atomically
from abserve.cluster.ports import HOST, free_port
from abserve.cluster.probes import says_yes
from abserve.cluster.processes import Child, Processes
from abserve.cluster.programs import program
from abserve.errors import ClusterError
from abserve.gateway import (
    ROUTE_CONFIGURATION,
    STAT_PREFIX,
    Backend,
    Route,
    bootstrap,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)

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
    port : int
        Loopback port for requests.
    http : aiohttp.ClientSession
        Asks Envoy for its statistics.
    """

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        log: Path,
        port: int,
        http: aiohttp.ClientSession,
    ) -> None:
        self._processes = processes
        self._folder = folder
        self._log = log
        self._port = port
        self._http = http
        self._admin_port = free_port()
        self.url = f"http://localhost:{port}"
        self._routes: dict[str, Route] = {}
        self._leaving: dict[str, Backend] = {}
        self._written: dict[Path, Mapping[str, Any]] = {}
        self._version = 0
        self._lock = asyncio.Lock()

    async def start(self) -> Child:
        """Start Envoy and return once it takes requests.

        Raises
        ------
        ClusterError
            If it ends instead.
        """
        self._write_files()
        bootstrapped = bootstrap(self._port, self._admin_port, self._folder)
        write_atomically(self._folder / "bootstrap.json", json.dumps(bootstrapped).encode())
        child = await self._processes.start(
            "envoy",
            [
                program("envoy"),
                "--config-path",
                self._folder / "bootstrap.json",
                # Hot restart would tie all gateways of this machine together.
                "--disable-hot-restart",
                "--log-level",
                "warning",
            ],
            {},
            self._log,
            self._folder,
        )
        try:
            ready = f"http://{HOST}:{self._admin_port}/ready"
            while not await says_yes(self._http, ready):
                if not child.running:
                    raise ClusterError(f"envoy ended while starting: {child.last_words()}")
                await asyncio.sleep(_POLL_SECONDS)
        except BaseException:  # cancelled: nobody else knows of the child yet
            await child.stop(_STOP_SECONDS)
            raise
        return child

    async def serve(self, route: Route) -> None:
        """Put a route in force, in place of the one on the same path.

        Backends of the earlier route that are in it no longer keep running without new requests
        until `forget` is called.
        """
        async with self._lock:
            earlier = self._routes.get(route.path)
            self._routes[route.path] = route
            serving = {backend.cluster for backend in route.all_backends}
            for backend in earlier.all_backends if earlier else ():
                if backend.cluster not in serving:
                    self._leaving[backend.cluster] = backend
            for cluster in serving:
                self._leaving.pop(cluster, None)
            await self._put_in_force()

    async def withdraw(self, path: str) -> None:
        """Take a route out of force; its backends get no new requests from then on."""
        async with self._lock:
            earlier = self._routes.pop(path, None)
            for backend in earlier.all_backends if earlier else ():
                self._leaving[backend.cluster] = backend
            await self._put_in_force()

    async def _put_in_force(self) -> None:
        changed = self._write_files()
        await self._wait_for(changed)
        if self._leaving:
            # Envoy now closes their connections, each after the answer it still owes.
            for backend in self._leaving.values():
                empty = Backend(backend.namespace, backend.service, ())
                changed = self._write_endpoints(empty)
                await self._wait_for(changed)
            self._leaving.clear()

    def _write_files(self) -> dict[str, str]:
        """Write the files that changed; return the statistics that will tell of them."""
        endpoints = self._folder / "endpoints"
        endpoints.mkdir(exist_ok=True)
        backends = {
            backend.cluster: backend
            for route in self._routes.values()
            for backend in route.all_backends
        } | self._leaving
        for path in [path for path in self._written if path.parent == endpoints]:
            if path.stem not in backends:
                path.unlink()
                del self._written[path]
        changed: dict[str, str] = {}
        for backend in backends.values():
            changed |= self._write_endpoints(backend)
        changed |= self._write(
            self._folder / "clusters.json",
            "cluster_manager.cds.version_text",
            lambda version: cluster_discovery(backends.values(), endpoints, version),
        )
        changed |= self._write(
            self._folder / "routes.json",
            f"http.{STAT_PREFIX}.rds.{ROUTE_CONFIGURATION}.version_text",
            lambda version: route_discovery(self._routes.values(), version),
        )
        return changed

    def _write_endpoints(self, backend: Backend) -> dict[str, str]:
        return self._write(
            self._folder / "endpoints" / f"{backend.cluster}.json",
            f"cluster.{backend.cluster}.version_text",
            lambda version: endpoint_discovery(backend, version),
        )

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
        url = f"http://{HOST}:{self._admin_port}/stats"
        query = {"type": "TextReadouts", "filter": "version_text", "format": "json"}
        try:
            async with self._http.get(url, params=query) as response:
                stats = (await response.json())["stats"]
        except aiohttp.ClientError:
            return False  # Envoy is being started again; it will read the same files
        found = {stat["name"]: stat["value"] for stat in stats}
        return all(
            found.get(statistic, "0").isdecimal() and int(found.get(statistic, "0")) >= int(version)
            for statistic, version in changed.items()
        )
