"""Counts that only grow, at the moments of the last minute: how many in how many seconds."""

from collections import deque
from dataclasses import dataclass

from abserve.telemetry import VersionCounts


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted in a stretch of time; nothing in no time if there is no earlier moment."""

    counts: VersionCounts
    seconds: float

    @property
    def rate(self) -> float | None:
        """Requests per second."""
        return self.counts.n_requests / self.seconds if self.seconds else None

    @property
    def rejected(self) -> float | None:
        """Share of the requests that were the client's fault."""
        return _share(self.counts.n_rejected, self.counts.n_requests)

    @property
    def failed(self) -> float | None:
        """Share of the requests that were our fault."""
        return _share(self.counts.n_failed, self.counts.n_requests)


class Timeline:
    """The totals of the last `keep_seconds`, and the one before."""

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._moments: deque[tuple[float, VersionCounts]] = deque()

    def record(self, at: float, total: VersionCounts) -> None:
        """Note the total at a moment later than all others, in seconds."""
        self._moments.append((at, total))
        while len(self._moments) > 2 and self._moments[1][0] <= at - self._keep_seconds:  # noqa: PLR2004 - the one before stays
            self._moments.popleft()

    def last(self, seconds: float) -> Window:
        """Return what was counted in the last `seconds`, or as much of them as is known.

        It begins with the moment noted at or before that, so it may be a little longer.
        """
        if not self._moments:
            return Window(VersionCounts(), 0.0)
        end, total = self._moments[-1]
        began, before = self._moments[0]
        for at, counts in self._moments:
            if at > end - seconds:
                break
            began, before = at, counts
        return Window(total - before, end - began)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
