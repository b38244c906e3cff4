"""A server of the V2 protocol that behaves as told: what stands outside of `abserve.scoring`."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import numpy as np
from aiohttp import web

LENGTH = "Inference-Header-Content-Length"
METADATA = {
    "name": "sums",
    "inputs": [
        {
            "name": "features",
            "datatype": "FP32",
            "shape": [-1, 2],
            "parameters": {"columns": ["a", "b"], "categories": {"b": ["red", "green"]}},
        }
    ],
    "outputs": [
        {"name": "prediction", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "label", "datatype": "BYTES", "shape": [-1, 1]},
        {
            "name": "probability",
            "datatype": "FP32",
            "shape": [-1, 2],
            "parameters": {"classes": ["no", "yes"]},
        },
        {"name": "class_index", "datatype": "INT64", "shape": [-1, 1]},
    ],
}


@dataclass
class V2Server:
    """Answers a + b for each row.

    `next_statuses` are answered first, one a request; `refused` is a value of `a` that no request
    may hold; `version_from` says from which value of `a` on another version answers; `accepted` is
    the token that it wants, if any, and `meanwhile` is done while a request is looked at.
    """

    next_statuses: list[int] = field(default_factory=list)
    retry_after: str | None = None
    refused: float | None = None
    version_from: float = np.inf
    metadata: Any = field(default_factory=lambda: METADATA)
    in_binary: bool = True
    seconds: float = 0.0
    accepted: str | None = None
    meanwhile: Callable[[], object] = lambda: None
    asked: list[list[float]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""
    _at_once: int = 0

    async def tell(self, _request: web.Request) -> web.Response:
        return web.json_response(self.metadata)

    async def infer(self, request: web.Request) -> web.Response:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            body = await request.read()
            await asyncio.sleep(self.seconds)
            return self._answer(request, body)
        finally:
            self._at_once -= 1

    def _answer(self, request: web.Request, body: bytes) -> web.Response:
        self.tokens.append(request.headers.get("authorization"))
        self.meanwhile()
        if self.accepted not in {None, self.tokens[-1]}:
            return web.json_response({"error": "Jwt is expired"}, status=401)
        if self.next_statuses and (status := self.next_statuses.pop(0)) != HTTPStatus.OK:
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return web.json_response({"error": "as told"}, status=status, headers=headers)
        length = int(request.headers[LENGTH])
        document = json.loads(body[:length])
        shape = document["inputs"][0]["shape"]
        rows = np.frombuffer(body[length:], "<f8").reshape(shape)
        if self.refused is not None and self.refused in rows[:, 0]:
            return web.json_response({"error": f"a is {self.refused}"}, status=400)
        self.asked.append(rows[:, 0].tolist())
        version = "v2" if rows[0, 0] >= self.version_from else "v1"
        return self._respond(document, rows, version)

    def _respond(self, document: Any, rows: Any, version: str) -> web.Response:
        total = rows.sum(axis=1).astype("<f4")
        labels = [str(value) for value in rows[:, 1]]
        values: dict[str, Any] = {
            "prediction": total,
            "label": labels,
            "probability": np.column_stack([total, -total]).ravel(),
        }
        raw = {
            name: b"".join(len(t).to_bytes(4, "little") + t.encode() for t in found)
            if name == "label"
            else found.tobytes()
            for name, found in values.items()
        }
        outputs = []
        for wanted in METADATA["outputs"]:
            if wanted["name"] in values:
                found = {**wanted, "shape": [len(rows), wanted["shape"][1]]}
                if self.in_binary:
                    found["parameters"] = {"binary_data_size": len(raw[wanted["name"]])}
                else:
                    found["data"] = list(map(_plain, values[wanted["name"]]))
                outputs.append(found)
        head = {
            "model_name": "sums",
            "model_version": version,
            "id": document["id"],
            "outputs": outputs,
        }
        if not self.in_binary:
            return web.json_response(head)
        text = json.dumps(head).encode()
        body = text + b"".join(raw[each["name"]] for each in outputs)
        return web.Response(body=body, headers={LENGTH: str(len(text))})


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)


@contextmanager
def running(server: V2Server) -> Iterator[V2Server]:
    """Serve for as long as the block lasts, on a port of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_get("/v2/models/sums", server.tell)
    app.router.add_post("/v2/models/sums/infer", server.infer)
    runner = web.AppRunner(app)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        return port

    try:
        port = asyncio.run_coroutine_threadsafe(start(), loop).result()
        server.url = f"http://127.0.0.1:{port}/v2/models/sums"
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
