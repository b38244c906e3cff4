"""Serve the versions in a folder: ``python -m runtimes.server [FOLDER]``.

MLServer with the parts replaced that a gateway and a supervisor depend on: when the server says
that it is ready, how it refuses a request, when it closes a connection, and how it ends. A start
that fails ends with exit code 1, its reason being the last line on stderr. SIGTERM lets the gateway
look elsewhere first (`runtimes.draining`); SIGTERM and SIGINT let requests in flight finish and end
with exit code 0. ``mlserver start FOLDER`` serves the same
folder, with MLServer's own answers to these questions.

FOLDER is ``$MLSERVER_MODELS_DIR``, or else ``/mnt/models``, if it is not given.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from mlserver import MLServer, ModelSettings, Settings
from mlserver.errors import MLServerError
from mlserver.handlers import DataPlane, ModelRepositoryHandlers
from mlserver.metrics import MetricsServer
from mlserver.rest import RESTServer
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse

from abserve.errors import AbserveError
from runtimes.asgi import Receive, Scope, Send
from runtimes.body_limit import BodyLimit, limit_from_environment
from runtimes.closed import close_open_endpoints
from runtimes.draining import Draining, drain_seconds_from_environment
from runtimes.fast_path import FastPath, FastPathApp
from runtimes.folder import FOLDER_VARIABLE, read_folder
from runtimes.grpc_server import GrpcServer
from runtimes.http_errors import answer_errors_as_json
from runtimes.http_protocol import HttpProtocol
from runtimes.logs import configure_logs, flush_logs
from runtimes.lookup import find_model
from runtimes.readiness import answer_readiness
from runtimes.streaming import answer_streams

DEFAULT_FOLDER = "/mnt/models"

# The gateway closes a connection that is idle for 60 s. If the server were first, a request sent
# at that moment would be lost.
_KEEP_ALIVE_SECONDS = 75
# Seldon allows a pod 20 s to end, of which its preStop hook sleeps 10 and the drain takes 3.
_FINISH_SECONDS = 5

_logger = logging.getLogger("mlserver.abserve.server")


class StartError(AbserveError):
    """The server cannot start; the message is for the person who started it."""


class _HttpServer(uvicorn.Server):
    """A uvicorn server that leaves signals and exit codes to `Server`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def serve_or_raise(self) -> None:
        try:
            await self.serve()
        except SystemExit as error:  # how uvicorn says that it cannot listen
            raise StartError(
                f"port {self.config.port} on {self.config.host} cannot be listened on; "
                "another process may be using it"
            ) from error


class _RestServer(RESTServer):
    def __init__(
        self,
        settings: Settings,
        data_plane: DataPlane,
        model_repository_handlers: ModelRepositoryHandlers,
        draining: Draining,
    ) -> None:
        super().__init__(settings, data_plane, model_repository_handlers)
        self._draining = draining
        answer_errors_as_json(self._app)
        answer_readiness(self._app, data_plane)
        answer_streams(self._app, data_plane)
        close_open_endpoints(self._app)
        # A redirect would name whatever host the client wrote.
        self._app.router.redirect_slashes = False
        self._limit_bytes = limit_from_environment()
        self.fast_path = FastPath(self._app, settings, data_plane)

    async def start(self) -> None:
        server = _HttpServer(self._get_config())
        self._server = server  # type: ignore[assignment]  # `stop` needs a uvicorn server, any
        _logger.info(
            "HTTP server running on http://%s:%d", self._settings.host, self._settings.http_port
        )
        await server.serve_or_raise()

    def _get_config(self) -> uvicorn.Config:
        config: uvicorn.Config = super()._get_config()  # type: ignore[no-untyped-call]  # MLServer's
        config.app = BodyLimit(FastPathApp(self._app, self.fast_path), self._limit_bytes)
        config.http = partial(  # type: ignore[assignment]  # any callable that makes a protocol
            HttpProtocol,
            fast_path=self.fast_path,
            limit_bytes=self._limit_bytes,
            draining=self._draining,
        )
        config.ws = "none"
        # The addresses in headers of proxies are nothing we use.
        config.proxy_headers = False
        config.timeout_keep_alive = _KEEP_ALIVE_SECONDS
        config.timeout_graceful_shutdown = _FINISH_SECONDS
        return config


class _MetricsServer(MetricsServer):
    """MLServer's, which has what is pending counted before it answers."""

    def __init__(self, settings: Settings, count_pending: Callable[[], None]) -> None:
        super().__init__(settings)
        self._count_pending = count_pending

    def _get_config(self) -> uvicorn.Config:
        config: uvicorn.Config = super()._get_config()  # type: ignore[no-untyped-call]  # MLServer's

        # A function, because uvicorn takes a method for an app of an older kind.
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            self._count_pending()
            await self._app(scope, receive, send)

        config.app = answer
        return config

    async def start(self) -> None:
        server = _HttpServer(self._get_config())
        self._server = server  # type: ignore[assignment]  # `stop` needs a uvicorn server, any
        _logger.info(
            "Metrics served on http://%s:%d%s",
            self._settings.host,
            self._settings.metrics_port,
            self._settings.metrics_endpoint,
        )
        await server.serve_or_raise()


class _GrpcServer(GrpcServer):
    async def start(self) -> None:
        try:
            await super().start()  # type: ignore[no-untyped-call]  # MLServer's
        except RuntimeError as error:  # how gRPC says that it cannot listen
            raise StartError(
                f"gRPC port {self._settings.grpc_port} on {self._settings.host} cannot be "
                f"listened on: {error}"
            ) from error


class _DataPlane(DataPlane):
    """Knows when the server is ready, and labels MLServer's metrics by the version that serves."""

    def __init__(self, stock: DataPlane, draining: Draining) -> None:
        # MLServer has made its own already. Making another would register the same collectors
        # twice, which Prometheus refuses; this one shares them.
        vars(self).update(vars(stock))
        self._draining = draining

    async def ready(self) -> bool:
        models = list(await self._model_registry.get_models())
        loaded = bool(models) and all(model.ready for model in models)
        return loaded and not self._draining.begun

    async def model_ready(self, name: str, version: str | None = None) -> bool:
        model = await find_model(self._model_registry, name, version)
        return model.ready and not self._draining.begun

    async def model_metadata(self, name: str, version: str | None = None) -> MetadataModelResponse:
        await find_model(self._model_registry, name, version)
        return await super().model_metadata(name, version)

    # MLServer labels its metrics with the name and version in the URL, before it looks them up:
    # whoever sends made-up names makes as many time series. Looked up first, they are ours.

    async def infer(
        self, payload: InferenceRequest, name: str, version: str | None = None
    ) -> InferenceResponse:
        model = await find_model(self._model_registry, name, version)
        return await super().infer(payload, name, model.version)

    async def infer_stream(
        self,
        payloads: AsyncIterator[InferenceRequest],
        name: str,
        version: str | None = None,
    ) -> AsyncIterator[InferenceResponse]:
        model = await find_model(self._model_registry, name, version)
        stream: Any = super().infer_stream(payloads, name, model.version)
        # Closed with ours when the client goes away, not at some time later.
        async with aclosing(stream):
            async for response in stream:
                yield response


class Server(MLServer):
    """MLServer, ending with an error if it cannot serve every model it was started with."""

    def __init__(self, settings: Settings) -> None:
        # MLServer makes its parts in here, so what they need comes first.
        self._draining = Draining()
        self._drain_seconds = drain_seconds_from_environment()
        self._hurry = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None
        super().__init__(settings)

    async def start(self, models_settings: Sequence[ModelSettings] = ()) -> None:
        """Serve until a signal ends it.

        Raises
        ------
        StartError
            If a port is taken or a model cannot be loaded.
        """
        # MLServer's `start` methods carry no types.
        parts: list[Any] = [
            self._rest_server,
            self._grpc_server,
            self._metrics_server,
            self._kafka_server,
        ]
        serving = [asyncio.create_task(part.start()) for part in parts if part is not None]
        try:
            await asyncio.gather(*(self._load(settings) for settings in models_settings))
            # What is here now stays: the collector need not look at it for every few requests.
            gc.collect()
            gc.freeze()
            await asyncio.gather(*serving)
        except BaseException:
            # One part that cannot start does not end the others.
            await self.stop()
            await asyncio.gather(*serving, return_exceptions=True)
            raise

    async def stop(self, sig: int | None = None) -> None:
        """Stop listening, let requests in flight finish, and let `start` return."""
        # uvicorn takes a second SIGINT as "drop what is in flight"; ours is bounded anyway.
        sig = signal.SIGTERM
        # HTTP first: it only has to be told, and drains while gRPC is waited for.
        await self._rest_server.stop(sig)
        await super().stop(sig)

    def _create_servers(self) -> None:
        self._data_plane = _DataPlane(self._data_plane, self._draining)
        super()._create_servers()  # type: ignore[no-untyped-call]  # MLServer's
        self._rest_server = _RestServer(
            self._settings, self._data_plane, self._model_repository_handlers, self._draining
        )
        self._grpc_server = _GrpcServer(
            self._settings, self._data_plane, self._model_repository_handlers
        )
        if self._metrics_server:
            self._metrics_server = _MetricsServer(
                self._settings, self._rest_server.fast_path.count_pending
            )

    def _add_signal_handlers(self) -> None:
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            loop.add_signal_handler(sig, self._begin_to_stop, sig)

    def _begin_to_stop(self, sig: signal.Signals) -> None:
        if self._stopping is None:
            _logger.info("%s received; finishing what is asked", sig.name)
            # Kept, because the event loop itself does not keep its tasks alive.
            self._stopping = asyncio.create_task(self._drain_and_stop(sig))
        else:
            self._hurry.set()

    async def _drain_and_stop(self, sig: signal.Signals) -> None:
        # Whoever presses ctrl-C sits in front of it: there is no gateway to look elsewhere.
        if sig is signal.SIGTERM:
            self._draining.begun = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._drain_seconds)
        await self.stop(sig)

    async def _load(self, settings: ModelSettings) -> None:
        name = " ".join(filter(None, (settings.name, settings.version)))
        try:
            await self._model_registry.load(settings)
        except (AbserveError, MLServerError) as error:
            raise StartError(f"{name} cannot be loaded: {error}") from error
        except Exception as error:  # anything, since anyone may write a runtime
            _logger.exception("%s cannot be loaded", name)
            raise StartError(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error
        # Asked for again: with parallel workers, what `load` returns is not what is served.
        model = await self._model_registry.get_model(settings.name, settings.version)
        if not model.ready:
            raise StartError(f"{name} was loaded but says it is not ready; see its runtime's load")


async def serve(folder: Path) -> None:
    """Serve the models in `folder` until a signal ends it."""
    settings, models = read_folder(folder)
    configure_logs(settings)
    await Server(settings).start(models)


def main(arguments: Sequence[str]) -> None:
    """Run the server; leave by SystemExit if it cannot be run."""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        sys.stderr.write("usage: python -m runtimes.server [FOLDER]\n")
        sys.exit(2)
    folder = arguments[0] if arguments else os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER)
    try:
        configure_logs()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(Path(folder)))
    except AbserveError as error:
        # Printed last, without a traceback: a supervisor shows the last lines.
        flush_logs()
        sys.exit(f"abserve: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main(sys.argv[1:])
