"""Histograms as Prometheus counts them: how many observations lie at or under each bound."""

from collections.abc import Mapping
from dataclasses import dataclass

from abserve.errors import TelemetryError


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts by upper bound.

    `bounds` ascend and end with infinity; `counts[i]` observations are at or under `bounds[i]`.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    @classmethod
    def from_buckets(cls, buckets: Mapping[float, float]) -> "Histogram":
        bounds = tuple(sorted(buckets))
        return cls(bounds, tuple(buckets[bound] for bound in bounds))

    @classmethod
    def empty(cls) -> "Histogram":
        """Return the histogram of nothing, which can be added to any other."""
        return cls((), ())

    @property
    def n(self) -> float:
        return self.counts[-1] if self.counts else 0.0

    def __add__(self, other: "Histogram") -> "Histogram":
        if not self.bounds or not other.bounds:
            return self if self.bounds else other
        if self.bounds != other.bounds:
            raise TelemetryError(
                f"histograms with bounds {self.bounds} and {other.bounds} cannot be added; "
                "let all replicas run the same release of the runtimes"
            )
        added = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Histogram(self.bounds, added)

    def __sub__(self, earlier: "Histogram") -> "Histogram":
        """Return what was observed after `earlier`, which this histogram `follows`."""
        if not earlier.bounds:
            return self
        later = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        return Histogram(self.bounds, later)

    def follows(self, earlier: "Histogram") -> bool:
        """Tell whether this can be `earlier` after further observations."""
        if not earlier.bounds:
            return True
        return self.bounds == earlier.bounds and all(
            a >= b for a, b in zip(self.counts, earlier.counts, strict=True)
        )

    def quantile(self, q: float) -> float | None:
        """Estimate a quantile, assuming observations lie evenly inside each bucket.

        The rule is that of PromQL's ``histogram_quantile``: the first bucket begins at 0, and a
        quantile in the last, open bucket is given as that bucket's lower bound. With that bucket
        alone nothing is known.

        Parameters
        ----------
        q : float
            In [0, 1].

        Returns
        -------
        float or None
            In the unit that was observed; None without observations, or without a finite bound.
        """
        if self.n == 0 or len(self.bounds) == 1:
            return None
        rank = q * self.n
        index = next(i for i, count in enumerate(self.counts) if count >= rank)
        lower_bound = self.bounds[index - 1] if index else 0.0
        below = self.counts[index - 1] if index else 0.0
        inside = self.counts[index] - below
        if index == len(self.bounds) - 1 or inside == 0:
            return lower_bound
        return lower_bound + (self.bounds[index] - lower_bound) * (rank - below) / inside
