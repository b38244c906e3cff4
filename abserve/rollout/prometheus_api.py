"""How Prometheus is asked: where it is, how it lets us in, and which samples it has.

One instant query asks for all series that are needed, over the short time before a moment::

    {__name__=~"abserve_requests_total|...", namespace="shop", model=~"|iris", ...}[60000ms]

A range holds the samples as they were scraped, each with its own time, where an instant vector has
lost it. How old they may be is said here, and is not Prometheus' five minutes.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import requests
from pydantic import BaseModel, Field, ValidationError
from requests.auth import AuthBase

from abserve.errors import TelemetryError

_MATCHER = r'[a-zA-Z_]\w*(?:=~|!=|!~|=)"(?:[^"\\]|\\.)*"'
_MATCHERS = re.compile(rf"{_MATCHER}(?:,{_MATCHER})*", re.ASCII)
# Clocks that are kept right differ by less; the samples of such a moment are old enough anyway.
_CLOCKS_DIFFER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Access:
    """Where a Prometheus is, how it lets us in, and what its samples are like.

    Parameters
    ----------
    url : str
        With the path that the API's ``/api/v1`` is below, if any; it may hold a user and password.
    token_file : Path or None
        Holds a bearer token; read before each request, because tokens are replaced.
    ca_file : Path or None
        Certificates to trust instead of the usual ones.
    headers : mapping of str to str
        To be sent with each request, such as the tenant's.
    timeout_seconds : float
        How long to wait for an answer.
    selector : str
        Further label matchers, as ``cluster="eu",job="models"``.
    recent_seconds : float
        How old the last sample of a replica may be: two scrapes. It never may be older than the
        slots of outcomes rest.

    Raises
    ------
    TelemetryError
        If the URL or the selector is none.
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 10.0
    selector: str = ""
    recent_seconds: float = 60.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            # Only asking for the port checks it.
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise TelemetryError(
                f"the URL of Prometheus is {self.shown!r}; expected one as http://prometheus:9090"
            )
        if self.selector and not _MATCHERS.fullmatch(self.selector):
            raise TelemetryError(
                f"the selector is {self.selector!r}; expected label matchers as "
                'cluster="eu",job="models"'
            )

    @property
    def shown(self) -> str:
        """The URL without what nobody else should see."""
        return re.sub(r"[^/]*@", "", self.url).partition("?")[0]

    def authorisation(self) -> "_Bearer | None":
        """Return what proves who asks, or None if a token is not wanted.

        Raises
        ------
        TelemetryError
            If the token cannot be read.
        """
        if self.token_file is None:
            return None
        try:
            return _Bearer(self.token_file.read_text(encoding="latin-1").strip())
        except OSError as error:
            raise TelemetryError(
                f"the token for Prometheus cannot be read: {error}; expected a file that holds it"
            ) from error


class Prometheus:
    """One Prometheus, asked for raw samples."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session = requests.Session()
        self._session.headers.update(access.headers)

    def __str__(self) -> str:
        return f"Prometheus at {self._access.shown}"

    def matchers(self, names: Collection[str], namespace: str, **equal_or_absent: str) -> str:
        """Return the matchers of some metrics of a namespace, and of the targets that were named.

        A series that lacks one of the labels `equal_or_absent` passes.
        """
        return ",".join(
            (
                f'__name__=~"{"|".join(names)}"',
                f"namespace={json.dumps(namespace)}",
                *(
                    f"{label}=~{json.dumps(f'|{re.escape(value)}')}"
                    for label, value in equal_or_absent.items()
                ),
                *([self._access.selector] if self._access.selector else []),
            )
        )

    def samples(self, matchers: str, recent_seconds: float, at: float) -> "list[Scraped]":
        """Return what was scraped in the last `recent_seconds` before `at`, seconds since 1970.

        Raises
        ------
        TelemetryError
            If Prometheus does not answer, refuses, answers in part, or has not come to that moment.
        """
        query = f"{{{matchers}}}[{int(recent_seconds * 1000)}ms]"
        url = f"{self._access.url.rstrip('/')}/api/v1/query"
        try:
            response = self._session.get(
                url,
                params={"query": query, "time": f"{at:.3f}"},
                timeout=self._access.timeout_seconds,
                auth=self._access.authorisation(),
                verify=str(self._access.ca_file) if self._access.ca_file else True,
            )
        except (requests.RequestException, OSError) as error:
            raise TelemetryError(
                f"{self} does not answer: {_cause(error)}; see that it runs and can be reached "
                "from here"
            ) from error
        try:
            answer = _Answer.model_validate_json(response.content)
        except ValidationError as error:
            raise TelemetryError(
                f"{self._access.shown} answered {response.status_code} with what is no answer of "
                f"Prometheus ({response.headers.get('content-type', 'no content-type')}); expected "
                "its HTTP API below this URL"
            ) from error
        if answer.status != "success" or answer.data is None or not response.ok:
            raise TelemetryError(
                f"{self} answered {response.status_code}: {answer.error_type}: {answer.error}"
            )
        if answer.warnings:
            raise TelemetryError(
                f"{self} answered in part: {'; '.join(answer.warnings)}; expected all samples"
            )
        self._check_past(at, response.headers.get("date"))
        return answer.data.result

    def _check_past(self, at: float, date: str | None) -> None:
        try:
            now = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            # A proxy took the date away.
            return
        if at > now + _CLOCKS_DIFFER_SECONDS:
            raise TelemetryError(
                f"asked {self} for {in_words(at)}, and its clock says {in_words(now)}; expected a "
                "moment that has passed: set the clocks right"
            )


class _Bearer(AuthBase):
    """Sends a token, also where a .netrc has something else to send."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Scraped(BaseModel):
    """One series: its labels, and its samples as pairs of time and value."""

    metric: dict[str, str]
    values: list[tuple[float, float]] = []


class _Data(BaseModel):
    result: list[Scraped]


class _Answer(BaseModel):
    """An answer of Prometheus' HTTP API."""

    status: Literal["success", "error"]
    data: _Data | None = None
    error_type: str = Field(default="", alias="errorType")
    error: str = ""
    warnings: list[str] = []


def take_own(labels: dict[str, str], names: Collection[str]) -> dict[str, str]:
    """Take a metric's own labels out of its series', and leave the target's.

    Where both have a label of one name, Prometheus calls the metric's ``exported_<name>``.
    """
    return {
        label: labels.pop(f"exported_{label}" if f"exported_{label}" in labels else label)
        for label in names
        if label in labels
    }


def _cause(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__


def in_words(at: float) -> str:
    """Return a moment, given in seconds since 1970."""
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="milliseconds")
