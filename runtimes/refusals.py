"""Why a request is refused: a message for the client, a status, and a reason that is counted."""

from typing import Literal, TypeAlias, get_args

from mlserver.errors import MLServerError

Reason: TypeAlias = Literal[
    "id", "inputs", "shape", "datatype", "value", "missing", "range", "rows", "outputs", "other"
]
REASONS: tuple[str, ...] = get_args(Reason)


class RefusedError(MLServerError):
    """A request that gets no answer, through the client's fault; `reason` is one of a few."""

    def __init__(self, reason: Reason, message: str, status_code: int = 400) -> None:
        super().__init__(message, status_code)
        self.reason: Reason = reason
