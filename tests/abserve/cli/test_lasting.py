import signal
from collections.abc import Callable

import click
import pytest

from abserve.cli.lasting import ending_by_signals, following, read_period, repeat


class EnoughError(Exception):
    """Ends what would go on for ever."""


class Days:
    """A clock that somebody looks at; `set_to` is what it is set to at its next wait."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.set_to: float | None = None

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        assert 0 < seconds <= 30
        self.time, self.set_to = self.set_to or self.time + seconds, None


def rounds(clock: Days, period_seconds: float, *acts: Callable[[], None]) -> list[float]:
    """Return when each round began, of which each does one of `acts`."""
    began: list[float] = []

    def act() -> None:
        began.append(clock.now())
        if len(began) > len(acts):
            raise EnoughError
        acts[len(began) - 1]()

    with pytest.raises(EnoughError):
        repeat(period_seconds, clock, act)
    return began


def taking(clock: Days, seconds: float) -> Callable[[], None]:
    def act() -> None:
        clock.time += seconds

    return act


@pytest.fixture
def clock() -> Days:
    return Days()


def test_a_round_begins_a_period_after_the_one_before_began(clock: Days) -> None:
    acts = taking(clock, 7), taking(clock, 59), taking(clock, 0)
    assert rounds(clock, 60, *acts) == [1000, 1060, 1120, 1180]


def test_rounds_that_were_missed_are_left_out(clock: Days) -> None:
    assert rounds(clock, 60, taking(clock, 150), taking(clock, 60)) == [1000, 1180, 1300]


def test_after_a_sleep_the_next_round_begins_soon(clock: Days) -> None:
    def sleep() -> None:
        clock.set_to = 9000.0

    assert rounds(clock, 3600, sleep) == [1000, 9000]


def test_a_clock_that_is_set_back_holds_nothing_up_for_long(clock: Days) -> None:
    def set_back() -> None:
        clock.set_to = 100.0

    assert rounds(clock, 60, set_back) == [1000, 160]


@pytest.mark.parametrize(
    ("now", "due"), [(0.0, 60.0), (59.9, 60.0), (60.0, 120.0), (130.0, 180.0), (-500.0, 60.0)]
)
def test_the_next_round_is_after_now_and_by_the_same_grid(now: float, due: float) -> None:
    assert following(0.0, 60.0, now) == due


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)]
)
def test_a_period_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    option = click.Option(["--every"])
    assert read_period(click.Context(click.Command("x")), option, text) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "0h", "1.5h", "-1h", "1w", "1h30m", "1 h"])
def test_anything_else_is_no_period(text: str) -> None:
    option = click.Option(["--every"])
    with pytest.raises(click.BadParameter, match="is no period; expected one such as 90s, 30m"):
        read_period(click.Context(click.Command("x")), option, text)


def test_sigterm_ends_a_command_with_its_exit_code_and_a_word() -> None:
    before = signal.getsignal(signal.SIGTERM)
    said: list[str] = []
    with pytest.raises(SystemExit) as ended, ending_by_signals(lambda: said.append("ended")):
        signal.raise_signal(signal.SIGTERM)
    assert (ended.value.code, said) == (143, ["ended"])
    assert signal.getsignal(signal.SIGTERM) == before
