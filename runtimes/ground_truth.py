"""Count feedback: ``POST /v2/models/{model}/feedback``.

::

    {"id": "<request id>",              optional; if given, the token's
     "feedback_token": "...",           from the response's parameters
     "ground_truth": "setosa",          or a list with one class per row, null where still unknown;
                                        numbers instead of classes if numbers were predicted
     "reward": 0.5}                     from 0 to 1, one for the response

One of the last two may be left out. Feedback is counted for the version that predicted, whichever
version's server receives it. A row's ground truth and a response's reward are counted once each:
sending a token again counts only what was unknown until then, and the first value stands, so a
client may safely repeat a request it got no answer to. What was counted is remembered by each
process for the latest `MAX_REMEMBERED` tokens; a repeat that reaches another replica, or comes
after a restart, is counted again.

For experiments the first ground truth of a classifier's response, and the first reward of any, is
moreover counted as the outcome of its unit (`runtimes.outcomes`), if the response was the first
that its unit got.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import fsum
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import Body
from mlserver.errors import MLServerError
from mlserver.handlers.custom import CustomHandler, register_custom_handler

from abserve.errors import FeedbackError
from runtimes.feedback import FeedbackTokens, Prediction
from runtimes.metrics import feedback_of
from runtimes.once import once_per_process
from runtimes.outcomes import Metric
from runtimes.tally import Feedback

MAX_REMEMBERED = 100_000

_FIELDS = ("id", "feedback_token", "ground_truth", "reward")
_EXPECTED = (
    'expected {"feedback_token": "...", "ground_truth": "<class>" or ["<class>", null, ...], '
    '"reward": 0.5}, one of the last two at least, and optionally "id"'
)
# The largest that a model could have predicted. Beyond it lie numbers whose squared error would
# make the sum of all infinite.
_LARGEST = float(np.finfo(np.float32).max)

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
    """Remembers what of the latest tokens was counted; the oldest token is forgotten first.

    Rows with ground truth and rewards are remembered apart, so that neither makes the other be
    forgotten, nor taken for counted.

    Parameters
    ----------
    max_tokens : int, optional
        How many tokens are remembered, of either kind.
    """

    def __init__(self, max_tokens: int = MAX_REMEMBERED) -> None:
        self._max_tokens = max_tokens
        self._rows: OrderedDict[bytes, int] = OrderedDict()  # one bit per row
        self._rewards: OrderedDict[bytes, int] = OrderedDict()  # 1

    def add(self, token_digest: bytes, rows: Sequence[int]) -> tuple[int, ...]:
        """Remember `rows` of a token, and return those that were not counted before."""
        counted = self._rows.get(token_digest, 0)
        new = tuple(row for row in rows if not counted >> row & 1)
        for row in new:
            counted |= 1 << row
        self._remember(self._rows, token_digest, counted)
        return new

    def has_rows(self, token_digest: bytes) -> bool:
        """Tell whether any row of a token was counted."""
        return token_digest in self._rows

    def add_reward(self, token_digest: bytes) -> bool:
        """Remember that a token was given a reward, and return whether it was the first."""
        is_new = token_digest not in self._rewards
        self._remember(self._rewards, token_digest, 1)
        return is_new

    def _remember(self, memory: OrderedDict[bytes, int], token_digest: bytes, counted: int) -> None:
        if counted:
            memory[token_digest] = counted
            memory.move_to_end(token_digest)
        if len(memory) > self._max_tokens:
            memory.popitem(last=False)


@once_per_process
def process_counted_rows() -> CountedRows:
    """Return what this process has counted; it outlives the reload of a model."""
    return CountedRows()


class GroundTruthCounter:
    """Answers the feedback messages of one model.

    Parameters
    ----------
    model : str
        The model whose tokens are accepted, of any version.
    classes : sequence of str or None
        The classes of the version that runs here; None if it is a regressor.
    tokens : FeedbackTokens
        Reads the tokens.
    counted_rows : CountedRows
        What was counted before.
    clock : callable, optional
        Returns the present time, in seconds since 1970.
    """

    def __init__(
        self,
        model: str,
        classes: Sequence[str] | None,
        tokens: FeedbackTokens,
        counted_rows: CountedRows,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._model = model
        self._classes = tuple(classes or ())
        self._tokens = tokens
        self._counted_rows = counted_rows
        self._clock = clock

    def count(self, body: Any) -> dict[str, Any]:
        """Count the ground truth, the reward, or both of one message.

        Parameters
        ----------
        body : Any
            The parsed JSON of the request, unchecked.

        Returns
        -------
        dict
            ``model_name``, ``model_version`` (the one that predicted) and ``id``. With ground
            truth, ``counted`` (rows counted now) and ``correct`` (those of them that were predicted
            right); or, if numbers were predicted, ``mean_absolute_error`` over them, where there
            are any. With a reward, ``reward_counted`` (whether it was the first).

        Raises
        ------
        MLServerError
            With status 400 if the message is malformed, its token not ours, or its ground truth
            does not fit the prediction. Nothing is counted then.
        """
        message = _read_message(body)
        try:
            prediction = self._tokens.read(message.token, self._model)
        except FeedbackError as error:
            raise MLServerError(str(error)) from error
        if message.request_id not in {None, prediction.request_id}:
            raise MLServerError(
                "'id' is not the request id that the feedback token was given for; "
                "send each token with its own feedback"
            )
        truths = self._fit(message.ground_truth, prediction) if message.has_ground_truth else None
        # All is checked; from here on it is counted.
        digest = hashlib.blake2b(message.token.encode(), digest_size=16).digest()
        is_classifier = prediction.classes is not None
        feedback = feedback_of(prediction.model, prediction.version, is_classifier=is_classifier)
        answer: dict[str, Any] = {
            "model_name": self._model,
            "model_version": prediction.version,
            "id": prediction.request_id,
        }
        outcomes: dict[Metric, float] = {}
        if truths is not None:
            known = [row for row, truth in enumerate(truths) if truth is not None]
            is_first = not self._counted_rows.has_rows(digest)
            rows = self._counted_rows.add(digest, known)
            pairs = [(prediction.predicted[row], truths[row]) for row in rows]
            count = _count_correct if is_classifier else _count_errors
            answer |= {"counted": len(rows), **count(feedback, pairs)}
            if is_classifier and is_first and rows:
                outcomes["accuracy"] = answer["correct"] / len(rows)
        if message.reward is not None:
            is_new = self._counted_rows.add_reward(digest)
            if is_new:
                feedback.n_rewards += 1
                feedback.reward += message.reward
                outcomes["reward"] = message.reward
            answer |= {"reward_counted": is_new}
        if prediction.first_exposure:
            now = self._clock()
            for metric, value in outcomes.items():
                feedback.outcomes.add(metric, value, prediction.assigned_at, now)
        return answer

    def _fit(self, ground_truth: Any, prediction: Prediction) -> list[Any]:
        """Return one class or number, or None, per predicted row."""
        n_rows = len(prediction.predicted)
        truths = ground_truth if isinstance(ground_truth, list) else [ground_truth]
        if len(truths) != n_rows:
            one, many = (
                ("number", "numbers") if prediction.classes is None else ("class", "classes")
            )
            raise MLServerError(
                f"'ground_truth' names {len(truths)} {many}, but {n_rows} rows were predicted; "
                f"expected a list with one {one}, or null, per row"
            )
        if prediction.classes is None:
            _check_numbers(truths)
        else:
            self._check_classes(truths, prediction.classes)
        return truths

    def _check_classes(self, truths: list[Any], predictable: Sequence[str]) -> None:
        # A version may have other classes than its successor, and both are true of the world.
        known = {None, *self._classes, *predictable}
        for row, truth in enumerate(truths):
            if not isinstance(truth, str | None) or truth not in known:
                classes = tuple(dict.fromkeys((*predictable, *self._classes)))
                raise MLServerError(
                    f"'ground_truth' of row {row} (from 0) is no class of {self._model}; "
                    f"expected one of {_enumerate(classes)}"
                )


class _Message(NamedTuple):
    """What a message says; its ground truth is not checked yet, and may be None if given."""

    token: str
    request_id: str | None
    has_ground_truth: bool
    ground_truth: Any
    reward: float | None


def _read_message(body: Any) -> _Message:
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
    if "ground_truth" not in body and "reward" not in body:
        raise MLServerError(f"'ground_truth' and 'reward' are both missing; {_EXPECTED}")
    if "reward" in body and not (_is_number(body["reward"]) and 0 <= body["reward"] <= 1):
        raise MLServerError(
            "'reward' is no number from 0 to 1; expected one number for the whole response, or "
            "no 'reward' while it is unknown"
        )
    return _Message(
        token, request_id, "ground_truth" in body, body.get("ground_truth"), body.get("reward")
    )


def _check_numbers(truths: list[Any]) -> None:
    for row, truth in enumerate(truths):
        # Written so that NaN, which compares false with everything, is refused.
        if truth is not None and not (_is_number(truth) and -_LARGEST <= truth <= _LARGEST):
            raise MLServerError(
                f"'ground_truth' of row {row} (from 0) is no finite number of FP32; "
                "numbers were predicted, so expected one of at most 3.4e38, or null"
            )


def _count_correct(feedback: Feedback, pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    n_correct = sum(predicted == truth for predicted, truth in pairs)
    feedback.rows["correct"] += n_correct
    feedback.rows["incorrect"] += len(pairs) - n_correct
    return {"correct": n_correct}


def _count_errors(feedback: Feedback, pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    errors = [abs(predicted - truth) for predicted, truth in pairs]
    total = fsum(errors)
    feedback.rows["measured"] += len(errors)
    feedback.absolute_error += total
    feedback.squared_error += fsum(error * error for error in errors)
    return {"mean_absolute_error": total / len(errors)} if errors else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _enumerate(names: Sequence[str], limit: int = 20) -> str:
    listed = ", ".join(map(repr, names[:limit]))
    return listed if len(names) <= limit else f"{listed} and {len(names) - limit} more"
