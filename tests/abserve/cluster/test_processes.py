import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from abserve.cluster.home import Home, record_of
from abserve.cluster.processes import Child, Processes, describe_exit, stop_recorded, tail
from abserve.errors import ClusterError
from tests.abserve.cluster.children import DEAF, DEAF_PARENT, SLEEP, saying

GRACE_SECONDS = 10.0


class Starter:
    """Starts processes that log to one file; ends those that still run."""

    def __init__(self, home: Home) -> None:
        self.log = home.logs / "child.log"
        self._home = home
        self._processes = Processes(home)
        self._children: list[Child] = []

    async def start(self, command: list[str], **environment: str) -> Child:
        child = await self._processes.start(
            "child", command, environment, self.log, self._home.folder
        )
        self._children.append(child)
        return child

    async def until_said(self) -> str:
        """Return the first line of the log, once it is there."""
        async with asyncio.timeout(GRACE_SECONDS):
            while not self.log.read_text().endswith("\n"):
                await asyncio.sleep(0.005)
        return self.log.read_text().strip()

    async def end(self) -> None:
        for child in self._children:
            await child.stop(0)


@pytest.fixture
async def starter(home: Home) -> AsyncIterator[Starter]:
    made = Starter(home)
    yield made
    await made.end()


async def test_a_process_runs_until_it_ends(starter: Starter) -> None:
    child = await starter.start(saying("hello", 3))
    assert await child.wait() == 3
    assert not child.running


async def test_what_a_process_says_is_in_its_log(starter: Starter) -> None:
    child = await starter.start(
        [sys.executable, "-S", "-c", "import sys; print('out'); print('err', file=sys.stderr)"]
    )
    await child.wait()
    assert sorted(tail(starter.log, 10)) == ["err", "out"]


async def test_the_log_of_an_earlier_run_is_kept(starter: Starter) -> None:
    for word in ("first", "second"):
        await (await starter.start(saying(word))).wait()
    assert tail(starter.log, 10) == ["first", "second"]


async def test_a_process_begins_in_its_folder(starter: Starter, home: Home) -> None:
    child = await starter.start([sys.executable, "-S", "-c", "import os; print(os.getcwd())"])
    await child.wait()
    assert tail(starter.log, 1) == [str(home.folder)]


async def test_a_process_does_not_see_what_the_cluster_sees(
    starter: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("LANG", "C.UTF-8")
    seen = (
        "import os; print({k: os.environ.get(k) for k in ('AWS_SECRET_ACCESS_KEY', 'LANG', 'A')})"
    )
    await (await starter.start([sys.executable, "-S", "-c", seen], A="given")).wait()
    assert tail(starter.log, 1) == [
        "{'AWS_SECRET_ACCESS_KEY': None, 'LANG': 'C.UTF-8', 'A': 'given'}"
    ]


async def test_what_is_given_wins_over_what_is_inherited(starter: Starter) -> None:
    seen = "import os; print(os.environ['HOME'])"
    await (await starter.start([sys.executable, "-S", "-c", seen], HOME="/elsewhere")).wait()
    assert tail(starter.log, 1) == ["/elsewhere"]


async def test_a_process_leads_a_session_of_its_own(starter: Starter) -> None:
    child = await starter.start(SLEEP)
    assert os.getsid(child.pid) == child.pid


async def test_a_running_process_is_on_record(starter: Starter, home: Home) -> None:
    child = await starter.start(SLEEP)
    assert [(each.name, each.pid) for each in home.processes()] == [("child", child.pid)]


async def test_an_ended_process_is_off_the_record(starter: Starter, home: Home) -> None:
    child, other = await starter.start(SLEEP), await starter.start(SLEEP)
    await child.stop(GRACE_SECONDS)
    assert [each.pid for each in home.processes()] == [other.pid]


async def test_stopping_asks_first(starter: Starter) -> None:
    child = await starter.start(SLEEP)
    await child.stop(GRACE_SECONDS)
    assert describe_exit(await child.wait()) == "was killed by SIGTERM"


async def test_a_process_that_does_not_listen_is_ended_after_the_grace(starter: Starter) -> None:
    child = await starter.start(DEAF)
    await starter.until_said()
    await child.stop(0.05)
    assert describe_exit(await child.wait()) == "was killed by SIGKILL"


async def test_the_children_of_a_process_that_does_not_listen_are_ended_too(
    starter: Starter,
) -> None:
    child = await starter.start(DEAF_PARENT)
    grandchild = psutil.Process(int(await starter.until_said()))
    await child.stop(0.05)
    grandchild.wait(GRACE_SECONDS)


async def test_a_process_can_be_stopped_twice(starter: Starter) -> None:
    child = await starter.start(SLEEP)
    await asyncio.gather(child.stop(GRACE_SECONDS), child.stop(GRACE_SECONDS))
    await child.stop(GRACE_SECONDS)
    assert not child.running


async def test_the_last_words_are_the_last_lines_of_the_log(starter: Starter) -> None:
    child = await starter.start(saying("one\ntwo\n\nthree\nfour", 1))
    await child.wait()
    assert child.last_words() == "two | three | four"


async def test_the_last_words_of_a_process_that_logs_json_are_its_messages(
    starter: Starter,
) -> None:
    child = await starter.start(saying('{"level": "info", "message": "one"}\n{"a": 1}\ntwo'))
    await child.wait()
    assert child.last_words() == 'one | {"a": 1} | two'


async def test_what_a_killed_process_started_does_not_outlive_it(starter: Starter) -> None:
    child = await starter.start(DEAF_PARENT)
    grandchild = psutil.Process(int(await starter.until_said()))
    psutil.Process(child.pid).kill()
    await child.wait()
    grandchild.wait(GRACE_SECONDS)


async def test_the_first_exception_of_a_log_is_told_whatever_was_said_after_it(
    starter: Starter,
) -> None:
    code = "import traceback\ntry: {}['a']\nexcept KeyError: traceback.print_exc()\nprint('bye')"
    child = await starter.start([sys.executable, "-S", "-u", "-c", code])
    await child.wait()
    assert child.first_exception() == "KeyError: 'a'"
    assert child.last_words().endswith("bye")


async def test_a_log_without_a_traceback_tells_of_no_exception(starter: Starter) -> None:
    child = await starter.start(saying("KeyError: 'a'"))
    await child.wait()
    assert child.first_exception() == ""


async def test_a_process_that_said_nothing_has_no_last_words(starter: Starter) -> None:
    child = await starter.start(SLEEP)
    assert child.last_words() == ""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exited with code 0"),
        (1, "exited with code 1"),
        (-9, "was killed by SIGKILL"),
        (-11, "was killed by SIGSEGV"),
        (-40, "was killed by signal 40"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words


def test_the_tail_of_a_log_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "missing.log", 3) == []


def test_the_tail_of_a_short_log_is_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"only\n")
    assert tail(tmp_path / "log", 3) == ["only"]


def test_the_tail_of_a_long_log_is_its_end(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 1_000_000 + b"\nlast but one\nlast\n")
    assert tail(tmp_path / "log", 2) == ["last but one", "last"]


def test_the_tail_of_a_log_that_is_no_text_is_still_shown(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xffbroken\n")
    assert tail(tmp_path / "log", 1) == ["\ufffdbroken"]


@pytest.fixture
def leave_behind() -> Iterator[Callable[[list[str]], "subprocess.Popen[str]"]]:
    """Starts a process as a cluster would; ends it after the test."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str]) -> "subprocess.Popen[str]":
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True)
            )
            stack.callback(process.kill)
            return process

        yield start


Leaves = Callable[[list[str]], "subprocess.Popen[str]"]


def test_what_an_earlier_cluster_left_behind_is_stopped(leave_behind: Leaves) -> None:
    records = [record_of("child", leave_behind(SLEEP).pid) for _ in range(2)]
    stop_recorded(records)
    assert [record.find() for record in records] == [None, None]


def test_what_was_left_behind_and_does_not_listen_is_ended_with_its_children(
    leave_behind: Leaves,
) -> None:
    process = leave_behind(DEAF_PARENT)
    assert process.stdout is not None
    grandchild = psutil.Process(int(process.stdout.readline()))
    record = record_of("child", process.pid)
    stop_recorded([record], grace_seconds=0.05)
    assert record.find() is None
    grandchild.wait(GRACE_SECONDS)


def test_a_process_that_took_over_the_number_is_left_alone(leave_behind: Leaves) -> None:
    process = leave_behind(SLEEP)
    record = record_of("child", process.pid)
    stop_recorded([record.model_copy(update={"started": record.started - 60})])
    assert record.find() is not None


async def test_what_an_earlier_cluster_left_is_taken_over_with_its_details(
    leave_behind: Leaves, home: Home
) -> None:
    record = record_of("child", leave_behind(SLEEP).pid, {"port": 1234})
    home.write_processes([record])
    processes = Processes(home)
    assert processes.left == (record,)
    child = processes.take_over(record, home.log)
    assert child is not None
    assert child.running
    assert (processes.left, processes.records) == ((), (record,))
    await child.stop(GRACE_SECONDS)
    assert home.processes() == ()


async def test_the_end_of_a_process_that_was_taken_over_is_noticed(
    leave_behind: Leaves, home: Home
) -> None:
    process = leave_behind(SLEEP)
    record = record_of("child", process.pid)
    home.write_processes([record])
    child = Processes(home).take_over(record, home.log)
    assert child is not None
    waiting = asyncio.create_task(child.wait())
    process.kill()
    assert await asyncio.wait_for(waiting, GRACE_SECONDS) is None
    assert not child.running
    assert describe_exit(await child.wait()) == "ended"


async def test_a_process_that_was_taken_over_and_does_not_listen_is_ended(
    leave_behind: Leaves, home: Home
) -> None:
    process = leave_behind(DEAF_PARENT)
    assert process.stdout is not None
    grandchild = psutil.Process(int(process.stdout.readline()))
    record = record_of("child", process.pid)
    home.write_processes([record])
    child = Processes(home).take_over(record, home.log)
    assert child is not None
    await child.stop(0.05)
    assert record.find() is None
    grandchild.wait(GRACE_SECONDS)


async def test_what_has_ended_meanwhile_is_not_taken_over(leave_behind: Leaves, home: Home) -> None:
    process = leave_behind(SLEEP)
    record = record_of("child", process.pid)
    home.write_processes([record])
    processes = Processes(home)
    process.kill()
    process.wait()
    assert processes.take_over(record, home.log) is None
    assert processes.left == ()


async def test_what_nobody_took_over_is_stopped_by_its_name(
    leave_behind: Leaves, home: Home
) -> None:
    envoy, rclone = (record_of(name, leave_behind(SLEEP).pid) for name in ("envoy", "rclone"))
    home.write_processes([envoy, rclone])
    processes = Processes(home)
    await processes.stop_left(GRACE_SECONDS, "envoy")
    assert envoy.find() is None
    assert home.processes() == (rclone,)
    await processes.stop_left(GRACE_SECONDS)
    assert home.processes() == ()


async def test_a_record_that_cannot_be_written_is_written_later(
    starter: Starter, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abserve.cluster.processes.AGAIN_SECONDS", 0.01)
    in_the_way = home.folder / ".processes.json.new"
    in_the_way.mkdir()
    child = await starter.start(SLEEP)
    assert child.running
    assert home.processes() == ()
    in_the_way.rmdir()
    async with asyncio.timeout(GRACE_SECONDS):
        while not home.processes():
            await asyncio.sleep(0.005)
    assert [each.pid for each in home.processes()] == [child.pid]


async def test_a_log_that_cannot_be_written_keeps_a_process_from_starting(
    starter: Starter, home: Home
) -> None:
    starter.log.mkdir()
    with pytest.raises(ClusterError, match=r"child.log cannot be written \(Is a directory\)"):
        await starter.start(SLEEP)
