"""Where a model is served: its V2 endpoint, and what its statuses say to whoever asks."""

import threading
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from abserve.errors import ScoringError
from abserve.scoring.tensors import HEADER_LENGTH

_INFER = "/infer"
_LONGEST_SHOWN = 500
# Too many requests, or whoever is to answer is not there now: both pass.
_BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
_WRONG_ROWS = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
_ADVICE = {
    HTTPStatus.UNAUTHORIZED: "name the file of a token with --token-file, or renew the one in it; "
    "what was answered is kept, and the same command goes on from there",
    HTTPStatus.FORBIDDEN: "this token may not ask this model; name another with --token-file",
    HTTPStatus.NOT_FOUND: "is the model served there, and under this name?",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "send fewer rows per request, with --rows",
}


class BusyError(Exception):
    """Not now: to be asked again, after `retry_after` seconds if the server says so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WrongRowsError(Exception):
    """The rows of the request are refused, and always will be."""


class FailedError(Exception):
    """The server failed at this request, through its own fault."""


class Endpoint:
    """The V2 endpoint of a model. May be asked from many threads.

    Parameters
    ----------
    url : str
        ``http://host/v2/models/<model>``, with ``/infer`` at its end or without; a prefix such as
        ``/seldon/models/iris`` may stand before ``/v2``.
    timeout_seconds : float
        How long one request may take.
    token_file : Path or None
        Holds the bearer token. It is read for each request, for a kubelet replaces it in time.

    Raises
    ------
    ScoringError
        If the URL is none of a model.
    """

    def __init__(self, url: str, timeout_seconds: float, token_file: Path | None = None) -> None:
        self.url = url.rstrip("/").removesuffix(_INFER)
        if not self.url.startswith(("http://", "https://")) or "/v2/models/" not in self.url:
            raise ScoringError(
                f"{url!r} is no model's address; expected one such as "
                "http://localhost:8080/seldon/default/iris/v2/models/iris"
            )
        self._timeout = timeout_seconds
        self._token_file = token_file
        # requests does not promise that a session may be shared by threads.
        self._local = threading.local()

    def metadata(self) -> Any:
        """Return what the model says of itself.

        Raises
        ------
        ScoringError, BusyError, FailedError
            If it does not.
        """
        response = self._ask("GET", self.url)
        try:
            return response.json()
        except requests.JSONDecodeError as error:
            raise ScoringError(f"{self.url} answers with what is no JSON: {error}") from error

    def infer(self, body: bytes, header_length: int) -> tuple[bytes, str | None]:
        """Return the body of the response, and the length of its JSON if that is not all of it.

        Raises
        ------
        BusyError, WrongRowsError, FailedError, ScoringError
            By what the status says.
        """
        headers = {
            "content-type": "application/octet-stream",
            # To pack and unpack numbers takes longer than to send them.
            "accept-encoding": "identity",
            HEADER_LENGTH: str(header_length),
        }
        response = self._ask("POST", self.url + _INFER, data=body, headers=headers)
        return response.content, response.headers.get(HEADER_LENGTH)

    def _ask(self, method: str, url: str, **request: Any) -> requests.Response:
        authorization = self._authorization()
        response = self._send(method, url, authorization, **request)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            # The token may have run out, and been replaced, while the request was under way.
            renewed = self._authorization()
            if renewed != authorization:
                response = self._send(method, url, renewed, **request)
        if response.status_code == HTTPStatus.OK:
            return response
        raise _error_of(response, url)

    def _send(
        self, method: str, url: str, authorization: Mapping[str, str], **request: Any
    ) -> requests.Response:
        headers = {**request.pop("headers", {}), **authorization}
        try:
            # A redirection would make a GET of a POST, and may lead away with the token.
            return self._session().request(
                method,
                url,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                **request,
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            raise BusyError(f"{url} does not answer ({type(error).__name__})") from error
        except requests.RequestException as error:
            raise ScoringError(f"{url} cannot be asked: {error}") from error

    def _session(self) -> requests.Session:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
        found: requests.Session = session
        return found

    def _authorization(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ScoringError(f"the token cannot be read: {error}") from error
        return {"authorization": f"Bearer {token}"}


def _error_of(response: requests.Response, url: str) -> Exception:
    status, said = response.status_code, _said(response)
    if status in _BUSY:
        return BusyError(f"{url} answers {status}: {said}", _retry_after(response))
    if status in _WRONG_ROWS:
        return WrongRowsError(said)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return FailedError(f"{url} answers {status}: {said}")
    advice = next((text for key, text in _ADVICE.items() if key == status), "")
    return ScoringError(f"{url} answers {status}: {said}" + (f"; {advice}" if advice else ""))


def _said(response: requests.Response) -> str:
    try:
        said = response.json()["error"]
    except (requests.JSONDecodeError, KeyError, TypeError):
        said = response.text.strip() or response.reason
    return str(said)[:_LONGEST_SHOWN]


def _retry_after(response: requests.Response) -> float | None:
    """Return the header in seconds; its other form, a date, is as good as none to us."""
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdigit() else None
