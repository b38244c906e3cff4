import io
import sys

import pytest

from abserve.cli.progress import Progress
from tests.terminal import terminal


def work(*, to_stderr: bool) -> None:
    with Progress("changing", to_stderr=to_stderr) as progress:
        progress.say("step")
        progress.wait_for("copying")
        progress.wait_for("copying")
        progress.wait_for("starting [1]")


def test_where_nobody_looks_on_each_reason_is_a_line_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    work(to_stderr=False)
    assert capsys.readouterr() == ("step\n", "copying\nstarting [1]\n")


def test_steps_leave_stdout_to_machines(capsys: pytest.CaptureFixture[str]) -> None:
    work(to_stderr=True)
    assert capsys.readouterr() == ("", "step\ncopying\nstarting [1]\n")


def test_on_a_terminal_a_spinner_says_what_is_waited_for_and_steps_stay_on_stdout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    with terminal() as screen, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen.stream)
        patch.setattr(sys, "stdout", out)
        work(to_stderr=False)
    assert "changing" in screen.said
    assert "starting [1]" in screen.said
    assert out.getvalue() == "step\n"
