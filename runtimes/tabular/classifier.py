"""Serve one version of a classifier of named, numeric columns."""

import asyncio
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import orjson
from mlserver import MLModel, ModelSettings
from mlserver.errors import InferenceError, MLServerError
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    ResponseOutput,
)
from mlserver.utils import get_model_uri
from numpy.typing import NDArray

from abserve.artifacts import MODEL_ONNX, Metadata, read_metadata, verify
from abserve.errors import ArtifactError
from runtimes.feedback import FeedbackTokens, process_tokens
from runtimes.ground_truth import GroundTruthCounter, feedback_handler, process_counted_rows
from runtimes.metrics import VersionMetrics, collectors
from runtimes.plain_json import JsonAnswer, Tensor, parse_request
from runtimes.tabular.rows import enumerate_names, read_rows, shorten
from runtimes.tabular.session import OnnxClassifier

LABEL = "label"
PROBABILITY = "probability"
OUTPUTS = (LABEL, PROBABILITY)

# The id becomes a header of the response, here and in MLServer, where other characters would end
# the header or fail to be encoded.
_REQUEST_ID = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_SERVER_FAULT = 500
_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class _Version:
    """What `load` finds and `predict` needs; it exists whole or not at all."""

    name: str
    metadata: Metadata
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    session: OnnxClassifier
    tokens: FeedbackTokens
    ground_truth: GroundTruthCounter
    metrics: VersionMetrics


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one request is answered with: a class and the probabilities of all for each row."""

    request_id: str
    wanted: tuple[str, ...]
    indices: NDArray[np.int64]
    probability: NDArray[np.float32]
    token: str


class TabularClassifier(MLModel):
    """Classify rows of named features with one ONNX session.

    Input: one tensor ``features`` of any numeric datatype and of shape (n_rows, n_features) in the
    order of the artifact's schema, or one tensor of shape (n_rows, 1) or (n_rows,) per named
    column. At most 10 000 rows; finite numbers only.

    Outputs, both unless the request names one: ``label`` BYTES (n_rows, 1); ``probability`` FP32
    (n_rows, n_classes), each in [0, 1], rows summing to 1, with the names of its columns in the
    output's parameter ``classes``.

    The response's parameter ``feedback_token`` is to be sent with the ground truth to
    ``POST /v2/models/{name}/feedback``; its headers ``x-model-version`` and ``x-request-id`` say
    who answered what. A request id is at most 128 printable ASCII characters.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._loaded: _Version | None = None
        self.feedback = feedback_handler(settings.name, self._count_ground_truth)

    async def load(self) -> bool:
        """Open the version's folder, and be ready if all of it is as it was published.

        Raises
        ------
        ArtifactError
            If a file is missing, altered or does not fit the others.
        FeedbackError
            If the environment's feedback key is too short.
        """
        uri = await get_model_uri(self.settings)
        # In a thread, so that the health endpoints answer meanwhile.
        self._loaded = await asyncio.to_thread(_open, Path(uri), self.name, self.version)
        _announce(self._loaded)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        version = self._get_loaded()
        start = perf_counter()
        with _refusals_counted(version):
            inputs = [
                Tensor(each.name, each.shape, str(each.datatype), each.data.root)
                for each in payload.inputs
            ]
            names = [output.name for output in payload.outputs or ()]
            answer = _infer(version, payload.id, inputs, names)
            response = _to_response(version, answer)
        version.metrics.count_answer(perf_counter() - start, answer.indices)
        # MLServer copies the request's id to the response.
        payload.id = answer.request_id
        return response

    def infer_json(self, body: bytes) -> JsonAnswer | None:
        """Answer a request as `predict` would, from its bytes to the response's.

        None if it is not a plain request with an answer; `predict` then says what is wrong.
        """
        version = self._loaded
        request = parse_request(body)
        if version is None or request is None:
            return None
        start = perf_counter()
        try:
            answer = _infer(version, request.request_id, request.inputs, request.outputs)
        except MLServerError:
            return None
        content = orjson.dumps(_to_json(version, answer))
        version.metrics.count_answer(perf_counter() - start, answer.indices)
        return JsonAnswer(content, answer.request_id, version.metadata.version)

    def _count_ground_truth(self, body: Any) -> dict[str, Any]:
        return self._get_loaded().ground_truth.count(body)

    def _get_loaded(self) -> _Version:
        if self._loaded is None:
            raise MLServerError(
                f"model {self.name!r} is not loaded yet; try again shortly", _UNAVAILABLE
            )
        return self._loaded


def _open(uri: Path, name: str, version: str | None) -> _Version:
    model, folder = (uri / MODEL_ONNX, uri) if uri.is_dir() else (uri, uri.parent)
    verify(folder)
    metadata = read_metadata(folder)
    if (metadata.model, metadata.version) != (name, version):
        raise ArtifactError(
            f"{folder} holds {metadata.model} {metadata.version}, but its model settings say "
            f"{name} {version}; serve the folder as it was published"
        )
    schema = metadata.schema_
    tokens = process_tokens()
    return _Version(
        name=name,
        metadata=metadata,
        columns=schema.feature_names,
        classes=schema.classes,
        session=OnnxClassifier(model, schema),
        tokens=tokens,
        ground_truth=GroundTruthCounter(name, schema.classes, tokens, process_counted_rows()),
        metrics=VersionMetrics(name, metadata.version, schema.classes),
    )


def _announce(version: _Version) -> None:
    """Let the metrics say that the version is loaded."""
    collectors().model_info.labels(
        version.name,
        version.metadata.version,
        version.metadata.git_commit or "unknown",
        version.metadata.trained_at.isoformat(),
    ).set(1)


@contextmanager
def _refusals_counted(version: _Version) -> Iterator[None]:
    """Count a request that gets no answer, as the client's fault or ours."""
    try:
        yield
    except MLServerError as error:
        rejected = error.status_code < _SERVER_FAULT
        (version.metrics.rejected if rejected else version.metrics.failed).inc()
        raise
    except BaseException:
        version.metrics.failed.inc()
        raise


def _check_request_id(request_id: str) -> str:
    if not _REQUEST_ID.fullmatch(request_id):
        raise InferenceError(
            f"the request id is {shorten(request_id)}; expected 1 to 128 printable ASCII "
            "characters, not beginning or ending with a space"
        )
    return request_id


def _check_outputs(requested: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the outputs to answer with, each once, in the order asked for."""
    if not requested:
        return OUTPUTS
    names = tuple(dict.fromkeys(requested))
    if unknown := [name for name in names if name not in OUTPUTS]:
        raise InferenceError(
            f"output {shorten(unknown[0])} is not known; expected {enumerate_names(OUTPUTS)}"
        )
    return names


def _check_finite(probability: NDArray[np.float32]) -> None:
    finite = np.isfinite(probability).all(axis=1)
    if not finite.all():
        raise InferenceError(
            f"the features of row {int(np.argmin(finite))} (from 0) are too large for the model "
            "to compute a probability; expected values of the size it was trained on"
        )


def _infer(
    version: _Version, request_id: str | None, inputs: Sequence[Tensor], outputs: Sequence[str]
) -> _Answer:
    """Classify what one request holds; the one way there is, whatever form the request had."""
    # gRPC has no absent id, only an empty one.
    checked_id = _check_request_id(request_id or str(uuid.uuid4()))
    wanted = _check_outputs(outputs)
    rows = read_rows(inputs, version.columns)
    indices, probability = version.session.run(rows)
    _check_finite(probability)
    token = version.tokens.sign(
        model=version.name,
        version=version.metadata.version,
        request_id=checked_id,
        classes=version.classes,
        indices=indices.tolist(),
    )
    return _Answer(checked_id, wanted, indices, probability, token)


def _outputs(version: _Version, answer: _Answer) -> Iterator[dict[str, Any]]:
    """Yield the fields of each output, labels being strings."""
    n_rows = len(answer.indices)
    for name in answer.wanted:
        if name == LABEL:
            yield {
                "name": LABEL,
                "shape": [n_rows, 1],
                "datatype": "BYTES",
                "data": [version.classes[index] for index in answer.indices.tolist()],
            }
        else:
            yield {
                "name": PROBABILITY,
                "shape": [n_rows, len(version.classes)],
                "datatype": "FP32",
                "parameters": {"classes": list(version.classes)},
                "data": answer.probability.ravel().tolist(),
            }


def _to_json(version: _Version, answer: _Answer) -> dict[str, Any]:
    """Return the response as the JSON values MLServer makes of `_to_response`."""
    return {
        "model_name": version.name,
        "model_version": version.metadata.version,
        "id": answer.request_id,
        "parameters": {"feedback_token": answer.token},
        "outputs": list(_outputs(version, answer)),
    }


def _to_response(version: _Version, answer: _Answer) -> InferenceResponse:
    outputs = [ResponseOutput(**fields) for fields in _outputs(version, answer)]
    for output in outputs:
        if output.name == LABEL:
            # gRPC takes bytes only, and REST turns them into strings.
            output.data.root = [label.encode() for label in output.data.root]
    return InferenceResponse(
        model_name=version.name,
        model_version=version.metadata.version,
        id=answer.request_id,
        parameters=Parameters(
            headers={
                "x-model-version": version.metadata.version,
                "x-request-id": answer.request_id,
            },
            feedback_token=answer.token,
        ),
        outputs=outputs,
    )
