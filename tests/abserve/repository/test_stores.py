import errno
import os

import pytest

from abserve.repository.stores import failure


@pytest.mark.parametrize(
    ("number", "what_to_do"),
    [
        (errno.ENOSPC, "make room there: 'abserve models prune'"),
        (errno.EACCES, "check the URL, the credentials and the rights"),
    ],
)
def test_a_failure_says_what_to_do(number: int, what_to_do: str) -> None:
    told = str(failure("file:///srv/models", "written", OSError(number, os.strerror(number))))
    assert os.strerror(number) in told
    assert what_to_do in told
