"""What a client may ask of a log: ``kubectl logs`` and its options.

The answer begins only once it is known that there is a log to show: until then a refusal is a
Status object, afterwards there is nothing but lines.
"""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass

from abserve.cluster.api.status import ApiError, invalid

# What an int64 holds in any case.
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_TRUE, _FALSE = {"true", "True", "1", ""}, {"false", "False", "0"}


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of which log, and how.

    `container` is None where the client leaves the choice to us. `since` leaves out the lines
    before it, `tail_lines` all but the last, `limit_bytes` all that is beyond. `previous` asks for
    the run before the last restart.
    """

    container: str | None = None
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: dt.datetime | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None


def log_options(pod: str, query: Mapping[str, str], now: dt.datetime) -> LogOptions:
    """Return what a query asks for.

    Raises
    ------
    ApiError
        400 if a value cannot be read, 422 if it makes no sense.
    """
    since_seconds = _number(pod, query, "sinceSeconds", least=1)
    since_time = _time(query, "sinceTime")
    if since_seconds is not None and since_time is not None:
        message = "at most one of sinceTime or sinceSeconds may be specified"
        raise _refusal(pod, "sinceSeconds", message)
    if since_seconds is not None:
        try:
            since_time = now - dt.timedelta(seconds=since_seconds)
        except OverflowError:  # before time began is: all there is
            since_time = None
    return LogOptions(
        container=query.get("container") or None,
        follow=_truth(query, "follow"),
        previous=_truth(query, "previous"),
        timestamps=_truth(query, "timestamps"),
        since=since_time,
        tail_lines=_number(pod, query, "tailLines", least=0),
        limit_bytes=_number(pod, query, "limitBytes", least=1),
    )


def _truth(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in _TRUE | _FALSE:
        raise ApiError(400, f"{name} is {text!r}; expected true or false")
    return text in _TRUE


def _number(pod: str, query: Mapping[str, str], name: str, least: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise ApiError(400, f"{name} is {text!r}; expected a whole number")
    if int(text) < least:
        message = f"Invalid value: {text}: must be greater than or equal to {least}"
        raise _refusal(pod, name, message)
    return int(text)


def _time(query: Mapping[str, str], name: str) -> dt.datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ApiError(400, f"{name} is {text!r}; expected a time such as 2026-01-02T03:04:05Z")
    return time


def _refusal(pod: str, field: str, message: str) -> ApiError:
    cause = {"reason": "FieldValueInvalid", "field": field, "message": message}
    return invalid("PodLogOptions", "", pod, [cause])
