"""Count ground truth: ``POST /v2/models/{model}/feedback``.

::

    {"id": "<request id>",              optional; if given, the token's
     "feedback_token": "...",           from the response's parameters
     "ground_truth": "setosa"}          or a list with one class per row, null where still unknown

It is counted for the version that predicted, whichever version's server receives it. A row is
counted once: sending a token again counts only rows that were null until then, and the first
ground truth of a row stands, so a client may safely repeat a request it got no answer to. What was
counted is remembered by each process for the latest `MAX_REMEMBERED` tokens; a repeat that reaches
another replica, or comes after a restart, is counted again.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

from fastapi import Body
from mlserver.errors import MLServerError
from mlserver.handlers.custom import CustomHandler, register_custom_handler

from abserve.errors import FeedbackError
from runtimes.feedback import FeedbackTokens, Prediction
from runtimes.metrics import collectors

MAX_REMEMBERED = 100_000

_FIELDS = ("id", "feedback_token", "ground_truth")
_EXPECTED = (
    'expected {"feedback_token": "...", "ground_truth": "<class>" or ["<class>", null, ...]}, '
    'and optionally "id"'
)

FeedbackHandler = Callable[..., Awaitable[dict[str, Any]]]


def feedback_handler(model: str, answer: Callable[[Any], dict[str, Any]]) -> FeedbackHandler:
    """Return a handler that MLServer mounts at the model's feedback path.

    MLServer finds it as an attribute of the runtime; that attribute must be called ``feedback``,
    because a parallel worker looks the handler up by the function's name.
    """

    # The decorated method that MLServer documents has one path for all models of a process. A
    # parsed body, unlike a Request, also reaches a parallel worker.
    async def feedback(body: Annotated[Any, Body()] = None) -> dict[str, Any]:
        return answer(body)

    register_custom_handler(CustomHandler(rest_path=f"/v2/models/{model}/feedback"), feedback)
    return feedback


class CountedRows:
    """Remembers which rows of the latest tokens were counted; the oldest token is forgotten first.

    Parameters
    ----------
    max_tokens : int, optional
        How many tokens are remembered.
    """

    def __init__(self, max_tokens: int = MAX_REMEMBERED) -> None:
        self._max_tokens = max_tokens
        self._rows: OrderedDict[bytes, int] = OrderedDict()  # one bit per row

    def add(self, token_digest: bytes, rows: Sequence[int]) -> tuple[int, ...]:
        """Remember `rows` of a token, and return those that were not counted before."""
        counted = self._rows.get(token_digest, 0)
        new = tuple(row for row in rows if not counted >> row & 1)
        for row in new:
            counted |= 1 << row
        if counted:
            self._rows[token_digest] = counted
            self._rows.move_to_end(token_digest)
        if len(self._rows) > self._max_tokens:
            self._rows.popitem(last=False)
        return new


@cache
def process_counted_rows() -> CountedRows:
    """Return what this process has counted; it outlives the reload of a model."""
    return CountedRows()


class GroundTruthCounter:
    """Answers the feedback messages of one model.

    Parameters
    ----------
    model : str
        The model whose tokens are accepted, of any version.
    classes : sequence of str
        The classes of the version that runs here.
    tokens : FeedbackTokens
        Reads the tokens.
    counted_rows : CountedRows
        What was counted before.
    """

    def __init__(
        self,
        model: str,
        classes: Sequence[str],
        tokens: FeedbackTokens,
        counted_rows: CountedRows,
    ) -> None:
        self._model = model
        self._classes = tuple(classes)
        self._tokens = tokens
        self._counted_rows = counted_rows

    def count(self, body: Any) -> dict[str, Any]:
        """Count the ground truth of one message.

        Parameters
        ----------
        body : Any
            The parsed JSON of the request, unchecked.

        Returns
        -------
        dict
            ``model_name``, ``model_version`` (the one that predicted), ``id``, ``counted`` (rows
            counted now) and ``correct`` (those of them that were predicted right).

        Raises
        ------
        MLServerError
            With status 400 if the message is malformed, its token not ours, or its ground truth
            does not fit the prediction. Nothing is counted then.
        """
        token, request_id, ground_truth = _read_message(body)
        try:
            prediction = self._tokens.read(token, self._model)
        except FeedbackError as error:
            raise MLServerError(str(error)) from error
        if request_id not in {None, prediction.request_id}:
            raise MLServerError(
                "'id' is not the request id that the feedback token was given for; "
                "send each token with its own ground truth"
            )
        truths = self._fit(ground_truth, prediction)
        known = [row for row, truth in enumerate(truths) if truth is not None]
        digest = hashlib.blake2b(token.encode(), digest_size=16).digest()
        rows = self._counted_rows.add(digest, known)
        labels = prediction.labels
        correct = sum(labels[row] == truths[row] for row in rows)
        _record(prediction, correct=correct, incorrect=len(rows) - correct)
        return {
            "model_name": self._model,
            "model_version": prediction.version,
            "id": prediction.request_id,
            "counted": len(rows),
            "correct": correct,
        }

    def _fit(self, ground_truth: Any, prediction: Prediction) -> list[str | None]:
        """Return one class or None per predicted row."""
        n_rows = len(prediction.indices)
        truths = ground_truth if isinstance(ground_truth, list) else [ground_truth]
        if len(truths) != n_rows:
            raise MLServerError(
                f"'ground_truth' names {len(truths)} classes, but {n_rows} rows were predicted; "
                "expected a list with one class, or null, per row"
            )
        # A version may have other classes than its successor, and both are true of the world.
        known = {None, *self._classes, *prediction.classes}
        for row, truth in enumerate(truths):
            if not isinstance(truth, str | None) or truth not in known:
                classes = tuple(dict.fromkeys((*prediction.classes, *self._classes)))
                raise MLServerError(
                    f"'ground_truth' of row {row} (from 0) is no class of {self._model}; "
                    f"expected one of {_enumerate(classes)}"
                )
        return truths


def _read_message(body: Any) -> tuple[str, str | None, Any]:
    if isinstance(body, bytes):
        raise MLServerError(
            f"the body was not sent as JSON; add the header 'content-type: application/json', "
            f"{_EXPECTED}"
        )
    if not isinstance(body, Mapping):
        raise MLServerError(f"the body is no JSON object; {_EXPECTED}")
    if any(field not in _FIELDS for field in body):
        raise MLServerError(f"the body has fields other than {', '.join(_FIELDS)}; {_EXPECTED}")
    token, request_id = body.get("feedback_token"), body.get("id")
    if not isinstance(token, str):
        raise MLServerError(f"'feedback_token' is missing or no string; {_EXPECTED}")
    if not isinstance(request_id, str | None):
        raise MLServerError(f"'id' is no string; {_EXPECTED}")
    if "ground_truth" not in body:
        raise MLServerError(f"'ground_truth' is missing; {_EXPECTED}")
    return token, request_id, body["ground_truth"]


def _record(prediction: Prediction, *, correct: int, incorrect: int) -> None:
    for outcome, count in (("correct", correct), ("incorrect", incorrect)):
        collectors().feedback.labels(prediction.model, prediction.version, outcome).inc(count)


def _enumerate(names: Sequence[str], limit: int = 20) -> str:
    listed = ", ".join(map(repr, names[:limit]))
    return listed if len(names) <= limit else f"{listed} and {len(names) - limit} more"
