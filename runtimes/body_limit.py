"""How much of a request is read: bodies and what comes out of gzip, both up to a limit.

MLServer reads whatever is sent, into 20 times its size of memory, and unpacks gzip without an end:
200 kB that hold 200 MB stop a server for everybody. Here a body that is too large is refused before
it is kept, and gzip is unpacked only as far as the limit, once for all that lies behind.
"""

import json
import os
import zlib

from abserve.errors import AbserveError
from runtimes.asgi import App, Receive, Scope, Send, replay
from runtimes.logs import request_log

LIMIT_VARIABLE = "ABSERVE_MAX_BODY_BYTES"
USUAL_LIMIT_BYTES = 16 * 1024 * 1024

# A client that still sends does not read; up to this many times the limit is thrown away, so that
# it comes to read why it is refused.
_DISCARDED_LIMITS = 4
_GZIP_WINDOW = zlib.MAX_WBITS | 16


class BodyRefusedError(AbserveError):
    """A body that is not read; `status` is the HTTP status it deserves."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def limit_from_environment() -> int:
    """Return the largest body that is read, in bytes.

    Raises
    ------
    AbserveError
        If the environment holds something that is no number of bytes.
    """
    given = os.environ.get(LIMIT_VARIABLE, str(USUAL_LIMIT_BYTES))
    if not given.isdecimal() or int(given) == 0:
        raise AbserveError(
            f"{LIMIT_VARIABLE} is {given!r}; expected a number of bytes, such as 16777216"
        )
    return int(given)


class BodyLimit:
    """An ASGI app in front of another, which gets bodies up to the limit, and unpacked.

    Parameters
    ----------
    app : ASGI app
        Sees no gzip.
    limit_bytes : int
        The largest body, packed and unpacked.
    """

    def __init__(self, app: App, limit_bytes: int) -> None:
        self._app = app
        self._limit = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length, encoding = _what_is_sent(scope)
        unstated = length is None and _is_chunked(scope)
        if encoding is None and not unstated and (length or 0) <= self._limit:
            await self._app(scope, receive, send)
            return
        try:
            if length is not None and length > self._limit:
                # Who asks first whether to send has not sent.
                if not _asks_first(scope):
                    await self._discard(receive)
                raise self._too_large(f"has {length} bytes")
            body = await self._read(receive)
            if body is not None and encoding is not None:
                body = self._unpack(body, encoding)
        except BodyRefusedError as error:
            await _refuse(error, send)
            return
        if body is not None:
            whole = {"type": "http.request", "body": body, "more_body": False}
            await self._app(_with_body(scope, body), replay([whole], receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body, None if the client went away."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
            if size > self._limit:
                if more:
                    await self._discard(receive)
                raise self._too_large(f"has more than {self._limit} bytes")
            if not more:
                return b"".join(chunks)

    async def _discard(self, receive: Receive) -> None:
        size = 0
        while size <= _DISCARDED_LIMITS * self._limit:
            message = await receive()
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return

    def _unpack(self, body: bytes, encoding: bytes) -> bytes:
        if encoding != b"gzip":
            raise BodyRefusedError(
                415,
                f"the body has content-encoding {ascii(encoding.decode('latin-1'))[:60]}; "
                "expected gzip, or none",
            )
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        try:
            unpacked = unpacker.decompress(body, self._limit + 1)
        except zlib.error as error:
            raise BodyRefusedError(
                400, f"the body is no gzip, though its content-encoding says so: {error}"
            ) from error
        if len(unpacked) > self._limit:
            raise self._too_large(f"unpacks to more than {self._limit} bytes")
        if not unpacker.eof or unpacker.unused_data:
            raise BodyRefusedError(400, "the body is gzip that is cut short, or goes on after it")
        return unpacked

    def _too_large(self, found: str) -> BodyRefusedError:
        return BodyRefusedError(
            413,
            f"the body {found}; at most {self._limit} are read: send the rows in parts, or "
            f"start the server with a larger {LIMIT_VARIABLE}",
        )


def _what_is_sent(scope: Scope) -> tuple[int | None, bytes | None]:
    """Return the body's length and its encoding, as far as the headers say."""
    length: int | None = None
    encoding: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value)  # uvicorn lets nothing else pass
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            encoding = value.strip().lower()
    return length, encoding


def _is_chunked(scope: Scope) -> bool:
    return any(name == b"transfer-encoding" for name, _ in scope["headers"])


def _asks_first(scope: Scope) -> bool:
    return any(name == b"expect" for name, _ in scope["headers"])


def _with_body(scope: Scope, body: bytes) -> Scope:
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in {b"content-encoding", b"content-length", b"transfer-encoding"}
    ]
    return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}


async def _refuse(error: BodyRefusedError, send: Send) -> None:
    request_log().refused(None, error.status, str(error))
    content = json.dumps({"error": str(error)}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
