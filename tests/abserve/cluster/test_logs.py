import asyncio
import datetime as dt
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from abserve.cluster import logs
from abserve.cluster.api.logs import LogOptions
from abserve.cluster.home import Home
from abserve.cluster.logs import RunLogs, keep_logs_small, read_log, rotate

BEGAN = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
WAIT_SECONDS = 10.0

JSON_LINES = (
    b"plain\n"
    b'{"time":"2026-01-02T03:05:00.500Z","message":"one"}\n'
    b"Traceback\n"
    b'{"time":"2026-01-02T03:06:00+00:00","message":"two"}\n'
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "0.log"


async def said(log: Path, running: Callable[[], bool] = lambda: False, **options: object) -> bytes:
    """Return what a reader gets of a log."""
    asked = LogOptions(**options)  # type: ignore[arg-type]
    pieces = read_log(log, asked, began=BEGAN, running=running)
    return b"".join([piece async for piece in pieces])


class Following:
    """A reader that follows a log whose run goes on until it is told to end."""

    def __init__(self, log: Path) -> None:
        self.running = True
        options = LogOptions(follow=True)
        self._pieces: AsyncIterator[bytes] = read_log(
            log, options, began=BEGAN, running=lambda: self.running
        )

    async def next(self) -> bytes:
        return await asyncio.wait_for(anext(self._pieces), WAIT_SECONDS)

    async def rest(self) -> bytes:
        self.running = False
        return b"".join([piece async for piece in self._pieces])


def add(log: Path, text: bytes) -> None:
    with log.open("ab") as file:
        file.write(text)


def test_each_run_has_a_file_of_its_own_and_the_last_two_stay(tmp_path: Path) -> None:
    runs = RunLogs(tmp_path / "iris")
    for text in ("first", "second", "third"):
        runs.begin().write_text(text)
    assert sorted(each.name for each in (tmp_path / "iris").iterdir()) == ["1.log", "2.log"]
    assert runs.path(runs.newest).read_text() == "third"


def test_what_a_forgotten_run_said_before_goes_with_it(tmp_path: Path) -> None:
    runs = RunLogs(tmp_path)
    add(runs.begin(), b"much\n")
    rotate(runs.path(0))
    runs.begin()
    runs.begin()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["1.log", "2.log"]


def test_runs_are_counted_on_from_what_an_earlier_cluster_left(tmp_path: Path) -> None:
    RunLogs(tmp_path).begin()
    again = RunLogs(tmp_path)
    assert again.newest == 0
    assert again.begin().name == "1.log"


async def test_a_log_is_read_whole(log: Path) -> None:
    log.write_bytes(b"one\ntwo\nno end")
    assert await said(log) == b"one\ntwo\nno end"


async def test_a_log_that_is_not_there_is_told_at_once(log: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_log(log, LogOptions(), began=BEGAN, running=lambda: False)


@pytest.mark.parametrize(
    ("n_lines", "expected"),
    [(0, b""), (1, b"three\n"), (2, b"two\nthree\n"), (9, b"one\ntwo\nthree\n")],
)
async def test_the_last_lines_are_read(log: Path, n_lines: int, expected: bytes) -> None:
    log.write_bytes(b"one\ntwo\nthree\n")
    assert await said(log, tail_lines=n_lines) == expected


async def test_the_last_lines_of_a_long_log_are_read(log: Path) -> None:
    lines = [b"%d %s\n" % (number, b"x" * 50_000) for number in range(10)]
    log.write_bytes(b"".join(lines))
    assert await said(log, tail_lines=3) == b"".join(lines[-3:])


async def test_the_last_lines_go_back_into_what_was_said_before(log: Path) -> None:
    log.write_bytes(b"one\ntwo\n")
    rotate(log)
    add(log, b"three\n")
    assert await said(log, tail_lines=2) == b"two\nthree\n"
    assert await said(log) == b"one\ntwo\nthree\n"


async def test_a_limit_cuts_within_a_line(log: Path) -> None:
    log.write_bytes(b"one\ntwo\n")
    assert await said(log, limit_bytes=6) == b"one\ntw"
    assert await said(log, limit_bytes=100) == b"one\ntwo\n"


async def test_a_line_of_json_has_its_own_time_and_another_that_of_the_line_before(
    log: Path,
) -> None:
    log.write_bytes(JSON_LINES)
    lines = (await said(log, timestamps=True)).splitlines()
    assert [line.partition(b" ")[0].decode() for line in lines] == [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:05:00.500000Z",
        "2026-01-02T03:05:00.500000Z",
        "2026-01-02T03:06:00Z",
    ]
    assert lines[2].endswith(b" Traceback")


async def test_lines_before_a_time_are_left_out(log: Path) -> None:
    log.write_bytes(JSON_LINES)
    since = dt.datetime(2026, 1, 2, 3, 5, 30, tzinfo=dt.UTC)
    assert await said(log, since=since) == JSON_LINES.splitlines(keepends=True)[-1]
    assert await said(log, since=BEGAN) == JSON_LINES


async def test_lines_without_any_time_have_that_of_the_file(log: Path) -> None:
    log.write_bytes(b"plain\n")
    os.utime(log, (0, 0))
    pieces = read_log(log, LogOptions(timestamps=True), began=None, running=lambda: False)
    assert [piece async for piece in pieces] == [b"1970-01-01T00:00:00Z plain\n"]


@pytest.mark.parametrize(
    "line", [b'{"time": 3}\n', b'{"time": "soon"}\n', b"{no json\n", b'{"time":"2026-01-02"}\n']
)
async def test_a_time_that_is_none_is_no_time(log: Path, line: bytes) -> None:
    log.write_bytes(line)
    assert await said(log, timestamps=True) == b"2026-01-02T03:04:05Z " + line


async def test_whoever_follows_gets_lines_as_they_come_until_the_run_ends(log: Path) -> None:
    add(log, b"one\n")
    following = Following(log)
    assert await following.next() == b"one\n"
    add(log, b"two\nhalf of ")
    assert await following.next() == b"two\n"
    add(log, b"three\n")
    assert await following.next() == b"half of three\n"
    add(log, b"last, without end")
    assert await following.rest() == b"last, without end"


async def test_several_follow_at_once(log: Path) -> None:
    add(log, b"one\n")
    first, second = Following(log), Following(log)
    assert [await first.next(), await second.next()] == [b"one\n", b"one\n"]
    add(log, b"two\n")
    assert [await first.next(), await second.next()] == [b"two\n", b"two\n"]
    assert [await first.rest(), await second.rest()] == [b"", b""]


async def test_whoever_follows_misses_nothing_when_the_log_is_rotated(log: Path) -> None:
    add(log, b"one\n")
    following = Following(log)
    await following.next()
    add(log, b"two\n")
    rotate(log)
    add(log, b"three\n")
    assert await following.next() == b"two\n"
    assert await following.next() == b"three\n"
    rotate(log)
    add(log, b"four\n")
    assert await following.rest() == b"four\n"


async def test_whoever_reads_what_was_said_before_misses_nothing_either(log: Path) -> None:
    add(log, b"".join(b"%d\n" % number for number in range(30_000)))
    whole = log.read_bytes()
    rotate(log)
    add(log, b"more\n")
    following = Following(log)
    begun = await following.next()
    rotate(log)
    add(log, b"end\n")
    assert begun + await following.rest() == whole + b"more\nend\n"


async def test_a_removed_log_is_read_to_its_end(log: Path) -> None:
    add(log, b"one\n")
    following = Following(log)
    await following.next()
    add(log, b"two\n")
    log.unlink()
    assert await following.rest() == b"two\n"


def test_rotation_keeps_what_was_said_and_empties_the_file(log: Path) -> None:
    log.write_bytes(b"one\n")
    rotate(log)
    assert log.read_bytes() == b""
    assert log.with_name("0.log.1").read_bytes() == b"one\n"
    assert sorted(each.name for each in log.parent.iterdir()) == ["0.log", "0.log.1"]


def test_a_process_goes_on_at_the_new_end(log: Path) -> None:
    """As `Processes` starts it: the file is its output, opened to append."""
    code = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)\n"
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=output
        ) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        while log.stat().st_size == 0:
            assert process.poll() is None
        rotate(log)
        process.communicate(b"two\n", timeout=WAIT_SECONDS)
    assert log.read_bytes() == b"two\n"


async def test_every_log_of_a_cluster_is_kept_small(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LARGEST_BYTES", 10)
    replicas = home.pods / "default.iris-0/logs/iris"
    replicas.mkdir(parents=True)
    large = [home.logs / "envoy.log", replicas / "0.log"]
    for log in large:
        log.write_bytes(b"more than ten bytes\n")
    (home.logs / "rclone.log").write_bytes(b"little\n")
    task = asyncio.create_task(keep_logs_small(home))
    await asyncio.sleep(0)
    task.cancel()
    assert [log.read_bytes() for log in large] == [b"", b""]
    assert (home.logs / "rclone.log").read_bytes() == b"little\n"
