from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from abserve.cluster.admission import admission
from abserve.cluster.api import Store
from abserve.cluster.api.kinds import NAMESPACE, POD
from abserve.cluster.api.logs import LogOptions
from abserve.cluster.api.server import Api
from abserve.cluster.home import Home
from tests.abserve.cluster.asgi import TOKEN, Client
from tests.abserve.cluster.documents import Document, namespace, pod

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


class TwoLinePods:
    """Pods that all have said two lines, and answer on one port with the path they were asked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def log(self, namespace: str, name: str, options: LogOptions) -> AsyncIterator[bytes]:
        lines = [f"{namespace}/{name} started\n", f"{namespace}/{name} ready\n"]
        n_lines = len(lines) if options.tail_lines is None else options.tail_lines
        for line in lines[len(lines) - n_lines :]:
            yield line.encode()

    def delete(self, namespace: str, name: str) -> Document:
        return self._store.delete(POD, namespace, name)

    async def proxy(
        self, namespace: str, name: str, port: int | None, path: str
    ) -> tuple[int, str, bytes]:
        return 203, "text/x-proxied", f"{namespace} {name} {port} {path}".encode()


@pytest.fixture
def store() -> Store:
    """An empty store whose clock stands still."""
    return Store(lambda: NOW)


@pytest.fixture
async def client(store: Store) -> Client:
    """A client of an API with the namespaces `default` and `shop`, and one pod."""
    for name in ("default", "shop"):
        store.create(NAMESPACE, namespace(name))
    store.create(POD, pod("iris-0"))
    return Client(Api(store, TOKEN, admission, TwoLinePods(store), lambda: NOW).app)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The folder of a cluster that does not run."""
    made = Home(tmp_path / "home")
    made.make()
    return made
