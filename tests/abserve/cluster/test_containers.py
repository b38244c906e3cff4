from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from abserve.cluster.containers import Container, Running, Terminated, Waiting

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """Is a second later at each look."""

    def __init__(self) -> None:
        self._seconds = -1

    def __call__(self) -> datetime:
        self._seconds += 1
        return START + timedelta(seconds=self._seconds)


def after(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container("iris", tmp_path, Clock())


def test_it_waits_until_it_begins(container: Container) -> None:
    assert container.state == Waiting("PodInitializing")
    assert container.n_restarts == 0
    log = container.begin()
    assert container.state == Running(START)
    assert container.n_restarts == 0
    assert container.log == log


@pytest.mark.parametrize(
    ("code", "exit_code", "signal", "reason"),
    [
        (0, 0, 0, "Completed"),
        (3, 3, 0, "Error"),
        (-9, 137, 9, "Error"),
        (None, 137, 0, "ContainerStatusUnknown"),
    ],
)
def test_how_it_ended_is_told_as_kubernetes_does(
    container: Container, code: int | None, exit_code: int, signal: int, reason: str
) -> None:
    container.begin()
    container.end(code)
    assert container.state == Terminated(exit_code, signal, reason, "", START, after(1))


def test_one_that_was_ended_because_it_was_never_ready_has_not_completed(
    container: Container,
) -> None:
    container.begin()
    container.end(0, "Unhealthy", "not ready in time")
    assert isinstance(container.state, Terminated)
    assert container.state.reason == "Unhealthy"


def test_one_that_does_not_run_cannot_end(container: Container) -> None:
    container.end(1)
    assert container.state == Waiting("PodInitializing")


def test_one_that_crashed_waits_and_its_end_is_the_last_state(container: Container) -> None:
    container.begin()
    assert container.fail(1, "Error", "it said no", 2.0) == "CrashLoopBackOff"
    message = "back-off 2s restarting failed container: it said no"
    assert container.state == Waiting("CrashLoopBackOff", message)
    assert container.last == Terminated(1, 0, "Error", "it said no", START, after(1))
    assert container.n_restarts == 0
    container.begin()
    assert container.n_restarts == 1
    assert container.last is not None


def test_one_that_could_not_begin_lacks_something(container: Container) -> None:
    assert container.fail(1, "Error", "no Secret", 0.5) == "CreateContainerConfigError"
    assert container.state == Waiting("CreateContainerConfigError", "no Secret")
    assert container.last is None


def test_when_each_run_began_is_known(container: Container) -> None:
    container.begin()
    assert container.run_began(0) == START
    container.fail(1, "Error", "", 1.0)
    assert container.run_began(0) == START
    container.begin()
    assert [container.run_began(run) for run in (0, 1)] == [START, after(2)]


def test_when_a_run_began_that_an_earlier_cluster_saw_end_is_not_known(
    container: Container,
) -> None:
    container.logs.begin()
    container.logs.begin()
    container.state = Running(START)
    assert [container.run_began(run) for run in (0, 1)] == [None, START]


def test_only_the_newest_run_goes_on(container: Container) -> None:
    container.begin()
    assert container.is_running(0)
    container.fail(1, "Error", "", 1.0)
    assert not container.is_running(0)
    container.begin()
    assert [container.is_running(run) for run in (0, 1)] == [False, True]
