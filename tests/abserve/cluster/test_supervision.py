import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from abserve.cluster.home import Home
from abserve.cluster.processes import Child, Processes, describe_exit
from abserve.cluster.supervision import BackOff, keep_running
from tests.abserve.cluster.children import SLEEP, saying

GRACE_SECONDS = 10.0

Starts = Callable[[list[str]], Awaitable[Child]]


class Clock:
    """Shows the seconds it is set to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def back_off(clock: Clock) -> BackOff:
    return BackOff(clock)


def test_each_failure_doubles_the_delay_up_to_half_a_minute(back_off: BackOff) -> None:
    delays = [back_off.next_delay() for _ in range(9)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_failures_are_counted(back_off: BackOff) -> None:
    assert back_off.n_failures == 0
    back_off.next_delay()
    back_off.next_delay()
    assert back_off.n_failures == 2


def test_a_try_that_held_for_more_than_a_minute_begins_the_count_anew(
    back_off: BackOff, clock: Clock
) -> None:
    back_off.next_delay()
    back_off.next_delay()
    back_off.begin()
    clock.seconds += 60.1
    assert back_off.next_delay() == 0.5
    assert back_off.n_failures == 1


def test_a_try_that_held_for_less_than_a_minute_is_the_old_failure(
    back_off: BackOff, clock: Clock
) -> None:
    back_off.next_delay()
    back_off.begin()
    clock.seconds += 59.9
    assert back_off.next_delay() == 1.0


def test_waiting_between_tries_is_not_running(back_off: BackOff, clock: Clock) -> None:
    back_off.begin()
    back_off.next_delay()
    clock.seconds += 3600
    back_off.begin()
    assert back_off.next_delay() == 1.0


def test_very_many_failures_are_no_trouble(back_off: BackOff) -> None:
    assert [back_off.next_delay() for _ in range(5000)][-1] == 30.0


@pytest.fixture
async def start(home: Home) -> AsyncIterator[Starts]:
    """Starts a process, and ends it after the test if it still runs."""
    processes = Processes(home)
    children: list[Child] = []

    async def start(command: list[str]) -> Child:
        child = await processes.start("child", command, {}, home.log, home.folder)
        children.append(child)
        return child

    yield start
    for child in children:
        await child.stop(0)


async def cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Restarts:
    """Starts a process that sleeps, and tells of it."""

    def __init__(self, start: Starts) -> None:
        self.started: asyncio.Queue[Child] = asyncio.Queue()
        self._start = start

    async def __call__(self) -> Child:
        child = await self._start(SLEEP)
        self.started.put_nowait(child)
        return child

    async def next(self) -> Child:
        return await asyncio.wait_for(self.started.get(), GRACE_SECONDS)


async def test_a_process_that_ends_is_started_again(start: Starts) -> None:
    restarts = Restarts(start)
    short = await start(saying("out of luck", 3))
    task = asyncio.create_task(keep_running(short, restarts, quiet, GRACE_SECONDS))
    assert (await restarts.next()).running
    await cancel(task)


async def test_the_end_of_a_process_is_reported_with_its_last_words(start: Starts) -> None:
    reports: asyncio.Queue[str] = asyncio.Queue()
    short = await start(saying("out of luck", 3))
    task = asyncio.create_task(
        keep_running(short, Restarts(start), reports.put_nowait, GRACE_SECONDS)
    )
    said = await asyncio.wait_for(reports.get(), GRACE_SECONDS)
    await cancel(task)
    assert said == "child exited with code 3: out of luck; starting it again in 0.5 s"


async def test_a_running_process_is_stopped_at_the_end(start: Starts) -> None:
    child = await start(SLEEP)
    task = asyncio.create_task(keep_running(child, Restarts(start), quiet, GRACE_SECONDS))
    await asyncio.sleep(0)
    await cancel(task)
    assert describe_exit(await child.wait()) == "was killed by SIGTERM"


async def test_a_process_started_again_is_stopped_at_the_end(start: Starts) -> None:
    restarts = Restarts(start)
    task = asyncio.create_task(
        keep_running(await start(saying("gone")), restarts, quiet, GRACE_SECONDS)
    )
    again = await restarts.next()
    await cancel(task)
    assert not again.running


def quiet(_: str) -> None:
    """Take a report and say nothing."""
