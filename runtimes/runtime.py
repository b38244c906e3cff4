"""What all our runtimes are: a reader of inputs, an estimator, and one way to an answer.

::

    predict (MLServer's types) ──┐
    infer_json (bytes)         ──┼──> infer: read ─> compute ─> choose outputs ─> sign ─> Answer
    binary REST, gRPC          ──┘                                │
                                                          counted, logged

A runtime says how its version is opened, and nothing else; the protocol, the feedback, the counting
and the fast path are here, the same for all of them.
"""

import asyncio
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import orjson
from mlserver import MLModel, ModelSettings
from mlserver.errors import MLServerError
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
)
from mlserver.utils import get_model_uri

from abserve import __version__
from abserve.artifacts import Metadata, read_metadata, verify
from abserve.errors import ArtifactError
from runtimes.feedback import process_tokens
from runtimes.ground_truth import GroundTruthCounter, feedback_handler, process_counted_rows
from runtimes.inference import Request, Result, Rows, Tensor
from runtimes.json_requests import parse_plain
from runtimes.metrics import VersionMetrics
from runtimes.outputs import Output, Outputs, outputs_of
from runtimes.refusals import RefusedError
from runtimes.texts import enumerate_names, shorten

# The id becomes a header of the response, here and in MLServer, where other characters would end
# the header or fail to be encoded.
_REQUEST_ID = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_UNAVAILABLE = 503

# Ids tell requests apart, and keep nothing secret; a generator of the system would cost more than
# the inference. Seeded from the system's, so that no two processes give the same.
_random_bits = random.Random().getrandbits  # noqa: S311


class Reader(Protocol):
    """Turns the inputs of a request into rows; `content_types` are those inputs may name."""

    content_types: frozenset[str]

    def read(self, inputs: Sequence[Tensor]) -> Rows: ...

    def metadata(self) -> list[MetadataTensor]: ...


class Estimator(Protocol):
    """Computes a result from rows, or raises `RefusedError`."""

    def compute(self, rows: Rows) -> Result: ...


class Parts(NamedTuple):
    """What a runtime makes of a version's folder."""

    reader: Reader
    estimator: Estimator
    outputs: Outputs


class Answer(NamedTuple):
    """What one request is answered with, apart from the form it goes out in."""

    request_id: str
    outputs: tuple[Output, ...]
    result: Result
    token: str


class JsonAnswer(NamedTuple):
    """A response as it goes over the wire, and the request id in its headers."""

    body: bytes
    request_id: str


class Runtime(MLModel, ABC):
    """Serves one version; the base of all our runtimes.

    Every response has the parameters ``feedback_token``, to be sent with the ground truth to
    ``POST /v2/models/{name}/feedback``, and ``service_version``, that of the code which served it;
    its headers ``x-model-version``, ``x-service-version`` and ``x-request-id`` say who answered
    what. A request id is at most 128 printable ASCII characters.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._opened: _Opened | None = None
        self.feedback = feedback_handler(settings.name, self._count_feedback)

    @classmethod
    @abstractmethod
    def open_parts(cls, folder: Path, metadata: Metadata, settings: ModelSettings) -> Parts:
        """Open the version in `folder`, whose files are known to be as they were published.

        Raises
        ------
        ArtifactError
            If the files do not fit together.
        """

    async def load(self) -> bool:
        """Open the version's folder, and be ready if all of it is as it was published.

        Raises
        ------
        ArtifactError
            If a file is missing, altered or does not fit the others.
        FeedbackError
            If the environment's feedback key is too short.
        """
        uri = Path(await get_model_uri(self.settings))
        folder = uri if uri.is_dir() else uri.parent
        # In a thread, so that the health endpoints answer meanwhile.
        metadata, parts = await asyncio.to_thread(self._open, folder)
        self._opened = _Opened(metadata, parts)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        opened = self._get_opened()
        with self.refusals_counted():
            request = _to_request(payload, opened.parts.reader)
        answer = opened.infer(request)
        # MLServer copies the request's id to the response.
        payload.id = answer.request_id
        return opened.to_response(answer)

    def infer(self, request: Request) -> Answer:
        """Answer a request that arrived in whatever form.

        Raises
        ------
        RefusedError
            If the request is at fault; it is counted.
        MLServerError
            With status 503 if the version is not loaded yet.
        """
        return self._get_opened().infer(request)

    @contextmanager
    def refusals_counted(self) -> Iterator[None]:
        """Count a request that is refused before it is one."""
        opened = self._get_opened()
        try:
            yield
        except RefusedError as error:
            opened.count_refused(error)
            raise

    def json_of(self, answer: Answer, outputs: Sequence[bytes]) -> bytes:
        """Return the response as JSON, around outputs that are JSON already."""
        return self._get_opened().to_json(answer, outputs)

    def infer_json(self, body: bytes) -> JsonAnswer | None:
        """Answer a request as `predict` would, from its bytes to the response's.

        None if it is not a plain request with an answer; `predict` then says what is wrong.
        """
        request = parse_plain(body)
        opened = self._opened
        if request is None or opened is None:
            return None
        start = perf_counter()
        try:
            answer, rows = opened.compute(request)
        except RefusedError:
            return None
        outputs = [output.json(answer.result) for output in answer.outputs]
        content = opened.to_json(answer, outputs)
        opened.metrics.count_answer(perf_counter() - start, rows, answer.result)
        return JsonAnswer(content, answer.request_id)

    async def metadata(self) -> MetadataModelResponse:
        """Return inputs, outputs, shapes, datatypes and class names, as the artifact has them."""
        parts = self._get_opened().parts
        return MetadataModelResponse(
            name=self.name,
            platform=self.settings.platform,
            versions=[self.version] if self.version else [],
            inputs=parts.reader.metadata(),
            outputs=[output.metadata() for output in parts.outputs.all],
        )

    def _open(self, folder: Path) -> tuple[Metadata, Parts]:
        metadata = open_version(folder, self.name, self.version)
        return metadata, self.open_parts(folder, metadata, self.settings)

    def _count_feedback(self, body: Any) -> dict[str, Any]:
        return self._get_opened().ground_truth.count(body)

    def _get_opened(self) -> "_Opened":
        if self._opened is None:
            raise MLServerError(
                f"model {self.name!r} is not loaded yet; try again shortly", _UNAVAILABLE
            )
        return self._opened


def open_version(folder: Path, name: str, version: str | None) -> Metadata:
    """Check that a folder holds a version as it was published, and the one that was asked for.

    Raises
    ------
    ArtifactError
        If it does not.
    """
    verify(folder)
    metadata = read_metadata(folder)
    if (metadata.model, metadata.version) != (name, version):
        raise ArtifactError(
            f"{folder} holds {metadata.model} {metadata.version}, but its model settings say "
            f"{name} {version}; serve the folder as it was published"
        )
    return metadata


class _Opened:
    """An opened version: what `load` finds, and all that answering needs."""

    def __init__(self, metadata: Metadata, parts: Parts) -> None:
        self.name, self.version = metadata.model, metadata.version
        self.parts = parts
        self.metrics = VersionMetrics(
            metadata.model,
            metadata.version,
            metadata.schema_,
            metadata.reference,
            metadata.git_commit or "unknown",
            metadata.trained_at.isoformat(),
        )
        self._classes = metadata.schema_.classes
        self._tokens = process_tokens()
        self.ground_truth = GroundTruthCounter(
            metadata.model, self._classes, self._tokens, process_counted_rows()
        )
        self._json_head = b'{"model_name":%b,"model_version":%b,"id":' % (
            orjson.dumps(metadata.model),
            orjson.dumps(metadata.version),
        )
        self._json_service = b'","service_version":%b},"outputs":[' % orjson.dumps(__version__)

    def infer(self, request: Request) -> Answer:
        """Answer a request, and count it."""
        start = perf_counter()
        try:
            answer, rows = self.compute(request)
        except RefusedError as error:
            self.count_refused(error)
            raise
        except BaseException:
            self.metrics.count_failed()
            raise
        self.metrics.count_answer(perf_counter() - start, rows, answer.result)
        return answer

    def compute(self, request: Request) -> tuple[Answer, Rows]:
        """Answer a request; the one way there is, whatever form it had."""
        # gRPC has no absent id, only an empty one.
        request_id = request.request_id
        request_id = _check_request_id(request_id) if request_id else f"{_random_bits(128):032x}"
        reader, estimator, outputs = self.parts
        wanted = outputs.choose(request.outputs)
        rows = reader.read(request.inputs)
        result = estimator.compute(rows)
        token = self._tokens.sign(
            model=self.name,
            version=self.version,
            request_id=request_id,
            classes=self._classes,
            result=result,
        )
        return Answer(request_id, wanted, result, token), rows

    def count_refused(self, error: RefusedError) -> None:
        self.metrics.count_rejected(error.reason)

    def to_json(self, answer: Answer, outputs: Sequence[bytes]) -> bytes:
        """Return the response as the JSON that MLServer makes of `to_response`."""
        return b'%b%b,"parameters":{"feedback_token":"%b%b%b]}' % (
            self._json_head,
            orjson.dumps(answer.request_id),
            answer.token.encode(),
            self._json_service,
            b",".join(outputs),
        )

    def to_response(self, answer: Answer) -> InferenceResponse:
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            id=answer.request_id,
            parameters=Parameters(
                headers={
                    "x-model-version": self.version,
                    "x-service-version": __version__,
                    "x-request-id": answer.request_id,
                },
                feedback_token=answer.token,
                service_version=__version__,
            ),
            outputs=[output.response_output(answer.result) for output in answer.outputs],
        )


def _check_request_id(request_id: str) -> str:
    if not _REQUEST_ID.fullmatch(request_id):
        raise RefusedError(
            "id",
            f"the request id is {shorten(request_id)}; expected 1 to 128 printable ASCII "
            "characters, not beginning or ending with a space",
        )
    return request_id


def _to_request(payload: InferenceRequest, reader: Reader) -> Request:
    """Return what MLServer's request says.

    A content type is where MLServer is told which codec to use. Ours reads by the schema, so it
    only has to be one that says nothing else.
    """
    for where, parameters in (
        ("the request", payload.parameters),
        *((f"input {shorten(each.name)}", each.parameters) for each in payload.inputs),
    ):
        content_type = parameters.content_type if parameters else None
        if content_type is not None and content_type not in reader.content_types:
            raise RefusedError(
                "inputs",
                f"{where} has content_type {shorten(content_type)}; expected none, or "
                f"{enumerate_names(sorted(reader.content_types))}",
            )
    inputs = [
        Tensor(each.name, each.shape, str(each.datatype), each.data.root) for each in payload.inputs
    ]
    return Request(payload.id, inputs, [output.name for output in payload.outputs or ()])


__all__ = ["Answer", "Estimator", "JsonAnswer", "Parts", "Reader", "Runtime", "outputs_of"]
