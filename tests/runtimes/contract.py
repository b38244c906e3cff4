"""What every runtime promises, whatever it computes."""

import json

import pytest
from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.grpc.converters import ModelInferResponseConverter
from mlserver.handlers.custom import get_custom_handlers
from mlserver.types import InferenceRequest, RequestOutput

from abserve import __version__


class RuntimeContract:
    """Fixtures to supply: `runtime` (loaded) and `request_` (one valid request)."""

    async def test_is_ready_once_loaded(self, runtime: MLModel) -> None:
        assert runtime.ready

    async def test_echoes_request_id(self, runtime: MLModel, request_: InferenceRequest) -> None:
        request_.id = "r-1"
        assert (await runtime.predict(request_)).id == "r-1"

    async def test_gives_every_request_an_id_of_its_own(
        self, runtime: MLModel, request_: InferenceRequest
    ) -> None:
        first = await runtime.predict(request_.model_copy())
        second = await runtime.predict(request_.model_copy())
        assert first.id
        assert first.id != second.id

    async def test_an_empty_id_as_grpc_sends_it_counts_as_none(
        self, runtime: MLModel, request_: InferenceRequest
    ) -> None:
        request_.id = ""
        response = await runtime.predict(request_)
        assert response.id
        assert request_.id == response.id

    async def test_names_model_and_version(
        self, runtime: MLModel, request_: InferenceRequest
    ) -> None:
        response = await runtime.predict(request_)
        assert (response.model_name, response.model_version) == (runtime.name, runtime.version)

    async def test_sends_version_and_request_id_as_headers(
        self, runtime: MLModel, request_: InferenceRequest
    ) -> None:
        request_.id = "r-1"
        parameters = (await runtime.predict(request_)).parameters
        assert parameters is not None
        assert parameters.headers == {
            "x-model-version": runtime.version,
            "x-service-version": __version__,
            "x-request-id": "r-1",
        }
        assert parameters.service_version == __version__

    async def test_gives_a_feedback_token(
        self, runtime: MLModel, request_: InferenceRequest
    ) -> None:
        parameters = (await runtime.predict(request_)).parameters
        assert isinstance(parameters.feedback_token, str)

    async def test_outputs_are_those_of_the_metadata(
        self, runtime: MLModel, request_: InferenceRequest
    ) -> None:
        response = await runtime.predict(request_)
        metadata = await runtime.metadata()
        assert [(o.name, o.datatype, len(o.shape)) for o in response.outputs] == [
            (o.name, o.datatype, len(o.shape)) for o in metadata.outputs or []
        ]

    async def test_answers_with_the_requested_output_only(
        self, runtime: MLModel, request_: InferenceRequest
    ) -> None:
        wanted = (await runtime.metadata()).outputs[-1].name
        request_.outputs = [RequestOutput(name=wanted)]
        response = await runtime.predict(request_)
        assert [output.name for output in response.outputs] == [wanted]

    async def test_refuses_an_unknown_output(
        self, runtime: MLModel, request_: InferenceRequest
    ) -> None:
        request_.outputs = [RequestOutput(name="nope")]
        with pytest.raises(MLServerError, match="output 'nope' is not known") as caught:
            await runtime.predict(request_)
        assert caught.value.status_code == 400

    async def test_refuses_a_request_without_inputs(self, runtime: MLModel) -> None:
        with pytest.raises(MLServerError, match="no inputs") as caught:
            await runtime.predict(InferenceRequest(inputs=[]))
        assert caught.value.status_code == 400

    @pytest.mark.parametrize("id_", ["a\r\nset-cookie: x", "ünïcode", "a" * 129, " ", "\x00"])
    async def test_refuses_an_id_that_is_no_header(
        self, runtime: MLModel, request_: InferenceRequest, id_: str
    ) -> None:
        request_.id = id_
        with pytest.raises(MLServerError, match="request id"):
            await runtime.predict(request_)

    async def test_response_is_json(self, runtime: MLModel, request_: InferenceRequest) -> None:
        response = await runtime.predict(request_)
        assert json.loads(response.model_dump_json())["model_name"] == runtime.name

    async def test_response_can_be_sent_by_grpc(
        self, runtime: MLModel, request_: InferenceRequest
    ) -> None:
        response = await runtime.predict(request_)
        sent = ModelInferResponseConverter.from_types(response)
        assert sent.model_version == runtime.version

    async def test_takes_feedback_at_a_path_of_its_own(self, runtime: MLModel) -> None:
        handlers = [handler for handler, _ in get_custom_handlers(runtime)]
        assert [(handler.rest_method, handler.rest_path) for handler in handlers] == [
            ("POST", f"/v2/models/{runtime.name}/feedback")
        ]
