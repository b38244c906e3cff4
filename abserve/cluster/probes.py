"""Asking a process of ours whether it is ready."""

import asyncio
from http import HTTPStatus

import aiohttp

from abserve.cluster.ports import HOST
from abserve.cluster.processes import Child
from abserve.errors import ClusterError

_PROBE_SECONDS = 2.0
_POLL_SECONDS = 0.02


async def says_yes(http: aiohttp.ClientSession, url: str) -> bool:
    """Tell whether `url` answers 200 soon; one that does not answer at all says no."""
    timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
    try:
        async with http.get(url, timeout=timeout) as response:
            return response.status == HTTPStatus.OK
    except (aiohttp.ClientError, TimeoutError):
        return False


async def wait_until_listening(child: Child, port: int) -> None:
    """Wait until a process takes connections.

    Raises
    ------
    ClusterError
        If it ends instead.
    """
    while True:
        if not child.running:
            raise ClusterError(f"{child.name} ended while starting: {child.last_words()}")
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except ConnectionRefusedError:
            await asyncio.sleep(_POLL_SECONDS)
            continue
        writer.close()
        await writer.wait_closed()
        return
