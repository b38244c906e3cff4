"""How many requests may be in flight."""

from itertools import count

import pytest

from abserve.errors import ScoringError
from abserve.scoring.pace import Pace, StoppedError


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def grown(clock: Clock, n_answers: int, most: int = 100) -> Pace:
    pace = Pace(most, 60, clock)
    for _ in range(n_answers):
        pace.start()
        pace.answered()
    return pace


def test_answers_let_more_in_one_by_one() -> None:
    limits = [grown(Clock(), n).limit for n in (0, 2, 5, 9, 14)]
    assert limits == [2, 2, 3, 4, 5]


def test_there_is_a_most() -> None:
    assert grown(Clock(), 1000, most=4).limit == 4


def test_a_busy_server_gets_half() -> None:
    clock = Clock()
    pace = grown(clock, 50)
    before = pace.limit
    pace.busy(pace.start(), None, "busy")
    assert pace.limit == before // 2


def test_requests_of_the_same_moment_halve_it_once() -> None:
    clock = Clock()
    pace = grown(clock, 50)
    before = pace.limit
    started = [pace.start() for _ in range(4)]
    clock.seconds = 1.0
    for each in started:
        pace.busy(each, None, "busy")
    assert pace.limit == before // 2
    assert pace.n_busy == 1


def test_one_is_always_let_in() -> None:
    clock = Clock()
    pace = grown(clock, 0)
    for second in count(1):
        clock.seconds = second * 40.0
        if second == 2:
            break
        pace.busy(pace.start(), None, "busy")
    assert pace.limit == 1


def test_the_pause_that_a_server_asks_for_is_kept() -> None:
    clock = Clock()
    pace = grown(clock, 1)
    pace.busy(pace.start(), 20.0, "busy")
    assert pace._resume_at >= 20.0


def test_patience_ends() -> None:
    clock = Clock()
    pace = grown(clock, 1)
    started = pace.start()
    clock.seconds = 61.0
    with pytest.raises(ScoringError, match=r"server answers 503\. Nothing was answered for 61 s"):
        pace.busy(started, None, "server answers 503")


def test_nothing_starts_after_the_end() -> None:
    pace = grown(Clock(), 1)
    pace.stop()
    with pytest.raises(StoppedError):
        pace.start()
