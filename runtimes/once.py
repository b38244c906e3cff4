"""What a process has one of, though several models may ask for it at once.

MLServer loads its models side by side, and they open their folders in threads.
"""

from collections.abc import Callable
from functools import cache, wraps
from threading import Lock
from typing import TypeVar

T = TypeVar("T")


def once_per_process(make: Callable[[], T]) -> Callable[[], T]:
    """Let `make` be called at the first call only, whichever thread that comes from.

    `functools.cache` alone would call it once in every thread that comes while it is still at work.
    """
    lock = Lock()
    cached = cache(make)

    @wraps(make)
    def get() -> T:
        with lock:
            return cached()

    return get
