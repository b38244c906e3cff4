import pytest

from abserve.console.timeline import Timeline
from abserve.telemetry import VersionCounts


def counted(n_requests: int, n_rejected: int = 0, n_failed: int = 0) -> VersionCounts:
    return VersionCounts(n_requests, n_rejected, n_failed)


@pytest.fixture
def timeline() -> Timeline:
    timeline = Timeline(60)
    for at, n_requests in ((0, 100), (10, 120), (20, 150), (30, 210)):
        timeline.record(at, counted(n_requests))
    return timeline


def test_a_window_holds_what_was_counted_in_it(timeline: Timeline) -> None:
    window = timeline.last(10)
    assert (window.counts.n_requests, window.seconds, window.rate) == (60, 10, 6)


def test_a_window_begins_with_a_moment_that_is_known(timeline: Timeline) -> None:
    window = timeline.last(15)
    assert (window.counts.n_requests, window.seconds) == (90, 20)


def test_a_window_is_no_longer_than_what_is_known(timeline: Timeline) -> None:
    window = timeline.last(60)
    assert (window.counts.n_requests, window.seconds) == (110, 30)


def test_one_moment_has_no_rate() -> None:
    timeline = Timeline(60)
    timeline.record(5, counted(7))
    assert (timeline.last(60).counts.n_requests, timeline.last(60).rate) == (0, None)


def test_no_moment_has_no_rate() -> None:
    assert Timeline(60).last(60).rate is None


def test_shares_are_of_the_requests_in_the_window() -> None:
    timeline = Timeline(60)
    timeline.record(0, counted(100, 50, 50))
    timeline.record(10, counted(110, 52, 51))
    assert (timeline.last(60).rejected, timeline.last(60).failed) == (0.2, 0.1)


def test_no_requests_have_no_shares() -> None:
    timeline = Timeline(60)
    timeline.record(0, counted(100))
    timeline.record(10, counted(100))
    assert (timeline.last(60).rejected, timeline.last(60).failed) == (None, None)


def test_old_moments_are_forgotten_but_the_one_before_the_window() -> None:
    timeline = Timeline(60)
    for at in range(0, 1000, 5):
        timeline.record(at, counted(at))
    assert timeline.last(10_000).seconds == 60
