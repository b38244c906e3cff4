"""Why a request is refused: a message for the client, a status, and a reason that is counted."""

from typing import Literal, TypeAlias, get_args

from mlserver.errors import MLServerError

Reason: TypeAlias = Literal[
    "id", "inputs", "shape", "datatype", "value", "missing", "range", "rows", "outputs", "other"
]
REASONS: tuple[str, ...] = get_args(Reason)


# A model has one input, or one for each of its columns.
MAX_INPUTS = 10_000


class RefusedError(MLServerError):
    """A request that gets no answer, through the client's fault; `reason` is one of a few."""

    def __init__(self, reason: Reason, message: str, status_code: int = 400) -> None:
        super().__init__(message, status_code)
        self.reason: Reason = reason


def check_n_inputs(n_inputs: int) -> None:
    """Refuse a request with more inputs than any model has, before it is looked at one by one.

    Raises
    ------
    RefusedError
        With status 413.
    """
    if n_inputs > MAX_INPUTS:
        raise RefusedError(
            "inputs", f"the request has {n_inputs} inputs; expected at most {MAX_INPUTS}", 413
        )
