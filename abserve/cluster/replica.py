"""One replica of a predictor: a copy of its version, and an MLServer process that serves it.

::

    Pending ──copied──> Starting ──ready──> Ready ──ended unasked──┐
       ▲ │ copy failed     │ ended, never ready                    │
       │ └──────────> Waiting (back-off, reason and last words) <──┘
       └───────────────────┘                    (and Terminating, from anywhere, at the end)

What Kubernetes would call a pod, with its init container and its container. It tells its owner
whenever it becomes ready or stops being so, and shows itself as a Pod in the API.
"""

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from abserve.artifacts import MODEL_SETTINGS
from abserve.cluster.ports import HOST, free_port
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
    heals the replica; both raise AbserveError while something is missing.
    """

    name: str
    namespace: str
    model: str
    model_uri: str
    credentials: Callable[[], Mapping[str, str]]
    environment: Callable[[Ports, Path], Mapping[str, str]]
    grace_seconds: float


class Replica:
    """One replica; it lives from `start` to `stop`.

    Parameters
    ----------
    spec : ReplicaSpec
        What to run.
    processes : Processes
        Starts the server.
    folder, log : Path
        The replica's own folder, and the file its output goes to.
    http : aiohttp.ClientSession
        Asks the server whether it is ready.
    changed : callable
        Called after every change of `phase`, `message` or `ports`.
    """

    def __init__(
        self,
        spec: ReplicaSpec,
        processes: Processes,
        folder: Path,
        log: Path,
        http: aiohttp.ClientSession,
        changed: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.log = log
        self.phase = "Pending"
        self.message = ""
        self.failing = False
        self.ports: Ports | None = None
        self.n_restarts = 0
        self._processes = processes
        self._folder = folder
        self._http = http
        self._changed = changed
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self.phase == "Ready"

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Answer what is still asked, end the process, and leave nothing behind."""
        await self._stop_minding()
        if self._child is not None:
            await self._child.stop(self.spec.grace_seconds)
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
            self._move_to("Terminating", "")

    async def _run(self) -> None:
        back_off = BackOff(asyncio.get_running_loop().time)
        model_folder = self._folder / "model"
        copied = False
        while True:
            back_off.begin()
            try:
                if not copied:
                    self._progress_to("Pending", f"copying {self.spec.model_uri}")
                    await self._copy(model_folder)
                    copied = True
                await self._serve(model_folder)
            except AbserveError as error:
                was_ready = self.ready
                self.n_restarts += copied
                delay = back_off.next_delay()
                # One that served and ended is expected back; one that never did is not.
                self.failing = not was_ready or back_off.n_failures > 1
                self._move_to("Waiting", str(error))
                await asyncio.sleep(delay)

    async def _copy(self, model_folder: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        await copy_model(self.spec.model_uri, model_folder, self.spec.credentials(), self.log)
        name = json.loads((model_folder / MODEL_SETTINGS).read_bytes()).get("name")
        if name not in {None, self.spec.model}:
            raise ClusterError(
                f"modelUri {self.spec.model_uri} holds a version of model {name!r}, but the graph "
                f"node is named {self.spec.model!r}; correct the path, or name the node {name!r}"
            )

    async def _serve(self, model_folder: Path) -> None:
        """Run the server until it ends, which is never what was wanted."""
        ports = Ports(http=free_port(), grpc=free_port(), metrics=free_port())
        self.ports = ports
        self._child = await self._processes.start(
            self.spec.name,
            [sys.executable, "-m", "runtimes.server", model_folder],
            {
                # `drain` has done that before the process is told to end.
                "ABSERVE_DRAIN_SECONDS": "0",
                # The log is kept whole, and a line for every answer would fill the disk.
                "ABSERVE_REQUEST_LOG": "refused",
                **self.spec.environment(ports, model_folder),
                "MLSERVER_HOST": HOST,
            },
            self.log,
            self._folder,
        )
        self._progress_to("Starting", "waiting for the server to be ready")
        ended = asyncio.create_task(self._child.wait())
        try:
            await self._wait_until_ready(self._child, ports)
            self.failing = False
            self._move_to("Ready", "")
            code = await asyncio.shield(ended)
        finally:
            ended.cancel()
        raise ClusterError(
            f"the server {describe_exit(code)}, last said: {self._child.last_words()}"
        )

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
                            f"last said: {child.last_words()}"
                        )
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            await child.stop(self.spec.grace_seconds)
            raise ClusterError(
                f"the server was not ready for model {self.spec.model!r} within "
                f"{_START_SECONDS:g} s, last said: {child.last_words()}"
            ) from None

    def _connected(self) -> bool:
        if self._child is None or not self._child.running or self.ports is None:
            return False
        try:
            connections = psutil.Process(self._child.pid).net_connections("tcp")
        except psutil.Error:
            return False
        return any(
            connection.status == psutil.CONN_ESTABLISHED
            and connection.laddr
            and connection.laddr.port in {self.ports.http, self.ports.grpc}
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
