"""Who may ask: this machine's browser, with the token, from the console's own page.

::

    request ──> host is localhost? ──> token or cookie? ──> changes anything? then JSON, same origin
                     no: 421                no: 401                 no: 403 or 415

The host is checked because a foreign name that resolves to 127.0.0.1 would make a foreign page's
requests look like ours (DNS rebinding). Nobody else's page can read the cookie or make the browser
send it, and nothing that the cluster says can become a script.
"""

import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOSTS = frozenset({"localhost", "127.0.0.1"})
_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'; require-trusted-types-for 'script'"
    ),
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Lets through what may pass, and hardens every answer.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    token : str
        What the URL that the console printed holds.
    cookie : str
        Name of the cookie; browsers do not tell ports apart, so consoles need names of their own.
    denied : str
        The page for those without a token.
    """

    def __init__(self, app: ASGIApp, token: str, cookie: str, denied: str) -> None:
        self._app = app
        self._token = token.encode()
        self._cookie = cookie
        self._denied = denied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        answer = self._refusal(scope) or self._app
        await answer(scope, receive, send_hardened)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host.rpartition(":")[0] not in _HOSTS and host not in _HOSTS:
            return PlainTextResponse("the console answers as localhost only\n", 421)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if given and scope["path"] == "/" and self._is_token(given[0]):
            return self._welcome()
        if not self._is_token(self._cookie_of(headers)):
            return Response(self._denied, 401, media_type="text/html")
        return None if scope["method"] in {"GET", "HEAD"} else _improper_change(headers)

    def _welcome(self) -> Response:
        """Keep the token in a cookie, and out of the address bar."""
        response = RedirectResponse("/", 303)
        response.set_cookie(
            self._cookie, self._token.decode(), httponly=True, samesite="strict", path="/"
        )
        return response

    def _cookie_of(self, headers: Headers) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return morsel.value if morsel else ""

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token)


def _improper_change(headers: Headers) -> Response | None:
    """Refuse a change that does not come from the console's own page."""
    if headers.get("origin") != f"http://{headers.get('host')}":
        return JSONResponse({"message": "only the console's own page may change things"}, 403)
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return JSONResponse({"message": "a change is sent as application/json"}, 415)
    return None
