import sqlite3
from pathlib import Path

import pytest

from abserve.cluster.state import State
from abserve.errors import ClusterError

KEY = ("secrets", "default", "mine")


def test_an_object_is_there_after_the_file_was_opened_again(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    state.keep(KEY, {"kind": "Secret"}, 7)
    state.close()
    again = State(tmp_path / "state.db")
    assert dict(again.objects()) == {KEY: {"kind": "Secret"}}
    assert again.version == 7


def test_what_was_committed_is_there_after_a_kill(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    state.keep(KEY, {"kind": "Secret"}, 1)
    # Another process looks while the first is still open, as after a kill nothing is closed.
    assert dict(State(tmp_path / "state.db").objects()) == {KEY: {"kind": "Secret"}}


def test_an_object_that_is_not_to_be_kept_is_forgotten_and_still_counted() -> None:
    state = State()
    state.keep(KEY, {"kind": "Secret"}, 1)
    state.keep(KEY, None, 2)
    assert list(state.objects()) == []
    assert state.version == 2


def test_a_change_that_cannot_be_written_leaves_the_state_before_it() -> None:
    state = State()
    state.keep(KEY, {"value": 1}, 1)
    with pytest.raises(TypeError):
        state.keep(KEY, {"value": object()}, 2)
    assert dict(state.objects()) == {KEY: {"value": 1}}
    assert state.version == 1


def test_a_setting_is_kept_until_it_is_forgotten() -> None:
    state = State()
    assert state.setting("token") is None
    state.settle("token", "a")
    state.settle("token", "b")
    assert state.setting("token") == "b"
    state.settle("token", None)
    assert state.setting("token") is None


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    state.settle("token", "a")
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {"state.db": 0o600, "state.db-shm": 0o600, "state.db-wal": 0o600}


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(ClusterError, match=r"cannot be read .* move it away"):
        State(tmp_path / "state.db")


def test_a_state_of_a_later_abserve_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as later:
        later.execute("PRAGMA user_version = 2")
    with pytest.raises(ClusterError, match="written by a later abserve"):
        State(tmp_path / "state.db")


class SmallState(State):
    """A state whose file may not grow any further."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._connection.execute("PRAGMA max_page_count = 1")

    def grow(self) -> None:
        self._connection.execute("PRAGMA max_page_count = 1000000")


LARGE = {"value": "x" * 100_000}


def test_a_change_without_room_is_refused_and_can_be_made_once_there_is(tmp_path: Path) -> None:
    state = SmallState(tmp_path / "state.db")
    state.keep(KEY, {"value": 1}, 1)
    for _ in range(2):
        with pytest.raises(ClusterError, match=r"state.db cannot be written \(.*full\); make room"):
            state.keep(KEY, LARGE, 2)
    with pytest.raises(ClusterError, match="full"):
        state.settle("routes", "x" * 100_000)
    assert dict(state.objects()) == {KEY: {"value": 1}}
    assert state.version == 1
    state.grow()
    state.keep(KEY, LARGE, 2)
    assert dict(State(tmp_path / "state.db").objects()) == {KEY: LARGE}
