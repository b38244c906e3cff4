"""Counts per version, read from what the runtimes expose.

A replica counts what it answered under its own version, and feedback under the version that
answered, whichever replica received it. Adding up the replicas therefore gives each version's
counts, and nothing here needs to know who ran where. What was counted between two readings is
their difference, replica by replica.
"""

from abserve.telemetry.counts import ReplicaCounts, VersionCounts, add_counts, read_counts
from abserve.telemetry.drift import Drift, combine_drift
from abserve.telemetry.histogram import Histogram
from abserve.telemetry.readings import (
    Increase,
    Reading,
    ReplicaReading,
    Series,
    increase,
    read_replica,
)

__all__ = [
    "Drift",
    "Histogram",
    "Increase",
    "Reading",
    "ReplicaCounts",
    "ReplicaReading",
    "Series",
    "VersionCounts",
    "add_counts",
    "combine_drift",
    "increase",
    "read_counts",
    "read_replica",
]
