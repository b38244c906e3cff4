"""The local cluster as a whole: what starts in which order, and ends in the reverse.

::

    1. repository endpoint   rclone serves the model repository as S3
    2. Kubernetes API        TLS, loopback only, token in the kubeconfig
    3. gateway               Envoy
    4. controller            starts and routes replicas as SeldonDeployments say
"""

import asyncio
import contextlib
import datetime as dt
import logging
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import uvicorn

from abserve.cluster.admission import admission
from abserve.cluster.api import Store
from abserve.cluster.api.kinds import CONFIG_MAP, NAMESPACE, OWN_NAMESPACES
from abserve.cluster.api.server import Api
from abserve.cluster.certificates import make_certificate
from abserve.cluster.controller import Controller
from abserve.cluster.gateway import Gateway
from abserve.cluster.home import ClusterRecord, Home, record_of, write_atomically
from abserve.cluster.kubeconfig import kubeconfig
from abserve.cluster.pods import PodRegistry
from abserve.cluster.ports import HOST, choose_port
from abserve.cluster.processes import Processes, stop_recorded
from abserve.cluster.secrets import FEEDBACK_KEY, MODEL_REPOSITORY
from abserve.cluster.storage import RepositoryEndpoint
from abserve.cluster.supervision import keep_running
from abserve.errors import ClusterError
from abserve.repository import Repository

USUAL_GATEWAY_PORT = 8080
USUAL_API_PORT = 6443
_GRACE_SECONDS = 10.0

# A repository elsewhere is read with the credentials of whoever starts the cluster.
_STORE_VARIABLES = ("AWS_", "GOOGLE_", "GCS_", "RCLONE_CONFIG_")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What a user chooses about a local cluster; a port of None takes the usual one if free."""

    repository: str
    gateway_port: int | None = None
    api_port: int | None = None


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
        self._tasks: list[asyncio.Task[None]] = []

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
        self._clean_up()
        stack.callback(self._home.write_cluster, None)
        http = await stack.enter_async_context(
            # Kept connections would look like clients to whoever waits for the last one to leave.
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        )
        gateway_port = self._choose("gateway", self._options.gateway_port, USUAL_GATEWAY_PORT)
        api_port = self._choose("api", self._options.api_port, USUAL_API_PORT)
        credentials = await self._start_repository(stack)
        api_url = f"https://{HOST}:{api_port}"
        gateway = Gateway(
            self._processes,
            self._home.gateway,
            self._home.logs / "envoy.log",
            gateway_port,
            http,
        )
        store = Store(_now)
        pods = PodRegistry(store, http, _now)
        record = ClusterRecord(
            process=record_of("abserve up", os.getpid()),
            ready=False,
            repository=self._repository.url,
            api_url=api_url,
            gateway_url=gateway.url,
        )
        self._home.write_cluster(record)
        for namespace in OWN_NAMESPACES:
            store.create(NAMESPACE, _namespace(namespace))
        store.create(CONFIG_MAP, _gateway_config_map(gateway.url))
        await self._start_api(stack, store, pods, api_url, api_port)
        await self._start_gateway(stack, gateway)
        controller = Controller(
            store=store,
            gateway=gateway,
            processes=self._processes,
            pods=pods,
            home=self._home,
            http=http,
            secrets={
                MODEL_REPOSITORY: credentials,
                FEEDBACK_KEY: {"key": secrets.token_urlsafe(32)},
            },
            report=self._report,
            now=_now,
        )
        self._in_background(stack, controller.run())
        self._home.write_cluster(record.model_copy(update={"ready": True}))
        self._report("ready")

    def _clean_up(self) -> None:
        """Stop what an earlier cluster left behind when it was killed."""
        left = self._home.processes()
        if left:
            self._report(f"stopping {len(left)} processes that an earlier cluster left behind")
            stop_recorded(left)
        self._home.write_processes([])
        shutil.rmtree(self._home.pods, ignore_errors=True)
        shutil.rmtree(self._home.gateway, ignore_errors=True)
        self._home.make()

    def _choose(self, name: str, wanted: int | None, usual: int) -> int:
        port, note = choose_port(name, wanted, usual)
        if note:
            self._report(note)
        return port

    async def _start_repository(self, stack: contextlib.AsyncExitStack) -> Mapping[str, str]:
        """Start the S3 endpoint of a repository on this machine; return what rclone needs."""
        folder = self._repository.folder
        if folder is None:
            self._report(f"model repository: {self._repository.url}")
            inherited = {
                name: value
                for name, value in os.environ.items()
                if name.startswith(_STORE_VARIABLES)
            }
            return {
                "RCLONE_CONFIG_S3_TYPE": "s3",
                "RCLONE_CONFIG_S3_ENV_AUTH": "true",
                "RCLONE_CONFIG_S3_ENDPOINT": os.environ.get("AWS_ENDPOINT_URL", ""),
                **inherited,
            }
        endpoint = RepositoryEndpoint(self._processes, folder, self._home.logs / "rclone.log")
        child = await endpoint.start()
        self._in_background(
            stack, keep_running(child, endpoint.start, self._report, _GRACE_SECONDS)
        )
        self._report(
            f"model repository: {self._repository.url}, as s3://models at "
            f"{endpoint.credentials.endpoint}"
        )
        return {**endpoint.credentials.for_rclone(), **endpoint.credentials.for_aws()}

    async def _start_api(
        self,
        stack: contextlib.AsyncExitStack,
        store: Store,
        pods: PodRegistry,
        api_url: str,
        port: int,
    ) -> None:
        token = secrets.token_urlsafe(32)
        certificate = make_certificate(self._home.tls, _now())
        api = Api(store, token, admission, pods, _now)
        server = _ApiServer(
            uvicorn.Config(
                api.app,
                host=HOST,
                port=port,
                ssl_certfile=str(certificate.certificate),
                ssl_keyfile=str(certificate.key),
                access_log=False,
                log_config=None,
                lifespan="off",
                # Watches stay open for ever; they do not hold up the end.
                timeout_graceful_shutdown=1,
            )
        )
        await server.start()
        stack.push_async_callback(server.stop)
        write_atomically(
            self._home.kubeconfig,
            kubeconfig(api_url, certificate.certificate.read_bytes(), token),
        )
        self._report(f"Kubernetes API: {api_url}, kubeconfig {self._home.kubeconfig}")

    async def _start_gateway(self, stack: contextlib.AsyncExitStack, gateway: Gateway) -> None:
        child = await gateway.start()
        self._in_background(stack, keep_running(child, gateway.start, self._report, _GRACE_SECONDS))
        self._report(f"gateway: {gateway.url}")

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


class _ApiServer(uvicorn.Server):
    """A uvicorn server inside our own event loop; signals are the cluster's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def start(self) -> None:
        self._serving = asyncio.get_running_loop().create_task(self.serve())
        while not self.started:
            if self._serving.done():
                raise ClusterError(
                    f"the Kubernetes API cannot listen on port {self.config.port}; "
                    "choose another with --api-port"
                )
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self.should_exit = True
        await self._serving


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _namespace(name: str) -> dict[str, Any]:
    return {
        "apiVersion": NAMESPACE.api_version,
        "kind": NAMESPACE.name,
        "metadata": {"name": name},
        "status": {"phase": "Active"},
    }


def _gateway_config_map(url: str) -> dict[str, Any]:
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.name,
        "metadata": {"name": "abserve-gateway", "namespace": "kube-public"},
        "data": {"url": url},
    }
