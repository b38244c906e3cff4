"""Answers to chunks of rows, in the order of the file, several requests at a time.

A request that is refused holds at least one row that does not fit: its halves are asked again, and
theirs, until it is known which. That costs some twenty requests for one bad row in a thousand.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

from abserve.errors import ScoringError
from abserve.scoring.endpoint import BusyError, Endpoint, FailedError, WrongRowsError
from abserve.scoring.model import Model
from abserve.scoring.pace import Pace
from abserve.scoring.rows import Chunk, RefusedRowsError, matrix
from abserve.scoring.tensors import decode, encode

MODEL_VERSION, REQUEST_ID, REFUSED = "model_version", "request_id", "refused"

# A server that fails at the same rows so often will not succeed with them.
_MOST_FAILURES = 5

_T = TypeVar("_T")


class Asking:
    """Asks one model.

    Parameters
    ----------
    endpoint : Endpoint
        Answers.
    model : Model
        What it said of itself.
    schema : Schema
        The columns of an answered chunk: those that are kept, the outputs, and where they are from.
        With the column `refused`, rows that do not fit get the reason in it and no outputs.
    pace : Pace
        Says when.
    name : str
        What the ids of requests begin with.
    """

    def __init__(
        self, endpoint: Endpoint, model: Model, schema: pa.Schema, pace: Pace, name: str
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._schema = schema
        self._pace = pace
        self._name = name

    def answers(self, chunks: Iterable[Chunk], n_ahead: int) -> Generator[pa.Table]:
        """Yield a table for each chunk, in order, with up to `n_ahead` being asked meanwhile."""
        with ThreadPoolExecutor(n_ahead, "scoring") as pool:
            waiting: deque[Future[pa.Table]] = deque()
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(self._answer, chunk))
                    if len(waiting) > n_ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                # If it ended well, nobody is left who could be stopped.
                self._pace.stop()
                for each in waiting:
                    each.cancel()

    def _answer(self, chunk: Chunk) -> pa.Table:
        try:
            return self._ask(chunk)
        except (RefusedRowsError, WrongRowsError) as error:
            if chunk.table.num_rows > 1:
                return pa.concat_tables([self._answer(half) for half in chunk.halves()])
            if REFUSED in self._schema.names:
                return self._table(chunk, {REFUSED: str(error)})
            raise ScoringError(
                f"row {chunk.first_row} (from 0) is refused: {error}. Mend it, or let such rows "
                "have no answer, with --null-refused"
            ) from error

    def _ask(self, chunk: Chunk) -> pa.Table:
        rows = matrix(self._model, chunk.table)
        request_id = f"{self._name}-{chunk.first_row}"
        body, length = encode(self._model, rows, request_id)
        content, header_length = asked(self._pace, lambda: self._endpoint.infer(body, length))
        answer = decode(self._model, content, header_length, len(rows))
        return self._table(
            chunk,
            {MODEL_VERSION: answer.version, REQUEST_ID: answer.request_id},
            answer.columns,
        )

    def _table(
        self,
        chunk: Chunk,
        same: Mapping[str, str | None],
        columns: Mapping[str, pa.Array] | None = None,
    ) -> pa.Table:
        found = {name: chunk.table[name] for name in chunk.table.column_names}
        # An output may be called as a column of the model; the file's are read no further.
        found.update(columns or {})
        n_rows = chunk.table.num_rows
        for field in self._schema:
            if field.name in same:
                found[field.name] = pa.array([same[field.name]] * n_rows, field.type)
            elif field.name not in found:
                found[field.name] = pa.nulls(n_rows, field.type)
        return pa.table([found[field.name] for field in self._schema], schema=self._schema)


def asked(pace: Pace, ask: Callable[[], _T]) -> _T:
    """Return what `ask` returns, as soon as the server is not too busy to answer.

    Raises
    ------
    WrongRowsError
        If the rows are refused.
    ScoringError
        If the server is busy for too long, or fails again and again.
    """
    n_failures = 0
    while True:
        started_at = pace.start()
        try:
            answer = ask()
        except (BusyError, FailedError) as error:
            n_failures += isinstance(error, FailedError)
            retry_after = error.retry_after if isinstance(error, BusyError) else None
            pace.busy(started_at, retry_after, str(error))
            if n_failures == _MOST_FAILURES:
                raise ScoringError(f"{error}, for the {n_failures}th time") from error
        except BaseException:
            # Refused, or no use: an answer all the same.
            pace.answered()
            raise
        else:
            pace.answered()
            return answer
