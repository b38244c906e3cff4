"""MLServer's gRPC services, where our runtimes answer without its types and its data plane.

::

    ModelInfer, ModelStreamInfer ─┬─> one of our runtimes ─> Request ─> infer ─> Answer
                                  └─> any other model ─────> MLServer's data plane
    all other methods ──────────────> as MLServer has them

Errors are raised, whatever they are; `grpc_calls` makes statuses of them.
"""
# ruff: noqa: N802  # methods have the names that the protocol gives them

from collections.abc import AsyncIterator
from itertools import chain
from time import perf_counter
from typing import NamedTuple, TypeVar

from mlserver import Settings
from mlserver.cloudevents import CloudEventsMiddleware
from mlserver.errors import MLServerError
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc import model_repository_pb2 as repository_pb
from mlserver.grpc import servicers
from mlserver.grpc.converters import ModelInferResponseConverter, ModelMetadataResponseConverter
from mlserver.grpc.model_repository import ModelRepositoryServicer
from mlserver.handlers import DataPlane, ModelRepositoryHandlers
from mlserver.types import InferenceRequest
from mlserver.utils import insert_headers

from runtimes.answer_headers import headers_of
from runtimes.closed import LOADING_VARIABLE, loading_is_open
from runtimes.grpc_calls import Context
from runtimes.grpc_messages import (
    ResponseWriter,
    parameters_of,
    read_request,
    to_inference_request,
    to_parameter,
)
from runtimes.lookup import find_model
from runtimes.refusals import RefusedError, check_n_inputs
from runtimes.runtime import Runtime
from runtimes.server_metrics import InferenceCounts
from runtimes.units import unit_header_from_environment, unit_of

_NOT_IMPLEMENTED = 501

_Index = TypeVar("_Index", pb.RepositoryIndexResponse, repository_pb.RepositoryIndexResponse)


class _Voice(NamedTuple):
    """What is the same in all answers of a runtime."""

    runtime: Runtime
    writer: ResponseWriter
    metadata: tuple[tuple[str, str], ...]


class InferenceServicer(servicers.InferenceServicer):
    """Answers ``inference.GRPCInferenceService``.

    A request with raw values gets raw values; class names and other lists among the parameters of
    a tensor are JSON in a string, because gRPC's parameters have no lists.

    Parameters
    ----------
    settings : Settings
        MLServer's.
    data_plane : DataPlane
        Knows the models, and holds MLServer's metrics of inference.
    model_repository_handlers : ModelRepositoryHandlers
        Lists, loads and unloads models.
    """

    def __init__(
        self,
        settings: Settings,
        data_plane: DataPlane,
        model_repository_handlers: ModelRepositoryHandlers,
    ) -> None:
        super().__init__(data_plane, model_repository_handlers)
        self._registry = data_plane._model_registry
        self._cloud_events = CloudEventsMiddleware(settings)
        self._inferences = InferenceCounts(data_plane)
        self._unit_header = unit_header_from_environment()
        self._voices: dict[tuple[str, str | None], _Voice] = {}

    async def ModelInfer(
        self, request: pb.ModelInferRequest, context: Context
    ) -> bytes | pb.ModelInferResponse:
        runtime = await self._find(request)
        if runtime is not None:
            # Bytes, since whoever sends a message would only serialize it.
            return self._answer(runtime, request, context)
        result = await self._data_plane.infer(
            payload=self._InsertHeaders(request, context),
            name=request.model_name,
            version=request.model_version or None,
        )
        self._SetTrailingMetadata(result, context)
        return ModelInferResponseConverter.from_types(result, use_raw=self._GetReturnRaw(request))

    async def ModelStreamInfer(
        self, requests_stream: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncIterator[bytes | pb.ModelInferResponse]:
        first = await anext(requests_stream, None)
        if first is None:
            raise MLServerError("the stream ended without a request; expected at least one")
        if await self._find(first) is None:
            async for response in self._stream_elsewhere(first, requests_stream, context):
                yield response
            return
        yield await self.ModelInfer(first, context)
        async for request in requests_stream:
            yield await self.ModelInfer(request, context)

    async def ModelReady(
        self, request: pb.ModelReadyRequest, context: Context
    ) -> pb.ModelReadyResponse:
        ready = await self._data_plane.model_ready(request.name, request.version or None)
        return pb.ModelReadyResponse(ready=ready)

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        metadata = await self._data_plane.model_metadata(request.name, request.version or None)
        response = ModelMetadataResponseConverter.from_types(metadata)
        # MLServer leaves out what gRPC has no type for: the names of columns and of classes.
        for tensor, described in zip(
            chain(response.inputs, response.outputs),
            chain(metadata.inputs or (), metadata.outputs or ()),
            strict=True,
        ):
            parameters = dict(described.parameters) if described.parameters else {}
            for key, value in parameters.items():
                if isinstance(value, list | dict):
                    tensor.parameters[key].CopyFrom(to_parameter(value))
        return response

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: Context
    ) -> pb.RepositoryIndexResponse:
        return _name_states(await super().RepositoryIndex(request, context))

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        _check_loading_is_open()
        await self._model_repository_handlers.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        _check_loading_is_open()
        await self._model_repository_handlers.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def _find(self, request: pb.ModelInferRequest) -> Runtime | None:
        """Return the runtime that answers by itself, None if the data plane has to be asked."""
        model = await find_model(self._registry, request.model_name, request.model_version or None)
        if isinstance(model, Runtime) and model.ready:
            return model
        return None

    def _answer(self, runtime: Runtime, request: pb.ModelInferRequest, context: Context) -> bytes:
        start = perf_counter()
        voice = self._voice_of(runtime)
        success = False
        try:
            first_exposure = runtime.count_unit(self._unit_of(context))
            with runtime.refusals_counted():
                check_n_inputs(len(request.inputs))
                for where, parameters in parameters_of(request):
                    runtime.check_content_type(where, parameters)
                read = read_request(request)
            answer = runtime.infer(read, first_exposure=first_exposure)
            success = True
        finally:
            seconds = perf_counter() - start
            self._inferences.count(runtime.name, runtime.version, seconds, success=success)
        request_id = answer.request_id
        context.set_trailing_metadata(
            (
                *voice.metadata,
                ("x-request-id", request_id),
                ("ce-id", request_id),
                ("ce-requestid", request_id),
            )
        )
        return voice.writer.write(answer, raw=bool(request.raw_input_contents))

    def _unit_of(self, context: Context) -> bytes | None:
        if not self._unit_header:
            return None
        metadata = context.invocation_metadata() or ()
        return unit_of(value for key, value in metadata if key == self._unit_header)

    def _voice_of(self, runtime: Runtime) -> _Voice:
        key = (runtime.name, runtime.version)
        voice = self._voices.get(key)
        # A version that is loaded again may have other outputs.
        if voice is None or voice.runtime is not runtime:
            metadata = headers_of(runtime, self._cloud_events)
            voice = self._voices[key] = _Voice(
                runtime,
                ResponseWriter(runtime.name, runtime.version or ""),
                tuple(metadata.items()),
            )
        return voice

    async def _stream_elsewhere(
        self,
        first: pb.ModelInferRequest,
        others: AsyncIterator[pb.ModelInferRequest],
        context: Context,
    ) -> AsyncIterator[pb.ModelInferResponse]:
        use_raw = self._GetReturnRaw(first)
        async for result in self._data_plane.infer_stream(
            payloads=self._PayloadsMetadataGenerator(first, others, context),
            name=first.model_name,
            version=first.model_version or None,
        ):
            self._SetTrailingMetadata(result, context)
            yield ModelInferResponseConverter.from_types(result, use_raw=use_raw)

    def _InsertHeaders(self, request: pb.ModelInferRequest, context: Context) -> InferenceRequest:
        """Return the request that MLServer's data plane is asked."""
        try:
            payload = to_inference_request(request)
        except RefusedError as error:
            # No runtime of ours has counted and logged it.
            raise MLServerError(str(error), error.status_code) from error
        # Not with MLServer's own function: it reads the trailing metadata too, and cannot if there
        # is any already, as there is after the first request of a stream.
        return insert_headers(payload, dict(context.invocation_metadata() or ()))


class RepositoryServicer(ModelRepositoryServicer):
    """Answers ``inference.model_repository.ModelRepositoryService``, which is an older name."""

    async def RepositoryIndex(
        self, request: repository_pb.RepositoryIndexRequest, context: Context
    ) -> repository_pb.RepositoryIndexResponse:
        index: repository_pb.RepositoryIndexResponse
        index = await super().RepositoryIndex(request, context)
        return _name_states(index)

    async def RepositoryModelLoad(
        self, request: repository_pb.RepositoryModelLoadRequest, context: Context
    ) -> repository_pb.RepositoryModelLoadResponse:
        _check_loading_is_open()
        await self._handlers.load(request.model_name)
        return repository_pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: repository_pb.RepositoryModelUnloadRequest, context: Context
    ) -> repository_pb.RepositoryModelUnloadResponse:
        _check_loading_is_open()
        await self._handlers.unload(request.model_name)
        return repository_pb.RepositoryModelUnloadResponse()


def _name_states(index: _Index) -> _Index:
    for model in index.models:
        # MLServer writes Python's name of the value.
        model.state = model.state.removeprefix("State.")
    return index


def _check_loading_is_open() -> None:
    if not loading_is_open():
        raise MLServerError(
            "loading and unloading are closed, because the SeldonDeployment says what is served; "
            f"to open them, start the server with {LOADING_VARIABLE}=true",
            _NOT_IMPLEMENTED,
        )
