"""MLServer's gRPC server with our services: `GrpcServer`.

Messages are read up to ``$ABSERVE_MAX_BODY_BYTES``, like the bodies of REST, unless MLServer's own
setting ``grpc_max_message_length`` says otherwise.
"""

from typing import Any

from grpc import aio
from mlserver import Settings
from mlserver.grpc import GRPCServer
from mlserver.grpc.dataplane_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from mlserver.grpc.interceptors import PromServerInterceptor
from mlserver.grpc.model_repository_pb2_grpc import add_ModelRepositoryServiceServicer_to_server
from mlserver.handlers import DataPlane, ModelRepositoryHandlers
from mlserver.tracing import get_tracer_provider
from opentelemetry.instrumentation.grpc import aio_server_interceptor, filters
from prometheus_client import REGISTRY, CollectorRegistry

from runtimes.body_limit import limit_from_environment
from runtimes.grpc_calls import Registrar
from runtimes.grpc_service import InferenceServicer, RepositoryServicer

_UNTRACED = ("ServerLive", "ServerReady")


class GrpcServer(GRPCServer):
    """MLServer's gRPC server, with our services in the place of its own."""

    def __init__(
        self,
        settings: Settings,
        data_plane: DataPlane,
        model_repository_handlers: ModelRepositoryHandlers,
    ) -> None:
        super().__init__(settings, data_plane, model_repository_handlers)
        self._limit_bytes = limit_from_environment()

    def _create_server(self) -> aio.Server:
        settings, handlers = self._settings, self._model_repository_handlers
        # Where metrics are off, they are counted for nobody.
        registry = REGISTRY if settings.metrics_endpoint else CollectorRegistry()
        metrics = PromServerInterceptor(  # type: ignore[no-untyped-call]  # MLServer's
            enable_handling_time_histogram=True, registry=registry
        )
        self._server = aio.server(
            interceptors=self._create_interceptors(), options=self._get_options()
        )
        registrar = Registrar(self._server, metrics)
        add_inference: Any = add_GRPCInferenceServiceServicer_to_server
        add_repository: Any = add_ModelRepositoryServiceServicer_to_server
        add_inference(InferenceServicer(settings, self._data_plane, handlers), registrar)
        add_repository(RepositoryServicer(handlers), registrar)
        self._server.add_insecure_port(f"{settings.host}:{settings.grpc_port}")
        return self._server

    def _create_interceptors(self) -> list[aio.ServerInterceptor]:
        """Return those of MLServer's that are asked for; each costs every call some time."""
        interceptors: list[aio.ServerInterceptor] = []
        if self._settings.tracing_server:
            health = [
                filters.full_method_name(f"/inference.GRPCInferenceService/{method}")
                for method in _UNTRACED
            ]
            interceptors.append(
                aio_server_interceptor(  # type: ignore[no-untyped-call]  # OpenTelemetry's
                    tracer_provider=get_tracer_provider(self._settings),
                    filter_=filters.negate(filters.any_of(*health)),
                )
            )
        return interceptors

    def _get_options(self) -> list[tuple[str, Any]]:
        options = {
            "grpc.max_receive_message_length": self._limit_bytes,
            # Otherwise two servers listen on one port, each getting some of the calls.
            "grpc.so_reuseport": 0,
        }
        return list({**options, **dict(super()._get_options())}.items())
