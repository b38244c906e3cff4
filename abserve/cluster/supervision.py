"""Keep a process running: when it ends unasked, start it again, later each time."""

import asyncio
from collections.abc import Awaitable, Callable

from abserve.cluster.processes import Child, describe_exit
from abserve.errors import ClusterError

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
# Having run this long, a process that ends is a new misfortune, not the old one again.
_STEADY_SECONDS = 60.0


class BackOff:
    """How long to wait before the next try: twice as long each time, until something worked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._began = clock()

    @property
    def n_failures(self) -> int:
        return self._failures

    def begin(self) -> None:
        """Note that a try begins now."""
        self._began = self._clock()

    def next_delay(self) -> float:
        """Note that the try failed; return the seconds to wait before the next."""
        if self._clock() - self._began > _STEADY_SECONDS:
            self._failures = 0
        self._failures += 1
        # Far beyond the longest delay, and before the float overflows, doubling ends.
        n_doublings = min(self._failures - 1, 16)
        return min(_FIRST_DELAY_SECONDS * 2.0**n_doublings, _LONGEST_DELAY_SECONDS)


async def keep_running(
    child: Child,
    restart: Callable[[], Awaitable[Child]],
    report: Callable[[str], None],
    grace_seconds: float,
) -> None:
    """Start a process again whenever it ends, until this task is cancelled; then stop it."""
    back_off = BackOff(asyncio.get_running_loop().time)
    try:
        back_off.begin()
        while True:
            code = await child.wait()
            trouble = f"{child.name} {describe_exit(code)}: {child.last_words()}"
            while not child.running:
                delay = back_off.next_delay()
                report(f"{trouble}; starting it again in {delay:g} s")
                await asyncio.sleep(delay)
                back_off.begin()
                try:
                    child = await restart()
                except ClusterError as error:
                    trouble = str(error)
    finally:
        await child.stop(grace_seconds)
