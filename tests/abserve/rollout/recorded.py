"""A recording of two versions that answer ten requests a second each, and get ground truth."""

from collections.abc import Mapping
from pathlib import Path

from abserve.rollout.recording_writer import RecordingWriter
from abserve.slots import N_SLOTS
from abserve.telemetry import ReplicaReading, Series
from abserve.telemetry.readings import (
    OUTCOME_SUM,
    OUTCOMES,
    PREDICTIONS,
    REQUESTS,
    SECONDS,
    UNIT_INFO,
    UNITS,
)

NOON = 1_800_000_000
EVERY_SECONDS = 5
PER_SECOND = 10


def samples(version: str, right: int, until: int) -> dict[Series, float]:
    """Return what a replica had counted until so many seconds after noon."""
    n = PER_SECOND * until
    found = {
        Series.of(REQUESTS, {"version": version, "outcome": "ok"}): n,
        Series.of(REQUESTS, {"version": version, "outcome": "failed"}): 0,
        Series.of(REQUESTS, {"version": version, "outcome": "rejected"}): 0,
        Series.of(UNIT_INFO, {"version": version, "header": ""}): 1,
        Series.of(SECONDS, {"version": version, "le": "0.05"}): n,
        Series.of(SECONDS, {"version": version, "le": "+Inf"}): n,
        Series.of(PREDICTIONS, {"version": version, "label": "setosa"}): n // 2,
        Series.of(PREDICTIONS, {"version": version, "label": "virginica"}): n - n // 2,
    }
    for slot in range(N_SLOTS):
        n_turns = (until - slot + N_SLOTS - 1) // N_SLOTS
        units = {"version": version, "period": "1", "slot": str(slot)}
        labels = {**units, "metric": "accuracy"}
        found[Series.of(UNITS, units)] = PER_SECOND * n_turns
        found[Series.of(OUTCOMES, labels)] = PER_SECOND * n_turns
        found[Series.of(OUTCOME_SUM, labels)] = right * n_turns
    return {series: float(value) for series, value in found.items()}


def record(
    path: Path,
    seconds: int,
    *,
    right: Mapping[str, int],
    weights: Mapping[str, int],
    available: bool = True,
) -> None:
    """Record versions from noon on: `right` says how many of ten each predicts right."""
    writer = RecordingWriter(path, EVERY_SECONDS, print)
    try:
        for until in range(0, seconds + 1, EVERY_SECONDS):
            writer.add_setting(
                "shop",
                "iris",
                NOON + until,
                generation=1,
                weights=weights,
                versions={"baseline": "v1", "candidate": "v2"},
                available=available,
            )
            writer.add(
                "shop",
                "iris",
                NOON + until,
                {
                    version: ReplicaReading(NOON - 60, samples(version, n_right, until))
                    for version, n_right in right.items()
                },
            )
    finally:
        writer.close()
