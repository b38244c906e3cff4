"""Asking a process of ours over HTTP whether it is ready."""

from http import HTTPStatus

import aiohttp

_PROBE_SECONDS = 2.0


async def says_yes(http: aiohttp.ClientSession, url: str) -> bool:
    """Tell whether `url` answers 200 soon; one that does not answer at all says no."""
    timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
    try:
        async with http.get(url, timeout=timeout) as response:
            return response.status == HTTPStatus.OK
    except (aiohttp.ClientError, TimeoutError):
        return False
