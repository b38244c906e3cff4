"""The fast path answers what MLServer's own path answers, to the byte.

The same requests go to our server, which answers them before MLServer's app, and to the stock
server, which knows no fast path. Tokens hold the time, so they are compared by what they do.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.runtimes.server_process import OURS, STOCK, ServerProcess, running
from tests.runtimes.versions import COLUMNS, SETOSA, VIRGINICA, write_version

pytestmark = pytest.mark.e2e

TOKEN = re.compile(rb'"feedback_token":"[^"]+"')

# Differ by nature, or say how the answer was sent.
OF_THE_CONNECTION = {"date", "content-length", "vary", "content-encoding"}


def matrix(rows: list[list[float]], datatype: str = "FP32", *, nested: bool = False) -> Any:
    data = rows if nested else [value for row in rows for value in row]
    return {"name": "features", "shape": [len(rows), 4], "datatype": datatype, "data": data}


BOTH = [SETOSA, VIRGINICA]
CORPUS: dict[str, dict[str, Any]] = {
    "one row": {"inputs": [matrix([SETOSA])]},
    "two rows": {"inputs": [matrix(BOTH)]},
    "double precision": {"inputs": [matrix(BOTH, "FP64")]},
    "half precision": {"inputs": [matrix(BOTH, "FP16")]},
    "nested": {"inputs": [matrix(BOTH, nested=True)]},
    "integers": {"inputs": [matrix([[5, 3, 1, 0], [6, 3, 6, 2]], "INT64")]},
    "a batch": {"inputs": [matrix(BOTH * 512)]},
    "labels only": {"inputs": [matrix(BOTH)], "outputs": [{"name": "label"}]},
    "probabilities only": {"inputs": [matrix(BOTH)], "outputs": [{"name": "probability"}]},
    "outputs turned round": {
        "inputs": [matrix(BOTH)],
        "outputs": [{"name": "probability"}, {"name": "label"}],
    },
    "far from the data": {"inputs": [matrix([[-1e6, 1e6, 0.1, 1e-30]])]},
    "class indices only": {"inputs": [matrix(BOTH)], "outputs": [{"name": "class_index"}]},
    "columns": {
        "inputs": [
            {"name": name, "shape": [2, 1], "datatype": "FP32", "data": [float(a), float(b)]}
            for name, a, b in zip(COLUMNS, SETOSA, VIRGINICA, strict=True)
        ]
    },
    "an id with quotes": {"id": 'r"\\1', "inputs": [matrix([SETOSA])]},
    "an id with spaces": {"id": "r 1", "inputs": [matrix([SETOSA])]},
}


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    folder = write_version(tmp_path_factory.mktemp("iris") / "v1")
    logs = tmp_path_factory.mktemp("logs")
    with running(OURS, folder, logs / "ours") as ours, running(STOCK, folder, logs / "s") as stock:
        ours.wait_until_ready()
        stock.wait_until_ready()
        yield ours, stock


def ask(server: ServerProcess, request: dict[str, Any], path: str) -> requests.Response:
    # Our ids are needed: one that a server makes up is another each time.
    response = server.post(path, {"id": "r-1", **request})
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("path", ["/v2/models/iris/infer", "/v2/models/iris/versions/v1/infer"])
def test_both_paths_give_the_same_bytes(
    servers: tuple[ServerProcess, ServerProcess], name: str, path: str
) -> None:
    fast, slow = (ask(server, CORPUS[name], path) for server in servers)
    assert TOKEN.sub(b"", fast.content) == TOKEN.sub(b"", slow.content)
    assert len(TOKEN.findall(fast.content)) == 1


def test_both_paths_send_the_same_headers(servers: tuple[ServerProcess, ServerProcess]) -> None:
    fast, slow = (
        {
            key.lower(): value
            for key, value in ask(
                server, CORPUS["one row"], "/v2/models/iris/infer"
            ).headers.items()
            if key.lower() not in OF_THE_CONNECTION
        }
        for server in servers
    )
    assert fast == slow


def test_a_token_of_either_path_counts_on_the_other(
    servers: tuple[ServerProcess, ServerProcess],
) -> None:
    ours, stock = servers
    for maker, counter in ((ours, stock), (stock, ours)):
        answer = ask(maker, CORPUS["two rows"], "/v2/models/iris/infer").json()
        feedback = counter.post(
            "/v2/models/iris/feedback",
            {
                "id": "r-1",
                "feedback_token": answer["parameters"]["feedback_token"],
                "ground_truth": ["setosa", "setosa"],
            },
        )
        assert feedback.json()["counted"] == 2
        assert feedback.json()["correct"] == 1
