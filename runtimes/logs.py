"""What the server says: one JSON object a line on stderr, among them one for each request.

::

    logging (MLServer, uvicorn, warnings, ...) ──> JsonHandler ─────────────┐
    failed, and refused or answered requests   ──> RequestLog, VersionLog ──┴──> Stderr

Answered requests are too many for `logging`, whose records cost more than an answer of the fast
path: their lines are put together from parts that were escaped once, and written many at a time.

Of what a client sends, lines hold the request's id, and beyond it no more than our messages to the
client quote.
"""

import json
import logging
import logging.config
import os
from collections.abc import Mapping
from functools import cache
from time import time
from typing import Any

from mlserver import Settings
from mlserver.context import model_name_var, model_version_var

from abserve.errors import AbserveError
from runtimes.log_lines import (
    MAX_WAITING_LINES,
    Stderr,
    clean,
    describe,
    flush_logs,
    format_line,
    process_stderr,
)

__all__ = ["JsonHandler", "RequestLog", "VersionLog", "configure_logs", "flush_logs", "request_log"]

LEVEL_VARIABLE = "ABSERVE_LOG_LEVEL"
LEVELS = ("debug", "info", "warning", "error")
REQUESTS_VARIABLE = "ABSERVE_REQUEST_LOG"
REQUESTS = ("all", "refused", "none")

_REQUEST_LOGGER = "abserve.requests"
_MAX_REASON_CHARS = 300
_MAX_ID_CHARS = 128

_MILLISECONDS = [f"{each:03}" for each in range(1000)]
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}

_logger = logging.getLogger("mlserver.abserve.logs")


def configure_logs(settings: Settings | None = None) -> None:
    """Let whatever this process logs be lines of JSON from here on.

    Parameters
    ----------
    settings : Settings, optional
        MLServer's, not yet given to a server. They are changed so that MLServer and uvicorn, each
        of which sets up logging anew, come to the same. Their own ``logging_settings`` are not
        followed: they come with a version, and may name any function to be called.

    Raises
    ------
    AbserveError
        If the environment asks for a level or a request log that there is not.
    """
    level = _choose(LEVEL_VARIABLE, LEVELS, "info").upper()
    request_log()
    configuration = _configuration(level)
    logging.config.dictConfig(configuration)
    logging.captureWarnings(capture=True)
    if settings is None:
        return
    if settings.logging_settings is not None:
        _logger.warning(
            "the setting logging_settings is not followed: logs are JSON on stderr, and their "
            "level is that in %s",
            LEVEL_VARIABLE,
        )
    settings.logging_settings = configuration


@cache
def request_log() -> "RequestLog":
    """Return the request log of this process.

    Raises
    ------
    AbserveError
        If the environment asks for one that there is not.
    """
    wanted = _choose(REQUESTS_VARIABLE, REQUESTS, "all")
    return RequestLog(process_stderr(), answered=wanted == "all", refused=wanted != "none")


class RequestLog:
    """Lines about inference requests.

    Parameters
    ----------
    stderr : Stderr
        Where to.
    answered, refused : bool
        Whether to say anything of these. Failed ones are always logged.
    """

    def __init__(self, stderr: Stderr, *, answered: bool, refused: bool) -> None:
        self._stderr = stderr
        self._answered = answered
        self._refused = refused

    def of(self, model: str, version: str) -> "VersionLog":
        """Return the log of the requests to one version."""
        return VersionLog(self, model, version, self._stderr if self._answered else None)

    def refused(
        self,
        request_id: str | None,
        status: int,
        reason: str,
        **known: str,
    ) -> None:
        """Log a request that gets no answer, through the client's fault.

        Parameters
        ----------
        request_id : str or None
            As the client sent it: anything.
        status : int
            The HTTP status it deserves.
        reason : str
            Our message to the client; cut at 300 characters.
        **known : str
            Its model and version, if it got that far.
        """
        if self._refused:
            fields = {**known, "status": status, "reason": clean(reason, _MAX_REASON_CHARS)}
            self._stderr.add(_request_line("info", "refused", request_id, fields))

    def failed(self, request_id: str | None, error: BaseException, **known: str) -> None:
        """Log a request that gets no answer, through our fault; see `refused` for the rest."""
        fields = {**known, "exception": describe(error)}
        self._stderr.write(_request_line("error", "failed", request_id, fields))


class VersionLog:
    """Lines about the inference requests to one version; `RequestLog.of` makes it."""

    def __init__(self, log: RequestLog, model: str, version: str, stderr: Stderr | None) -> None:
        self._log = log
        self._known = {"model": model, "version": version}
        self._stderr = stderr
        self._head = (
            f'Z","level":"info","logger":"{_REQUEST_LOGGER}","message":"answered","request_id":"'
        )
        self._middle = f'","model":{json.dumps(model)},"version":{json.dumps(version)},"rows":'

    def answered(self, request_id: str, n_rows: int, seconds: float) -> None:
        """Log a request that got its answer.

        Parameters
        ----------
        request_id : str
            Printable ASCII: a runtime lets nothing else pass.
        n_rows : int
            How many rows the request had.
        seconds : float
            How long its answer took.
        """
        stderr = self._stderr
        if stderr is None:
            return
        now = time()
        second = int(now)
        if second != stderr.second:
            stderr.turn_to(second)
        if '"' in request_id or "\\" in request_id:
            request_id = json.dumps(request_id)[1:-1]
        waiting = stderr.waiting
        waiting.append(
            f"{stderr.stamp}{_MILLISECONDS[int((now - second) * 1000)]}{self._head}{request_id}"
            f'{self._middle}{n_rows},"seconds":{seconds:.6f}}}\n'
        )
        if now > stderr.due or len(waiting) >= MAX_WAITING_LINES:
            stderr.flush_soon()

    def refused(self, request_id: str | None, status: int, reason: str) -> None:
        """Log a request that gets no answer, through the client's fault; as `RequestLog` does."""
        self._log.refused(request_id, status, reason, **self._known)

    def failed(self, request_id: str | None, error: BaseException) -> None:
        """Log a request that gets no answer, through our fault; as `RequestLog` does."""
        self._log.failed(request_id, error, **self._known)


class JsonHandler(logging.Handler):
    """Writes the records of `logging`; MLServer and uvicorn make it by its name."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _format_record(record)
        except Exception as error:  # noqa: BLE001 - its text is made by whatever was logged
            fields = {"file": record.pathname, "line": record.lineno, "exception": describe(error)}
            message = "what was logged here has no text"
            line = format_line(record.created, "error", record.name, message, fields)
        process_stderr().write(line)

    def flush(self) -> None:
        process_stderr().flush()


def _choose(variable: str, choices: tuple[str, ...], usual: str) -> str:
    given = os.environ.get(variable, usual)
    if given not in choices:
        raise AbserveError(f"{variable} is {given!r}; expected one of {', '.join(choices)}")
    return given


def _configuration(level: str) -> dict[str, Any]:
    """Return what `logging.config.dictConfig` takes, and can take any number of times."""
    passed_on = {"level": "NOTSET", "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"json": {"class": f"{__name__}.{JsonHandler.__name__}"}},
        # What other libraries say for debugging may quote requests and credentials.
        "root": {"level": "INFO" if level == "DEBUG" else level, "handlers": ["json"]},
        "loggers": {
            "mlserver": {**passed_on, "level": level},
            "uvicorn": passed_on,
            "uvicorn.error": passed_on,
            "uvicorn.asgi": passed_on,
            # The request log says it better.
            "uvicorn.access": {**passed_on, "propagate": False},
        },
    }


def _format_record(record: logging.LogRecord) -> str:
    fields: dict[str, object] = {}
    if model := model_name_var.get(""):
        fields = {"model": model, "version": model_version_var.get("")}
    fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
    if record.exc_info and record.exc_info[1]:
        fields["exception"] = describe(record.exc_info[1])
    if record.stack_info:
        fields["stack"] = record.stack_info
    level = record.levelname.lower()
    return format_line(record.created, level, record.name, record.getMessage(), fields)


def _request_line(
    level: str,
    message: str,
    request_id: str | None,
    fields: Mapping[str, object],
) -> str:
    sent = {} if request_id is None else {"request_id": clean(request_id, _MAX_ID_CHARS)}
    return format_line(time(), level, _REQUEST_LOGGER, message, {**sent, **fields})
