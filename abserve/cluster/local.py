"""The local cluster as a whole: what starts in which order, and ends in the reverse.

::

    1. state                 what an earlier cluster kept: objects, token, ports
    2. repository endpoint   rclone serves the model repository as S3
    3. gateway               Envoy
    4. controller            takes over replicas that still run, then starts and routes them as
                             SeldonDeployments say
    5. Kubernetes API        TLS, loopback only, token in the kubeconfig
    6. console               a web page, a client of the API like any other
    7. recorder              keeps what the replicas count, another client

Whatever an earlier cluster left running when it was killed goes on serving all the while: it is
taken over if it is what this cluster would start, and stopped only once nobody has a use for it.
"""

import asyncio
import contextlib
import datetime as dt
import json
import logging
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from abserve.cluster.admission import admission
from abserve.cluster.api import Store
from abserve.cluster.api.server import Api
from abserve.cluster.api_server import ApiServer
from abserve.cluster.certificates import kept_certificate
from abserve.cluster.console import CONSOLE, Console
from abserve.cluster.controller import Controller
from abserve.cluster.gateway import ENVOY, Gateway
from abserve.cluster.home import (
    ClusterRecord,
    Home,
    ProcessRecord,
    record_of,
    write_atomically,
)
from abserve.cluster.kubeconfig import kubeconfig
from abserve.cluster.logs import keep_logs_small
from abserve.cluster.own_objects import make_own_objects
from abserve.cluster.pods import PodRegistry
from abserve.cluster.ports import HOST, choose_port
from abserve.cluster.processes import Child, Processes
from abserve.cluster.recorder import RECORDER, Recorder
from abserve.cluster.secrets import FEEDBACK_KEY, MODEL_REPOSITORY
from abserve.cluster.state import State
from abserve.cluster.storage import (
    RCLONE,
    RepositoryEndpoint,
    callers_credentials,
    kept_credentials,
)
from abserve.cluster.supervision import keep_running
from abserve.gateway import Listener
from abserve.repository import Repository

USUAL_GATEWAY_PORT = 8080
USUAL_API_PORT = 6443
USUAL_CONSOLE_PORT = 8088
_GRACE_SECONDS = 10.0

# Settings that outlive the cluster.
_ENDPOINT = "repository endpoint"
_STANDARD_SECRETS = "standard secrets"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What a user chooses about a local cluster; a port of None takes the usual one if free."""

    repository: str
    gateway_port: int | None = None
    api_port: int | None = None
    console_port: int | None = None
    console: bool = True
    listener: Listener = field(default_factory=Listener)
    record_every_seconds: int = 5
    """How often what the replicas count is recorded; 0 for never."""
    public_key: Path | None = None
    """PEM file of the keys one of which must have signed what is served."""


class _Part(Protocol):
    """A process of the cluster's own, such as the gateway or the console."""

    def resume(self, record: ProcessRecord) -> Child | None: ...

    async def start(self) -> Child: ...


class LocalCluster:
    """One local cluster, from start to stop.

    Parameters
    ----------
    home : Home
        Its folder.
    options : Options
        What the user chose.
    report : callable
        Told in words what happens.
    """

    def __init__(self, home: Home, options: Options, report: Callable[[str], None]) -> None:
        self._home = home
        self._options = options
        self._report = report
        self._repository = Repository(options.repository)
        self._processes = Processes(home)

    async def run(self) -> None:
        """Start everything, run until SIGINT or SIGTERM, and stop everything.

        Raises
        ------
        ClusterError
            If a part cannot be started; what was started already is stopped again.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with contextlib.AsyncExitStack() as stack:
            starting = asyncio.create_task(self._start(stack))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            await stopping
            self._report("stopping")
        self._report("stopped")

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        self._home.make()
        stack.callback(self._home.write_cluster, None)
        state = State(self._home.state)
        stack.callback(state.close)
        http = await stack.enter_async_context(
            # Kept connections would look like clients to whoever waits for the last one to leave.
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        )
        api_port = self._choose("api", self._options.api_port, state, USUAL_API_PORT)
        api_url = f"https://{HOST}:{api_port}"
        record = ClusterRecord(
            process=record_of("abserve up", os.getpid()),
            ready=False,
            repository=self._repository.url,
            api_url=api_url,
            gateway_url="",
        )
        self._home.write_cluster(record)
        if self._options.public_key is not None:
            self._report(f"serving only what is signed with a key of {self._options.public_key}")
        credentials = await self._start_repository(stack, state)
        gateway = await self._start_gateway(stack, state, http)
        store = Store(_now, state)
        make_own_objects(store, gateway.url)
        pods = PodRegistry(store, http, _now)
        standard = {
            MODEL_REPOSITORY: credentials,
            FEEDBACK_KEY: {"key": _kept_secret(state, FEEDBACK_KEY)},
        }
        earlier = json.loads(state.setting(_STANDARD_SECRETS) or "{}")
        state.settle(_STANDARD_SECRETS, json.dumps(standard))
        controller = Controller(
            store=store,
            gateway=gateway,
            state=state,
            processes=self._processes,
            pods=pods,
            home=self._home,
            http=http,
            secrets=standard,
            earlier_secrets=earlier,
            public_key=self._options.public_key,
            report=self._report,
            now=_now,
        )
        controller.resume()
        unused = self._unused_folders()
        await self._start_api(stack, state, store, pods, api_port)
        self._in_background(stack, controller.run())
        self._in_background(stack, keep_logs_small(self._home))
        console_url = await self._start_console(stack, state)
        await self._start_recorder(stack)
        await self._stop_left(unused)
        self._home.write_cluster(
            record.model_copy(
                update={"ready": True, "gateway_url": gateway.url, "console_url": console_url}
            )
        )
        self._report("ready")

    def _choose(
        self,
        name: str,
        wanted: int | None,
        state: State,
        usual: int,
        running: ProcessRecord | None = None,
    ) -> int:
        """Choose a port: the wanted one, else that of an earlier cluster, else the usual one."""
        if running is not None and wanted in {None, running.details["port"]}:
            return int(running.details["port"])
        earlier = state.setting(f"{name} port")
        port, note = choose_port(name, wanted, int(earlier) if earlier else usual)
        state.settle(f"{name} port", str(port))
        if note:
            self._report(note)
        return port

    def _left(self, name: str) -> ProcessRecord | None:
        return next((each for each in self._processes.left if each.name == name), None)

    def _unused_folders(self) -> list[Path]:
        """Return the folders of replicas that an earlier cluster had and this one has not."""
        used = {f"{each.details.get('namespace')}.{each.name}" for each in self._processes.records}
        return [folder for folder in self._home.pods.iterdir() if folder.name not in used]

    async def _stop_left(self, folders: Sequence[Path]) -> None:
        """Stop what was left running and is of no use, and remove its files."""
        if self._processes.left:
            n_left = len(self._processes.left)
            self._report(f"stopping {n_left} processes that an earlier cluster left behind")
            await self._processes.stop_left(_GRACE_SECONDS)
        for folder in folders:
            shutil.rmtree(folder)

    async def _start_repository(
        self, stack: contextlib.AsyncExitStack, state: State
    ) -> Mapping[str, str]:
        """Start the S3 endpoint of a repository on this machine; return what rclone needs."""
        folder = self._repository.folder
        if folder is None:
            self._report(f"model repository: {self._repository.url}")
            return callers_credentials()
        endpoint = RepositoryEndpoint(
            self._processes,
            folder,
            self._home.logs / "rclone.log",
            kept_credentials(state.setting(_ENDPOINT), running=self._left(RCLONE) is not None),
        )
        state.settle(_ENDPOINT, json.dumps(asdict(endpoint.credentials)))
        await self._run_part(stack, RCLONE, endpoint)
        self._report(
            f"model repository: {self._repository.url}, as s3://models at "
            f"{endpoint.credentials.endpoint}"
        )
        return {**endpoint.credentials.for_rclone(), **endpoint.credentials.for_aws()}

    async def _start_gateway(
        self, stack: contextlib.AsyncExitStack, state: State, http: aiohttp.ClientSession
    ) -> Gateway:
        gateway = Gateway(
            self._processes,
            self._home.gateway,
            self._home.logs / "envoy.log",
            state,
            self._choose(
                "gateway",
                self._options.gateway_port,
                state,
                USUAL_GATEWAY_PORT,
                self._left(ENVOY),
            ),
            self._options.listener,
            http,
        )
        await self._run_part(stack, ENVOY, gateway)
        self._report(f"gateway: {gateway.url}")
        return gateway

    async def _start_api(
        self,
        stack: contextlib.AsyncExitStack,
        state: State,
        store: Store,
        pods: PodRegistry,
        port: int,
    ) -> None:
        token = _kept_secret(state, "token")
        certificate = kept_certificate(self._home.tls, _now())
        server = ApiServer(Api(store, token, admission, pods, _now).app, port, certificate)
        await server.start()
        stack.push_async_callback(server.stop)
        url = f"https://{HOST}:{port}"
        write_atomically(
            self._home.kubeconfig, kubeconfig(url, certificate.certificate.read_bytes(), token)
        )
        self._report(f"Kubernetes API: {url}, kubeconfig {self._home.kubeconfig}")

    async def _start_console(self, stack: contextlib.AsyncExitStack, state: State) -> str | None:
        if not self._options.console:
            return None
        left = self._left(CONSOLE)
        console = Console(
            self._processes,
            self._home,
            self._choose("console", self._options.console_port, state, USUAL_CONSOLE_PORT, left),
            _kept_secret(state, "console token"),
        )
        await self._run_part(stack, CONSOLE, console)
        self._report(f"console: {console.url}")
        return console.url

    async def _start_recorder(self, stack: contextlib.AsyncExitStack) -> None:
        every_seconds = self._options.record_every_seconds
        if not every_seconds:
            return
        await self._run_part(stack, RECORDER, Recorder(self._processes, self._home, every_seconds))
        self._report(f"recording: every {every_seconds} s, in {self._home.recording}")

    async def _run_part(self, stack: contextlib.AsyncExitStack, name: str, part: _Part) -> None:
        """Take over a part that runs already, or start it; then keep it running."""
        left = self._left(name)
        child = part.resume(left) if left is not None else None
        if child is None:
            if left is not None:
                self._report(f"{name} is started anew, because its options have changed")
                await self._processes.stop_left(_GRACE_SECONDS, name)
            child = await part.start()
        self._in_background(stack, keep_running(child, part.start, self._report, _GRACE_SECONDS))

    def _in_background(
        self, stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]
    ) -> None:
        """Do `work` until the cluster stops; then cancel it and wait for its end."""
        task = asyncio.get_running_loop().create_task(work)

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                _logger.error("a part of the cluster failed", exc_info=task.exception())
                # Half a cluster is worse than none: stop the whole, in order.
                os.kill(os.getpid(), signal.SIGTERM)

        task.add_done_callback(ended)
        stack.push_async_callback(end)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _kept_secret(state: State, name: str) -> str:
    """Return the secret that an earlier cluster made, or make one."""
    kept = state.setting(name) or secrets.token_urlsafe(32)
    state.settle(name, kept)
    return kept
