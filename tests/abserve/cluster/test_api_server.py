import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette

from abserve.cluster.api_server import ApiServer
from abserve.cluster.certificates import kept_certificate
from abserve.cluster.ports import HOST, free_port
from abserve.errors import ClusterError


def server(port: int, folder: Path) -> ApiServer:
    return ApiServer(Starlette(), port, kept_certificate(folder, datetime.now(UTC)))


def test_it_listens_once_it_has_started(tmp_path: Path) -> None:
    async def start_and_stop(port: int) -> None:
        api = server(port, tmp_path)
        await api.start()
        with socket.create_connection((HOST, port)):
            pass
        await api.stop()

    port = free_port()
    asyncio.run(start_and_stop(port))
    with socket.create_server((HOST, port)):
        pass


def test_a_port_that_was_taken_meanwhile_is_refused_in_words(tmp_path: Path) -> None:
    with (
        socket.create_server((HOST, 0)) as other,
        pytest.raises(ClusterError, match=r"cannot listen on port \d+: .*; choose another with"),
    ):
        asyncio.run(server(other.getsockname()[1], tmp_path).start())
