"""A Kubernetes API for those who are its clients: the command line and promotion."""

from collections.abc import Iterator

import pytest

from tests.abserve.promotion.local_api import LocalApi, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def api(server: Server) -> Iterator[LocalApi]:
    with LocalApi(server) as running:
        yield running
