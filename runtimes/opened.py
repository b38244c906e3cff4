"""An opened version: all that answering needs, found once.

::

    Request ──> read ─> compute ─> choose outputs ─> sign ──> Answer ──> JSON, or MLServer's types
                                                       └──> counted, logged
"""

import random
import re
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple, Protocol

import msgspec
import orjson
from mlserver.errors import MLServerError
from mlserver.types import InferenceResponse, MetadataTensor, Parameters

from abserve import __version__
from abserve.metadata import Metadata
from runtimes.feedback import process_tokens
from runtimes.ground_truth import GroundTruthCounter, process_counted_rows
from runtimes.inference import Request, Result, Rows, Tensor
from runtimes.logs import request_log
from runtimes.metrics import VersionMetrics
from runtimes.outputs import Output, Outputs
from runtimes.refusals import RefusedError
from runtimes.texts import shorten

# The id becomes a header of the response, here and in MLServer, where other characters would end
# the header or fail to be encoded.
_REQUEST_ID = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_FAILED = 500

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


class Answer(msgspec.Struct, gc=False):
    """What one request is answered with, apart from the form it goes out in."""

    request_id: str
    outputs: tuple[Output, ...]
    result: Result
    token: str


class FailedError(MLServerError):
    """An inference that failed through our fault; the client is told no more than that."""

    def __init__(self) -> None:
        super().__init__("internal error; the server's log has the reason", _FAILED)


class OpenedVersion:
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
        self._log = request_log().of(metadata.model, metadata.version)
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

    def infer(self, request: Request, *, first_exposure: bool) -> Answer:
        """Answer a request, and count it."""
        start = perf_counter()
        try:
            answer, rows = self.compute(request, first_exposure=first_exposure)
        except RefusedError as error:
            self.count_refused(error, request.request_id)
            raise
        self.count_answered(answer, rows, start)
        return answer

    def compute(self, request: Request, *, first_exposure: bool) -> tuple[Answer, Rows]:
        """Answer a request; the one way there is, whatever form it had.

        Parameters
        ----------
        request : Request
            What is asked.
        first_exposure : bool
            Whether it is the first request of its unit; its token says so.

        Raises
        ------
        RefusedError
            If the request is at fault; it is not counted yet.
        FailedError
            If the estimator is; that is counted, and logged with its reason.
        """
        # gRPC has no absent id, only an empty one.
        request_id = request.request_id
        request_id = check_request_id(request_id) if request_id else f"{_random_bits(128):032x}"
        reader, estimator, outputs = self.parts
        wanted = outputs.choose(request.outputs)
        rows = reader.read(request.inputs)
        try:
            result = estimator.compute(rows)
        except RefusedError:
            raise
        except Exception as error:
            self.metrics.count_failed()
            self._log.failed(request_id, error)
            raise FailedError from error
        token = self._tokens.sign(
            model=self.name,
            version=self.version,
            request_id=request_id,
            classes=self._classes,
            result=result,
            first_exposure=first_exposure,
        )
        return Answer(request_id, wanted, result, token), rows

    def count_answered(self, answer: Answer, rows: Rows, start: float) -> None:
        seconds = perf_counter() - start
        self.metrics.count_answer(seconds, rows, answer.result)
        self._log.answered(answer.request_id, len(rows), seconds)

    def count_refused(self, error: RefusedError, request_id: str | None = None) -> None:
        self.metrics.count_rejected(error.reason)
        self._log.refused(request_id, error.status_code, str(error))

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


def check_request_id(request_id: str) -> str:
    if not _REQUEST_ID.fullmatch(request_id):
        raise RefusedError(
            "id",
            f"the request id is {shorten(request_id)}; expected 1 to 128 printable ASCII "
            "characters, not beginning or ending with a space",
        )
    return request_id
