"""Counts per version, read from what the runtimes expose.

A replica counts what it answered under its own version, and feedback under the version that
answered, whichever replica received it. Adding up the replicas therefore gives each version's
counts, and nothing here needs to know who ran where.
"""

from abserve.telemetry.counts import ReplicaCounts, VersionCounts, add_counts, read_counts
from abserve.telemetry.histogram import Histogram

__all__ = ["Histogram", "ReplicaCounts", "VersionCounts", "add_counts", "read_counts"]
