"""A terminal that nobody looks at: what is written to it is kept."""

import os
import pty
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_SECONDS = 10


class Terminal:
    """`stream` writes to the terminal; `said` holds all of it once the block has ended."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.said = ""


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Open a terminal, and read what is written to it for as long as the block lasts."""
    screen, own = pty.openpty()
    read = bytearray()

    def look_on() -> None:
        try:
            while chunk := os.read(screen, 65536):
                read.extend(chunk)
        except OSError:
            pass  # which is how Linux tells that the last writer has closed it

    reader = threading.Thread(target=look_on)
    reader.start()
    try:
        with os.fdopen(own, "w") as stream:
            opened = Terminal(stream)
            yield opened
    finally:
        reader.join(_SECONDS)
        os.close(screen)
    opened.said = read.decode()
