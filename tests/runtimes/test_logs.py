"""What is logged: valid lines, in order, and never at the cost of an answer."""

import asyncio
import json
import logging
import os
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlserver import MLModel, ModelSettings
from mlserver.context import model_context

from abserve.errors import AbserveError
from runtimes.log_lines import MAX_WAITING_LINES, Stderr, format_line
from runtimes.logs import JsonHandler, RequestLog, request_log

TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class Pipe:
    """A pipe, the lines to it, and what has arrived."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.stderr = Stderr(self.write_end)
        self.log = RequestLog(self.stderr, answered=True, refused=True)

    def read(self) -> str:
        """Return what has arrived since the last call."""
        read = b""
        while select.select([self.read_end], [], [], 0)[0]:
            read += os.read(self.read_end, 1 << 16)
        return read.decode("ascii")

    def lines(self) -> list[dict[str, Any]]:
        """Flush, and return every line that arrives."""
        text = ""
        while True:
            self.stderr.flush()
            if not (read := self.read()):
                break
            text += read
        assert not text or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def log(record: logging.LogRecord, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the one line that becomes of `record`."""
    JsonHandler().emit(record)
    text = capfd.readouterr().err
    assert text.count("\n") == 1
    assert text.endswith("\n")
    line: dict[str, Any] = json.loads(text)
    return line


def record(message: object, *args: object, **others: Any) -> logging.LogRecord:
    fields = {"name": "a", "levelno": 20, "levelname": "INFO", "msg": message, "args": args}
    return logging.makeLogRecord({**fields, **others})


def caught(message: str) -> Any:
    try:
        raise ValueError(message)
    except ValueError:
        return sys.exc_info()


# What a line is.


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_makes_one_valid_line(message: str, value: str) -> None:
    line = format_line(0.0, "info", "a", message, {"value": value})
    assert line.isascii()
    assert line.count("\n") == 1
    read = json.loads(line.encode())
    if not any("\ud800" <= each <= "\udfff" for each in message + value):
        assert (read["message"], read["value"]) == (message, value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.25, 0.25),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ([1, "a"], "[1, 'a']"),
        (b"\xff", "b'\\xff'"),
        ("\udcff", "\\udcff"),
    ],
)
def test_any_value_makes_a_valid_line(value: object, shown: object) -> None:
    line = format_line(1.5, "info", "a", "b", {"value": value, "level": "taken"})
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "logger": "a",
        "message": "b",
        "value": shown,
    }


def test_a_record_keeps_its_extra_fields(capfd: pytest.CaptureFixture[str]) -> None:
    line = log(record('it said "%s"\n', "no", status=404, color_message="no"), capfd)
    assert {**line, "time": ""} == {
        "time": "",
        "level": "info",
        "logger": "a",
        "message": 'it said "no"\n',
        "status": 404,
    }


def test_a_record_about_a_model_names_it(capfd: pytest.CaptureFixture[str]) -> None:
    settings = ModelSettings(name="iris", implementation=MLModel, parameters={"version": "v1"})
    with model_context(settings):
        line = log(record("a"), capfd)
    assert (line["model"], line["version"]) == ("iris", "v1")


def test_an_exception_is_one_field(capfd: pytest.CaptureFixture[str]) -> None:
    line = log(record("a", exc_info=caught("not this")), capfd)
    assert line["exception"].startswith("Traceback (most recent call last):\n  File ")
    assert line["exception"].endswith("\nValueError: not this")


def test_an_exception_is_cut_but_says_where(capfd: pytest.CaptureFixture[str]) -> None:
    line = log(record("a", exc_info=caught("x" * 1_000_000)), capfd)
    assert len(line["exception"]) < 8192
    assert __file__ in line["exception"]


def test_a_record_without_a_text_says_where_it_was_logged(
    capfd: pytest.CaptureFixture[str],
) -> None:
    line = log(record("%d", "no number", pathname="a.py", lineno=7), capfd)
    assert (line["level"], line["file"], line["line"]) == ("error", "a.py", 7)
    assert "TypeError" in line["exception"]


def test_a_long_message_is_cut(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(log(record("x" * 100_000), capfd)["message"]) == 8192


# What is said of a request.


def test_an_answered_request_is_one_line(pipe: Pipe) -> None:
    pipe.log.of("iris", "v1").answered("r-1", 3, 0.0001234)
    [line] = pipe.lines()
    assert line.pop("time")[:2] == "20"
    assert line == {
        "level": "info",
        "logger": "abserve.requests",
        "message": "answered",
        "request_id": "r-1",
        "model": "iris",
        "version": "v1",
        "rows": 3,
        "seconds": 0.000123,
    }


@pytest.mark.parametrize("request_id", ['"', "\\", '\\"', 'a","level":"error', "a b"])
def test_any_valid_id_is_logged_as_it_is(pipe: Pipe, request_id: str) -> None:
    version = pipe.log.of('ir"is', "v\\1")
    version.answered(request_id, 1, 0.0)
    version.refused(request_id, 400, "no")
    for line in pipe.lines():
        assert (line["request_id"], line["model"], line["version"]) == (
            request_id,
            'ir"is',
            "v\\1",
        )


def test_a_refused_request_says_why(pipe: Pipe) -> None:
    pipe.log.of("iris", "v1").refused("r-1", 400, "input 'a' is \u2028 not known")
    pipe.log.refused(None, 404, "x" * 1000)
    first, second = pipe.lines()
    del first["time"], second["time"]
    assert first == {
        "level": "info",
        "logger": "abserve.requests",
        "message": "refused",
        "request_id": "r-1",
        "model": "iris",
        "version": "v1",
        "status": 400,
        "reason": "input 'a' is \u2028 not known",
    }
    assert second == {
        "level": "info",
        "logger": "abserve.requests",
        "message": "refused",
        "status": 404,
        "reason": "x" * 300,
    }


def test_an_id_that_no_runtime_lets_pass_is_cut_and_harmless(pipe: Pipe) -> None:
    pipe.log.refused("\x1b[2J\n\udc80" + "x" * 1000, 400, "no")
    [line] = pipe.lines()
    assert line["request_id"].startswith("\x1b[2J\n\\udc80x")
    assert len(line["request_id"]) < 140


def test_a_failed_request_has_its_exception_and_is_written_at_once(pipe: Pipe) -> None:
    pipe.log.of("iris", "v1").failed("r-1", caught("broken")[1])
    line = json.loads(pipe.read())
    assert (line["level"], line["message"]) == ("error", "failed")
    assert (line["request_id"], line["model"]) == ("r-1", "iris")
    assert line["exception"].endswith("ValueError: broken")


@pytest.mark.parametrize(
    ("answered", "refused", "said"),
    [
        (True, True, ["answered", "refused", "failed"]),
        (False, True, ["refused", "failed"]),
        (False, False, ["failed"]),
    ],
)
def test_only_what_is_wanted_is_said(
    pipe: Pipe, answered: bool, refused: bool, said: list[str]
) -> None:
    version = RequestLog(pipe.stderr, answered=answered, refused=refused).of("iris", "v1")
    version.answered("a", 1, 0.1)
    version.refused("b", 400, "no")
    version.failed("c", ValueError())
    assert [line["message"] for line in pipe.lines()] == said


def test_a_request_log_that_there_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSERVE_REQUEST_LOG", "some")
    request_log.cache_clear()
    with pytest.raises(AbserveError, match="'some'; expected one of all, refused, none"):
        request_log()


def test_the_time_is_that_of_the_request(pipe: Pipe) -> None:
    version = pipe.log.of("iris", "v1")
    before = time.time()
    version.answered("a", 1, 0.1)
    pipe.stderr.write(format_line(time.time(), "info", "a", "b", {}))
    times = [line["time"] for line in pipe.lines()]
    wanted = json.loads(format_line(before, "info", "a", "b", {}))["time"]
    assert [wanted, *times] == sorted([wanted, *times])


# When a line is written.


async def test_request_lines_wait_for_a_tenth_of_a_second(pipe: Pipe) -> None:
    version = pipe.log.of("iris", "v1")
    for _ in range(3):
        version.answered("a", 1, 0.1)
        version.refused("a", 400, "no")
    assert pipe.read() == ""
    await asyncio.sleep(0.2)
    assert pipe.read().count("\n") == 6
    version.answered("a", 1, 0.1)
    await asyncio.sleep(0.2)
    assert pipe.read().count("\n") == 1


async def test_many_request_lines_do_not_wait(pipe: Pipe) -> None:
    version = pipe.log.of("iris", "v1")
    for _ in range(MAX_WAITING_LINES):
        version.answered("a", 1, 0.1)
    assert pipe.read().count("\n") == MAX_WAITING_LINES


async def test_what_else_is_logged_comes_behind_the_requests_before_it(pipe: Pipe) -> None:
    pipe.log.of("iris", "v1").answered("a", 1, 0.1)
    pipe.stderr.write(format_line(0, "error", "a", "broken", {}))
    assert [json.loads(line)["message"] for line in pipe.read().splitlines()] == [
        "answered",
        "broken",
    ]


def test_without_an_event_loop_nothing_waits(pipe: Pipe) -> None:
    pipe.log.of("iris", "v1").answered("a", 1, 0.1)
    assert pipe.read().count("\n") == 1


class Interrupted(Stderr):
    """Lines between which another is written, as a finalizer may log at any moment."""

    interrupted = False

    def _put(self, deadline: float) -> None:
        if not self.interrupted:
            self.interrupted = True
            self.write("second\n")
        super()._put(deadline)


def test_a_line_made_while_lines_are_written_is_written_too(pipe: Pipe) -> None:
    Interrupted(pipe.write_end).write("first\n")
    assert pipe.read() == "first\nsecond\n"


# When nobody reads.


def test_a_reader_that_is_behind_loses_requests_first_and_is_told_how_many(pipe: Pipe) -> None:
    version = pipe.log.of("iris", "v1")
    n_requests, n_errors = 30_000, 300
    for i in range(n_requests):
        version.answered("a", 1, 0.1)
        if i % (n_requests // n_errors) == 0:
            pipe.stderr.write(format_line(0, "error", "a", "broken", {}))
    lines = pipe.lines()
    messages = [line["message"] for line in lines]
    n_dropped = sum(line.get("dropped", 0) for line in lines)
    assert messages.count("broken") == n_errors
    assert 0 < messages.count("answered") < n_requests
    assert messages.count("answered") + n_dropped == n_requests
    version.answered("a", 1, 0.1)
    assert [line["message"] for line in pipe.lines()] == ["answered"]


def test_errors_nobody_reads_are_counted_beyond_a_limit(pipe: Pipe) -> None:
    line = format_line(0, "error", "a", "x" * 8000, {})
    for _ in range(1000):
        pipe.stderr.write(line)
    lines = pipe.lines()
    assert sum(line.get("dropped", 0) for line in lines) + len(lines) == 1000 + 1
    assert len(pipe.stderr._unread) == 0


async def test_a_reader_that_comes_back_gets_what_was_kept(pipe: Pipe) -> None:
    for _ in range(100):
        pipe.stderr.write(format_line(0, "error", "a", "x" * 8000, {}))
    n_read = pipe.read().count("\n")
    assert n_read < 100
    async with asyncio.timeout(10):
        while n_read < 100:
            await asyncio.sleep(0.05)
            n_read += pipe.read().count("\n")


def test_a_reader_that_went_away_stops_nothing() -> None:
    pipe = Pipe()
    os.close(pipe.read_end)
    pipe.log.of("iris", "v1").answered("a", 1, 0.1)
    pipe.stderr.write("{}\n")
    pipe.stderr.flush(0.01)
    os.close(pipe.write_end)


def test_the_end_does_not_wait_long_for_a_reader(pipe: Pipe) -> None:
    for _ in range(100):
        pipe.stderr.write("x" * 8000)
    start = time.monotonic()
    pipe.stderr.flush(0.2)
    assert time.monotonic() - start < 1


def test_the_descriptor_stays_as_other_processes_know_it(pipe: Pipe) -> None:
    pipe.stderr.write("{}\n")
    assert os.get_blocking(pipe.write_end)


# What a whole process says.


def run(code: str, **environment: str) -> tuple[str, str]:
    """Return what a process that runs `code` prints and logs."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


def test_whatever_sets_up_logging_comes_to_the_same() -> None:
    stdout, stderr = run(
        """
        import logging, warnings, sys
        import mlserver.logging
        import uvicorn
        from mlserver import Settings
        from runtimes.logs import configure_logs

        mlserver.logging.configure_logger()
        configure_logs()
        theirs = {"version": 1, "handlers": {"x": {"()": "sys.exit"}}, "root": {"handlers": ["x"]}}
        settings = Settings(debug=True, use_structured_logging=True, logging_settings=theirs)
        configure_logs(settings)
        mlserver.logging.configure_logger(settings)
        uvicorn.Config(None, log_config=settings.logging_settings, access_log=True)
        for name in (None, "mlserver", "mlserver.rest", "uvicorn", "uvicorn.error", "grpc", "z"):
            logging.getLogger(name).info("here")
            logging.getLogger(name).debug("not here")
        logging.getLogger("uvicorn.access").info("nor here")
        warnings.warn("and here")
        """
    )
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert stdout == ""
    assert "logging_settings" in lines[0]["message"]
    assert [line["logger"] for line in lines[1:]] == [
        *("root", "mlserver", "mlserver.rest", "uvicorn", "uvicorn.error", "grpc", "z"),
        "py.warnings",
    ]
    assert {line["message"] for line in lines[1:-1]} == {"here"}
    assert "and here" in lines[-1]["message"]


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("debug", ["mlserver debug", "mlserver info", "z info", "z warning"]),
        ("info", ["mlserver info", "z info", "z warning"]),
        ("warning", ["z warning"]),
        ("error", []),
    ],
)
def test_the_level_is_that_of_the_environment(level: str, said: list[str]) -> None:
    code = """
        import logging
        from runtimes.logs import configure_logs
        configure_logs()
        logging.getLogger("mlserver").debug("mlserver debug")
        logging.getLogger("mlserver").info("mlserver info")
        logging.getLogger("z").debug("z debug")
        logging.getLogger("z").info("z info")
        logging.getLogger("z").warning("z warning")
        """
    _, stderr = run(code, ABSERVE_LOG_LEVEL=level)
    assert [json.loads(line)["message"] for line in stderr.splitlines()] == said


def test_a_level_that_there_is_not_is_named() -> None:
    code = """
        from abserve.errors import AbserveError
        from runtimes.logs import configure_logs
        try:
            configure_logs()
        except AbserveError as error:
            print(error)
        """
    stdout, _ = run(code, ABSERVE_LOG_LEVEL="loud")
    assert stdout == ("ABSERVE_LOG_LEVEL is 'loud'; expected one of debug, info, warning, error\n")


def test_what_waits_is_written_when_the_process_ends() -> None:
    code = """
        import asyncio
        from runtimes.logs import request_log
        async def answer():
            request_log().of("iris", "v1").answered("a", 1, 0.1)
        asyncio.run(answer())
        """
    _, stderr = run(code, ABSERVE_REQUEST_LOG="all")
    assert json.loads(stderr)["message"] == "answered"
