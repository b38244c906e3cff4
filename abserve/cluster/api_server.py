"""The HTTP server of the Kubernetes API, inside the cluster's own event loop."""

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn
from starlette.applications import Starlette

from abserve.cluster.certificates import Certificate
from abserve.cluster.ports import HOST
from abserve.errors import ClusterError


class ApiServer(uvicorn.Server):
    """Serves an application on a loopback port with TLS; signals are the cluster's business."""

    def __init__(self, app: Starlette, port: int, certificate: Certificate) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=HOST,
                port=port,
                ssl_certfile=str(certificate.certificate),
                ssl_keyfile=str(certificate.key),
                access_log=False,
                log_config=None,
                lifespan="off",
                # Watches stay open for ever; they do not hold up the end.
                timeout_graceful_shutdown=1,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def start(self) -> None:
        """Serve from now on.

        Raises
        ------
        ClusterError
            If the port cannot be had.
        """
        # uvicorn ends the whole process where it cannot listen, so it is given what does already.
        try:
            listening = socket.create_server((HOST, self.config.port))
        except OSError as error:
            raise ClusterError(
                f"the Kubernetes API cannot listen on port {self.config.port}: {error.strerror}; "
                "choose another with --api-port"
            ) from error
        self._serving = asyncio.get_running_loop().create_task(self.serve([listening]))
        while not self.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self.should_exit = True
        await self._serving
