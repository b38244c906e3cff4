"""One replica of a predictor: a copy of its version, and an MLServer process that serves it.

::

    Pending ──copied──> Starting ──ready──> Ready ──ended unasked──┐
       ▲ │ copy failed     │ ended, never ready                    │
       │ └──────────> Waiting (back-off, reason and last words) <──┘
       └───────────────────┘                    (and Terminating, from anywhere, at the end)

What Kubernetes would call a pod, with its init container and its container. It tells its owner
whenever it becomes ready or stops being so, and shows itself as a Pod in the API. A replica whose
process outlived an earlier cluster begins as Ready, with that process.
"""

import asyncio
import contextlib
import datetime as dt
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from abserve.cluster.containers import ERROR, UNHEALTHY, Container, Running, Terminated
from abserve.cluster.model_server import ModelServer
from abserve.cluster.ports import HOST, free_port, is_free
from abserve.cluster.probes import says_yes
from abserve.cluster.processes import Child, Processes, describe_exit
from abserve.cluster.storage import copy_model
from abserve.cluster.supervision import BackOff
from abserve.errors import AbserveError, ClusterError
from abserve.seldon import Ports

_POLL_SECONDS = 0.05
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """What a replica runs.

    `environment` and `credentials` are asked for at every start, so that a Secret that comes late
    heals the replica; both raise AbserveError while something is missing. With a `public_key`, the
    version must be signed.
    """

    name: str
    namespace: str
    model: str
    model_uri: str
    server: ModelServer
    credentials: Callable[[], Mapping[str, str]]
    environment: Callable[[Ports, Path], Mapping[str, str]]
    grace_seconds: float
    public_key: Path | None = None


@dataclass(frozen=True, slots=True)
class _Server:
    """A running server, and where it listens."""

    child: Child
    ports: Ports


class _NeverReadyError(ClusterError):
    """A server runs, and does not become ready."""


class Replica:
    """One replica; it lives from `start` to `stop`.

    Parameters
    ----------
    spec : ReplicaSpec
        What to run.
    processes : Processes
        Starts the server.
    folder : Path
        The replica's own: the copy, and the logs.
    http : aiohttp.ClientSession
        Asks the server whether it is ready.
    changed : callable
        Called after every change of `phase`, `message`, `ports` or a container.
    now : callable
        The time, in UTC.
    """

    def __init__(
        self,
        spec: ReplicaSpec,
        processes: Processes,
        folder: Path,
        http: aiohttp.ClientSession,
        changed: Callable[[], None],
        now: Callable[[], dt.datetime],
    ) -> None:
        self.spec = spec
        self.initializer = Container(f"{spec.model}-model-initializer", folder, now)
        self.container = Container(spec.model, folder, now)
        self.unwanted = False
        self.phase = "Pending"
        self.message = ""
        self.failing = False
        self._processes = processes
        self.model_folder = folder / "model"
        self._folder = folder
        self._http = http
        self._changed = changed
        self._now = now
        self._server: _Server | None = None
        self._earlier_ports: Ports | None = None
        self._signed_by: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self.phase == "Ready"

    @property
    def ports(self) -> Ports | None:
        """Where the server listens, from its start to its end."""
        return self._server.ports if self._server else None

    @property
    def pid(self) -> int | None:
        return self._server.child.pid if self._server else None

    def dismiss(self) -> None:
        """Ask the owner to stop it, and to start another in its place if one is wanted."""
        self.unwanted = True
        self._changed()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def resume(self, child: Child, details: Mapping[str, Any]) -> None:
        """Start with a process that is running already, and the details of its record."""
        self._server = _Server(child, Ports(**details["ports"]))
        self._signed_by = details.get("signed_by")
        started = dt.datetime.fromisoformat(details["started"])
        self.initializer.state = Terminated.completed(started)
        self.container.state = Running(started)
        # It has requests already, and must not lose them to a moment of doubt.
        self.phase = "Ready"
        self.start()

    async def stop(self) -> None:
        """Answer what is still asked, end the process, and leave nothing behind."""
        await self._stop_minding()
        code = None
        if self._server is not None:
            await self._server.child.stop(self.spec.grace_seconds)
            code = await self._server.child.wait()
        for container in (self.initializer, self.container):
            container.end(code)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def drain(self) -> None:
        """Wait until nobody is connected any more, at most as long as the grace allows.

        The gateway closes its connections once the replica is out of its endpoints, each after
        the answer it still waits for.
        """
        await self._stop_minding()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.spec.grace_seconds):
                while self._connected():
                    await asyncio.sleep(_POLL_SECONDS)

    async def _stop_minding(self) -> None:
        """From here on the process may end, and is not started again."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
            self.unwanted = True
            self._move_to("Terminating", "")

    async def _run(self) -> None:
        back_off = BackOff(asyncio.get_running_loop().time)
        copied = self._server is not None
        while True:
            back_off.begin()
            try:
                if not copied:
                    await self._copy()
                    copied = True
                if self._server is None:
                    self._server = await self._launch()
                await self._mind(self._server)
            # OSError: a disk without room for the copy or a log.
            except (AbserveError, OSError) as error:
                code = await self._server.child.wait() if self._server else 1
                self._earlier_ports = self.ports or self._earlier_ports
                self._server = None
                was_ready = self.ready
                delay = back_off.next_delay()
                failed = self.container if copied else self.initializer
                ended = UNHEALTHY if isinstance(error, _NeverReadyError) else ERROR
                reason = failed.fail(code, ended, str(error), delay)
                # One that served and ended is expected back; one that never did is not.
                self.failing = not was_ready or back_off.n_failures > 1
                self._move_to("Waiting", f"{reason} in pod {self.spec.name}: {error}")
                await asyncio.sleep(delay)

    async def _copy(self) -> None:
        credentials = self.spec.credentials()
        log = self.initializer.begin()
        self._progress_to("Pending", f"copying {self.spec.model_uri}")
        signer = await copy_model(
            self.spec.model_uri,
            self.model_folder,
            credentials,
            log,
            published=self.spec.server.prepackaged is None,
            public_key=self.spec.public_key,
        )
        self._signed_by = signer.fingerprint if signer else None
        self.spec.server.prepare(self.model_folder, self.spec.model_uri, self.spec.model)
        self.initializer.end(0)

    async def _launch(self) -> _Server:
        """Start the server, after a crash on the ports that it had."""
        # The gateway knows these, and cannot be told of others while its disk is full.
        ports = self._earlier_ports
        if ports is None or not all(is_free(port) for port in astuple(ports)):
            ports = Ports(http=free_port(), grpc=free_port(), metrics=free_port())
        command = self.spec.server.command(self.model_folder)
        environment = {
            # `drain` has done that before the process is told to end.
            "ABSERVE_DRAIN_SECONDS": "0",
            # A line for every answer would soon push out those that tell of trouble.
            "ABSERVE_REQUEST_LOG": "refused",
            **self.spec.environment(ports, self.model_folder),
            "MLSERVER_HOST": HOST,
        }
        log = self.container.begin()
        child = await self._processes.start(
            self.spec.name,
            command,
            environment,
            log,
            self._folder,
            {
                "namespace": self.spec.namespace,
                "ports": asdict(ports),
                "started": self._now().isoformat(),
                "signed_by": self._signed_by,
            },
        )
        return _Server(child, ports)

    async def _mind(self, server: _Server) -> None:
        """Watch the server until it ends, which is never what was wanted."""
        child = server.child
        if not self.ready:
            self._progress_to("Starting", "waiting for the server to be ready")
        await self._wait_until_ready(child, server.ports)
        self.failing = False
        self._move_to("Ready", "")
        code = await child.wait()
        raise ClusterError(f"the server {describe_exit(code)}, last said: {child.last_words()}")

    async def _wait_until_ready(self, child: Child, ports: Ports) -> None:
        base = f"http://{HOST}:{ports.http}/v2"
        waited = asyncio.timeout(_START_SECONDS)
        try:
            async with waited:
                while not (
                    await says_yes(self._http, f"{base}/health/ready")
                    and await says_yes(self._http, f"{base}/models/{self.spec.model}/ready")
                ):
                    if not child.running:
                        code = await child.wait()
                        raise ClusterError(
                            f"the server {describe_exit(code)} before it was ready, "
                            f"saying: {child.first_exception() or child.last_words()}"
                        )
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            await child.stop(self.spec.grace_seconds)
            raise _NeverReadyError(
                f"the server was not ready for model {self.spec.model!r} within "
                f"{_START_SECONDS:g} s, last said: {child.last_words()}"
            ) from None

    def _connected(self) -> bool:
        if self._server is None or not self._server.child.running:
            return False
        ports = self._server.ports
        try:
            connections = psutil.Process(self._server.child.pid).net_connections("tcp")
        except psutil.Error:
            return False
        return any(
            connection.status == psutil.CONN_ESTABLISHED
            and connection.laddr
            and connection.laddr.port in {ports.http, ports.grpc}
            for connection in connections
        )

    def _progress_to(self, phase: str, message: str) -> None:
        """Show a step on the way to being ready; after a failure, the failure is what to show."""
        if self.phase == "Waiting":
            self._changed()
        else:
            self._move_to(phase, message)

    def _move_to(self, phase: str, message: str) -> None:
        self.phase = phase
        self.message = message
        self._changed()
