import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from abserve.cli.logs import Source, as_they_come, one_after_another
from abserve.errors import KubernetesError
from tests.abserve.cli.conftest import Run
from tests.abserve.promotion.local_api import LocalApi

Read = Callable[[Sequence[Source]], Iterator[tuple[str, str]]]


def refused() -> Iterator[str]:
    yield "said before"
    raise KubernetesError("no such log")


SAYS = Source("a", lambda: iter(["one", "two"]))
ENDS = Source("b", lambda: iter(["three"]))
FAILS = Source("c", refused)


def test_logs_are_read_in_their_order() -> None:
    assert list(one_after_another([SAYS, ENDS])) == [("a", "one"), ("a", "two"), ("b", "three")]


@pytest.mark.parametrize("read", [one_after_another, as_they_come])
def test_a_log_that_cannot_be_read_does_not_hold_up_the_others(read: Read) -> None:
    lines = read([FAILS, SAYS])
    assert sorted(next(lines) for _ in range(3)) == [
        ("a", "one"),
        ("a", "two"),
        ("c", "said before"),
    ]
    with pytest.raises(KubernetesError, match="no such log"):
        next(lines)


def test_lines_are_shown_as_they_come_whoever_is_silent() -> None:
    speak = threading.Event()

    def waits() -> Iterator[str]:
        speak.wait(10)
        yield "at last"

    lines = as_they_come([Source("slow", waits), ENDS])
    assert next(lines) == ("b", "three")
    speak.set()
    assert list(lines) == [("slow", "at last")]


@pytest.fixture
def logs(home: Path) -> Path:
    """The logs of a local cluster that ran once."""
    folder = home / "logs"
    folder.mkdir(parents=True)
    (folder / "cluster.log").write_text("starting\nready\n")
    (folder / "envoy.log").write_text("listening\n")
    return folder


@pytest.mark.usefixtures("logs")
def test_the_parts_of_the_local_cluster_are_told_apart(abserve: Run) -> None:
    assert abserve("logs", "--system") == (
        0,
        "cluster: starting\ncluster: ready\nenvoy: listening\n",
        "",
    )


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize(("n", "said"), [("1", "cluster: ready\nenvoy: listening\n"), ("0", "")])
def test_only_the_last_lines_are_shown_if_so_wished(n: str, said: str, abserve: Run) -> None:
    assert abserve("logs", "--system", "--tail", n).out == said


def test_a_single_log_is_shown_as_it_is(logs: Path, abserve: Run) -> None:
    (logs / "envoy.log").unlink()
    assert abserve("logs", "--system").out == "starting\nready\n"


@pytest.mark.usefixtures("logs")
def test_a_cluster_that_runs_no_more_is_not_waited_for(abserve: Run) -> None:
    assert abserve("logs", "--system", "--follow", "--tail", "1").code == 0


def test_where_no_cluster_ran_there_is_no_log(abserve: Run, home: Path) -> None:
    ended = abserve("logs", "--system")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"abserve: no local cluster has run in {home}; ")


def test_a_misspelt_predictor_is_told_with_what_was_meant(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    ended = on_cluster("logs", "iris", "candidat")
    assert ended.code == 1
    assert "expected one of baseline, candidate; did you mean 'candidate'?" in ended.err


def test_a_predictor_without_replicas_has_no_log(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    ended = on_cluster("logs", "iris", "candidate")
    assert (ended.code, ended.out) == (1, "")
    assert (
        ended.err == "abserve: no replica of 'candidate' runs; see 'kubectl describe sdep iris'\n"
    )
