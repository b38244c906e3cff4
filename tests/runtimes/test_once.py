from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import pytest

from runtimes.once import once_per_process


def test_what_a_process_has_one_of_is_made_at_the_first_call() -> None:
    made: list[object] = []

    @once_per_process
    def get() -> object:
        made.append(object())
        return made[-1]

    assert made == []
    assert get() is get()
    assert len(made) == 1


def test_threads_that_come_at_once_get_the_same() -> None:
    barrier = Barrier(8)

    @once_per_process
    def get() -> object:
        sleep(0.05)
        return object()

    def ask(_: int) -> object:
        barrier.wait()
        return get()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_what_could_not_be_made_is_tried_again() -> None:
    errors = [ValueError("not yet")]

    @once_per_process
    def get() -> str:
        if errors:
            raise errors.pop()
        return "made"

    with pytest.raises(ValueError, match="not yet"):
        get()
    assert get() == "made"
