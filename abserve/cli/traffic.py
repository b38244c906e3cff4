"""Requests made of held-out rows, each followed by its ground truth."""

import itertools
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

_SENDERS = 4
_TIMEOUT_SECONDS = 10


@dataclass(slots=True)
class Tally:
    """What became of the requests: `seconds` per version that answered, and what failed."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: list[str] = field(default_factory=list)

    @property
    def n_answered(self) -> int:
        # A copy, because a version may answer for the first time while this is counted.
        return sum(len(times) for times in list(self.seconds.values()))

    @property
    def n_sent(self) -> int:
        return self.n_answered + len(self.failures)

    def counts(self) -> dict[str, int]:
        """Return how many answers each version has given so far."""
        return {version: len(times) for version, times in list(self.seconds.items())}

    def share(self, version: str) -> float:
        """Return the share of the answers that `version` gave, in [0, 1]."""
        return len(self.seconds.get(version, ())) / max(self.n_answered, 1)

    def quantile(self, version: str, q: float) -> float | None:
        """Return a quantile of the time to an answer of `version`, in seconds; None without any."""
        times = sorted(self.seconds.get(version, ()))
        return times[min(int(q * len(times)), len(times) - 1)] if times else None


class Traffic:
    """Sends rows through the gateway, one per request, in turn and from several connections.

    Parameters
    ----------
    url : str
        The gateway's URL for inference requests.
    rows : sequence of sequence of float
        Rows in the order of the model's features.
    labels : sequence of str
        The ground truth of each row.
    """

    def __init__(self, url: str, rows: Sequence[Sequence[float]], labels: Sequence[str]) -> None:
        self._infer_url = url
        self._feedback_url = f"{url.removesuffix('/infer')}/feedback"
        self._examples = itertools.cycle(list(zip(rows, labels, strict=True)))
        self._lock = threading.Lock()

    def send(self, n_requests: int, advance: Callable[[], None]) -> Tally:
        """Send `n_requests` requests; call `advance` after each."""
        tally = Tally()
        remaining = iter(range(n_requests))

        def one_more() -> bool:
            with self._lock:
                return next(remaining, None) is not None

        with ThreadPoolExecutor(_SENDERS) as senders:
            for sender in [
                senders.submit(self._send_while, one_more, tally, advance) for _ in range(_SENDERS)
            ]:
                sender.result()
        return tally

    @contextmanager
    def flowing(self) -> Iterator[Tally]:
        """Send requests for as long as the block lasts; the tally is complete when it ends."""
        tally = Tally()
        stop = threading.Event()
        with ThreadPoolExecutor(_SENDERS) as senders:
            sending = [
                senders.submit(self._send_while, lambda: not stop.is_set(), tally, lambda: None)
                for _ in range(_SENDERS)
            ]
            try:
                yield tally
            finally:
                stop.set()
            for sender in sending:
                sender.result()

    def _send_while(
        self, wanted: Callable[[], bool], tally: Tally, advance: Callable[[], None]
    ) -> None:
        with requests.Session() as session:
            while wanted():
                with self._lock:
                    row, label = next(self._examples)
                try:
                    version, seconds = self._ask(session, row, label)
                except (requests.RequestException, KeyError, TypeError, ValueError) as error:
                    with self._lock:
                        tally.failures.append(f"{type(error).__name__}: {error}")
                else:
                    with self._lock:
                        tally.seconds[version].append(seconds)
                advance()

    def _ask(
        self, session: requests.Session, row: Sequence[float], label: str
    ) -> tuple[str, float]:
        """Send one request and the ground truth for its answer; return who answered how fast."""
        request = {
            "id": str(uuid.uuid4()),
            "inputs": [
                {
                    "name": "features",
                    "shape": [1, len(row)],
                    "datatype": "FP64",
                    "data": list(row),
                }
            ],
        }
        began = time.perf_counter()
        answer = session.post(self._infer_url, json=request, timeout=_TIMEOUT_SECONDS)
        seconds = time.perf_counter() - began
        answer.raise_for_status()
        response = answer.json()
        feedback = session.post(
            self._feedback_url,
            json={
                "id": request["id"],
                "feedback_token": response["parameters"]["feedback_token"],
                "ground_truth": label,
            },
            timeout=_TIMEOUT_SECONDS,
        )
        feedback.raise_for_status()
        return response["model_version"], seconds
