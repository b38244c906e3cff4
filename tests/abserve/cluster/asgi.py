"""The API asked as uvicorn would ask it, without a socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette

TOKEN = "secret-token"
HEADERS = {"host": "127.0.0.1:6443", "authorization": f"Bearer {TOKEN}"}

# Ends a wait that would be for ever; no test is meant to take that long.
_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def text(self) -> str:
        return self.body.decode()


class Events:
    """The lines of a watch, as they arrive."""

    def __init__(self, sent: "asyncio.Queue[dict[str, Any]]") -> None:
        self._sent = sent

    async def next(self) -> dict[str, Any] | None:
        """Return the next event; None when the server has ended the stream."""
        message = await asyncio.wait_for(self._sent.get(), _WAIT_SECONDS)
        if message["type"] == "http.response.start":
            return await self.next()
        if not message["body"]:
            return None
        event: dict[str, Any] = json.loads(message["body"])
        return event

    async def names(self, n_events: int) -> list[tuple[str, str]]:
        """Return type and object name of the next events."""
        found = [await self.next() for _ in range(n_events)]
        return [(each["type"], each["object"]["metadata"]["name"]) for each in found if each]


class Client:
    """Whoever holds the token."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Answer:
        """Send one request; `body` goes as it is if it is bytes, else as JSON."""
        chunks = [body] if isinstance(body, bytes) else [json.dumps(body).encode()]
        return await self.send_chunks(
            method,
            path,
            chunks if body is not None else [b""],
            {**HEADERS, **(headers or {})},
            query,
        )

    async def send_chunks(
        self,
        method: str,
        path: str,
        chunks: Iterable[bytes],
        headers: Mapping[str, str] = HEADERS,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        parts = list(chunks)
        messages = iter(
            {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
            for index, part in enumerate(parts)
        )
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(_scope(method, path, headers, query or {}), receive, send)
        start, *rest = sent
        found = {key.decode(): value.decode() for key, value in start["headers"]}
        return Answer(start["status"], found, b"".join(each.get("body", b"") for each in rest))

    async def get(self, path: str, **query: str) -> Answer:
        return await self.send("GET", path, **query)

    async def post(self, path: str, body: Any, **query: str) -> Answer:
        return await self.send("POST", path, body, **query)

    async def put(self, path: str, body: Any, **query: str) -> Answer:
        return await self.send("PUT", path, body, **query)

    async def patch(
        self, path: str, body: Any, content_type: str = "application/merge-patch+json", **query: str
    ) -> Answer:
        return await self.send("PATCH", path, body, {"content-type": content_type}, **query)

    async def delete(self, path: str, **query: str) -> Answer:
        return await self.send("DELETE", path, **query)

    async def table(self, path: str, **query: str) -> Answer:
        """Ask as ``kubectl get`` does."""
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
        return await self.send("GET", path, headers={"accept": accept}, **query)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[Events]:
        """Watch a collection until the end of the block."""
        left = asyncio.Event()
        sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        scope = _scope("GET", path, HEADERS, {"watch": "true", **query})
        task = asyncio.create_task(self._app(scope, receive, sent.put))
        try:
            yield Events(sent)
        finally:
            left.set()
            await asyncio.wait_for(task, _WAIT_SECONDS)


def _scope(
    method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(query).encode(),
        "root_path": "",
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 6443),
    }
