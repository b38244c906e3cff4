"""The local cluster's Kubernetes API with no cluster behind it: the test plays the operator."""

import asyncio
import contextlib
import datetime as dt
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from abserve.cluster.admission import admission
from abserve.cluster.api import Store
from abserve.cluster.api.kinds import CONFIG_MAP, POD, SELDON_DEPLOYMENT, Kind
from abserve.cluster.api.server import Api
from abserve.cluster.api.status import ApiError
from abserve.cluster.certificates import make_certificate
from abserve.cluster.kubeconfig import kubeconfig
from tests.abserve.seldon.documents import Document, document

METRICS_PORT = 6000
TOKEN = "only this test knows"
_SECONDS = 10

T = TypeVar("T")
Operator = Callable[[Store, Document], None]


def serve(store: Store, changed: Document) -> None:
    """Make the deployment Available as it now is."""
    _write_status(store, changed, {"state": "Available", "description": ""})


def fail(store: Store, changed: Document) -> None:
    """Give the deployment up."""
    _write_status(store, changed, {"state": "Failed", "description": "candidate: no such bucket"})


def delete(store: Store, changed: Document) -> None:
    """Delete the deployment as soon as it is changed."""
    store.delete(SELDON_DEPLOYMENT, "shop", changed["metadata"]["name"])


def do_nothing(store: Store, changed: Document) -> None:
    """Leave the deployment as it is."""


def _write_status(store: Store, changed: Document, status: Document) -> None:
    observed = {"observedGeneration": changed["metadata"]["generation"]}
    store.update(SELDON_DEPLOYMENT, {**changed, "status": {**status, **observed}})


class Pods:
    """What the replicas expose, by name; the rest of a pod is not asked for here."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.end_when_asked: Callable[[str], None] = lambda _: None

    def logs(self, namespace: str, name: str, n_lines: int | None) -> str:
        raise NotImplementedError

    async def proxy(
        self, namespace: str, name: str, port: int | None, path: str
    ) -> tuple[int, str, bytes]:
        if (namespace, port, path) != ("shop", METRICS_PORT, "prometheus"):
            raise ApiError(400, f"no {path} on port {port} of {namespace}/{name}")
        self.end_when_asked(name)
        if name not in self.texts:
            raise ApiError(503, f"pod {name!r} does not answer")
        return 200, "text/plain; version=0.0.4; charset=utf-8", self.texts[name].encode()


class Server:
    """One TLS server for many tests, each with an API of its own."""

    def __init__(self, folder: Path) -> None:
        certificate = make_certificate(folder, _now())
        # asyncio sends at once only where a socket says that it speaks TCP.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_bytes(
            kubeconfig(self.url, certificate.certificate.read_bytes(), TOKEN)
        )
        self.app: ASGIApp | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._answer,
                ssl_certfile=str(certificate.certificate),
                ssl_keyfile=str(certificate.key),
                log_config=None,
                lifespan="off",
                interface="asgi3",
                timeout_graceful_shutdown=1,
            )
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Server":
        self._thread.start()
        deadline = time.monotonic() + _SECONDS
        while not self._server.started:
            if time.monotonic() > deadline:
                raise TimeoutError("the API does not start")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(_SECONDS)
        self._socket.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` where the API is, and return what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    def hang_up(self) -> None:
        """End connections that clients keep, instead of waiting until they do."""
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.app is None:
            raise RuntimeError("a request came after the end of its test")
        await self.app(scope, receive, send)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._server.serve([self._socket]))


class LocalApi:
    """The API with nothing in it; `operator` answers each new generation of a deployment."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.kubeconfig = server.kubeconfig
        self.operator: Operator = serve
        self.generations: list[Document] = []
        self.pods = Pods()
        # Where it is used: its state belongs to the thread that made it.
        self._store = server.run(_new_store())
        self._server = server

    def __enter__(self) -> "LocalApi":
        self._server.app = Api(self._store, TOKEN, admission, self.pods, _now).app
        self._operating = self._server.run(self._start_operator())
        return self

    def __exit__(self, *_: object) -> None:
        self._server.run(self._end())
        self._server.app = None

    def create(self, kind: Kind, value: Document) -> None:
        self._do(lambda: self._store.create(kind, value))

    def apply(self, value: Document | None = None) -> None:
        """Create a deployment of namespace shop and wait until the operator has answered."""
        n_before = len(self.generations)
        self.create(SELDON_DEPLOYMENT, document() if value is None else value)
        deadline = time.monotonic() + _SECONDS
        while len(self.generations) == n_before and time.monotonic() < deadline:
            time.sleep(0.01)

    def run_pod(
        self,
        name: str,
        predictor: str,
        text: str | None,
        *,
        ready: bool = True,
        stopping: bool = False,
    ) -> None:
        """Show a replica of a predictor of iris, which exposes `text`."""
        if text is not None:
            self.pods.texts[name] = text
        labels = {"seldon-deployment-id": "iris", "seldon-app": f"iris-{predictor}"}
        deleted = {"deletionTimestamp": "2026-01-02T03:04:05Z"} if stopping else {}
        port = {"name": "metrics", "containerPort": METRICS_PORT}
        self.create(
            POD,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "shop", "labels": labels, **deleted},
                "spec": {"containers": [{"name": "iris", "ports": [port]}]},
                "status": {
                    "containerStatuses": [
                        {
                            "name": "iris",
                            "ready": ready,
                            "restartCount": 0,
                            "image": "",
                            "imageID": "",
                        }
                    ]
                },
            },
        )

    def delete(self) -> None:
        """Delete iris."""
        self._do(lambda: self._store.delete(SELDON_DEPLOYMENT, "shop", "iris"))

    def end_pod(self, name: str) -> None:
        """End a replica, from within a request of the API."""
        self._store.delete(POD, "shop", name)

    def publish_gateway(self, url: str) -> None:
        metadata = {"name": "abserve-gateway", "namespace": "kube-public"}
        self.create(
            CONFIG_MAP,
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"url": url}},
        )

    async def _start_operator(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._operate())

    async def _end(self) -> None:
        self._server.hang_up()
        self._operating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._operating

    async def _operate(self) -> None:
        answered = set()
        async for event in self._store.watch(SELDON_DEPLOYMENT, None, 0):
            metadata = event.document["metadata"]
            generation = (metadata["name"], metadata["generation"])
            if event.change != "DELETED" and generation not in answered:
                answered.add(generation)
                self.operator(self._store, event.document)
                self.generations.append(event.document)

    def _do(self, change: Callable[[], Any]) -> None:
        async def run() -> None:
            change()

        self._server.run(run())


async def _new_store() -> Store:
    return Store(_now)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
