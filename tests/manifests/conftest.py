from tests.abserve.conftest import api, server

__all__ = ["api", "server"]
