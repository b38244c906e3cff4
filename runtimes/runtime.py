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
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from mlserver import MLModel, ModelSettings
from mlserver.errors import MLServerError
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
)
from mlserver.utils import get_model_uri

from abserve.artifacts import read_metadata, verify
from abserve.errors import ArtifactError
from abserve.metadata import Metadata
from abserve.signatures import public_key_from_environment, verify_signature
from runtimes.ground_truth import feedback_handler
from runtimes.inference import Request, Tensor
from runtimes.json_requests import parse_plain
from runtimes.opened import Answer, OpenedVersion, Parts
from runtimes.refusals import RefusedError
from runtimes.texts import enumerate_names, shorten
from runtimes.units import unit_of

_UNAVAILABLE = 503


class Runtime(MLModel, ABC):
    """Serves one version; the base of all our runtimes.

    Every response has the parameters ``feedback_token``, to be sent with the ground truth to
    ``POST /v2/models/{name}/feedback``, and ``service_version``, that of the code which served it;
    its headers ``x-model-version``, ``x-service-version`` and ``x-request-id`` say who answered
    what. A request id is at most 128 printable ASCII characters.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._opened: OpenedVersion | None = None
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
        self._opened = OpenedVersion(metadata, parts)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        opened = self._get_opened()
        first_exposure = self.count_unit(_unit_of(payload, opened.metrics.unit_header))
        with self.refusals_counted():
            for where, parameters in (
                ("the request", payload.parameters),
                *((f"input {shorten(each.name)}", each.parameters) for each in payload.inputs),
            ):
                self.check_content_type(where, dict(parameters) if parameters else None)
        request = _to_request(payload)
        answer = opened.infer(request, first_exposure=first_exposure)
        # MLServer copies the request's id to the response.
        payload.id = answer.request_id
        return opened.to_response(answer)

    def count_unit(self, unit: bytes | None) -> bool:
        """Count the unit of a request, once for each request, whatever becomes of it.

        Parameters
        ----------
        unit : bytes or None
            None if the request is a unit of its own.

        Returns
        -------
        bool
            Whether this version gets its first request of that unit.

        Raises
        ------
        MLServerError
            With status 503 if the version is not loaded yet.
        """
        return self._get_opened().metrics.count_unit(unit)

    def infer(self, request: Request, *, first_exposure: bool = True) -> Answer:
        """Answer a request that arrived in whatever form.

        Parameters
        ----------
        request : Request
            What is asked.
        first_exposure : bool, optional
            Whether it is the first request of its unit, as `count_unit` says.

        Raises
        ------
        RefusedError
            If the request is at fault; it is counted.
        MLServerError
            With status 503 if the version is not loaded yet.
        """
        return self._get_opened().infer(request, first_exposure=first_exposure)

    @contextmanager
    def refusals_counted(self) -> Iterator[None]:
        """Count a request that is refused before it is one."""
        opened = self._get_opened()
        try:
            yield
        except RefusedError as error:
            opened.count_refused(error)
            raise

    def check_content_type(self, where: str, parameters: Mapping[str, Any] | None) -> None:
        """Refuse a content type that means something else than what is read.

        It is where MLServer is told which codec to use. Ours reads by the schema, so it only has to
        be one that says nothing else.

        Parameters
        ----------
        where : str
            Whose it is, for the message.
        parameters : mapping, optional
            Those of the request or of one input.
        """
        content_type = parameters.get("content_type") if parameters else None
        known = self._get_opened().parts.reader.content_types
        if content_type is None:
            return
        if not isinstance(content_type, str) or content_type not in known:
            raise RefusedError(
                "inputs",
                f"{where} has content_type {shorten(content_type)}; expected none, or "
                f"{enumerate_names(sorted(known))}",
            )

    def json_of(self, answer: Answer, outputs: Sequence[bytes]) -> bytes:
        """Return the response as JSON, around outputs that are JSON already."""
        return self._get_opened().to_json(answer, outputs)

    def infer_json(self, body: bytes, *, first_exposure: bool = True) -> tuple[bytes, str] | None:
        """Answer a request as `predict` would, from its bytes to the response's and the request id.

        None if it is not a plain request with an answer; nothing is counted then.
        """
        request = parse_plain(body)
        opened = self._opened
        if request is None or opened is None:
            return None
        start = perf_counter()
        try:
            answer, rows = opened.compute(request, first_exposure=first_exposure)
        except RefusedError:
            return None
        outputs = [output.json(answer.result) for output in answer.outputs]
        content = opened.to_json(answer, outputs)
        opened.count_answered(answer, rows, start)
        return content, answer.request_id

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
        # Our server has done so before it read any settings; the stock one, and a reload, have not.
        if key := public_key_from_environment():
            verify_signature(folder, key)
        metadata = open_version(folder, self.name, self.version)
        return metadata, self.open_parts(folder, metadata, self.settings)

    def _count_feedback(self, body: Any) -> dict[str, Any]:
        return self._get_opened().ground_truth.count(body)

    def _get_opened(self) -> OpenedVersion:
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


def _unit_of(payload: InferenceRequest, header: str) -> bytes | None:
    # MLServer has put the headers there, and replaced whatever the client wrote.
    headers = payload.parameters.headers if payload.parameters else None
    return unit_of([headers[header]]) if headers and header in headers else None


def _to_request(payload: InferenceRequest) -> Request:
    inputs = [
        Tensor(each.name, each.shape, str(each.datatype), each.data.root) for each in payload.inputs
    ]
    return Request(payload.id, inputs, [output.name for output in payload.outputs or ()])
