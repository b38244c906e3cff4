"""Clients that do not stop asking while something happens."""

import threading
import time
from collections import Counter
from typing import Any

import requests

WAIT_SECONDS = 30


class Load:
    """Clients that ask without a pause, each over a connection it keeps."""

    def __init__(self, url: str, body: dict[str, Any], n_clients: int = 8) -> None:
        self.statuses: Counter[int | str] = Counter()
        """How often which status was answered, or which exception was raised."""
        self._url, self._body = url, body
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(n_clients)]

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._ended.is_set():
                try:
                    found: int | str = session.post(
                        self._url, json=self._body, timeout=10
                    ).status_code
                except requests.RequestException as error:
                    found = type(error).__name__
                self.statuses[found] += 1

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, n_more: int) -> None:
        """Wait until so many more requests have been answered."""
        aim, deadline = self.statuses.total() + n_more, time.monotonic() + WAIT_SECONDS
        while self.statuses.total() < aim:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.01)
