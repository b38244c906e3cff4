"""Where counts come from: anything that knows what the replicas had counted at a moment."""

from typing import Protocol

from abserve.telemetry import Reading


class History(Protocol):
    """What the replicas of one SeldonDeployment had counted, now and in the past."""

    def reading(self, at: float, since: float | None = None) -> Reading:
        """Return what each replica had counted at `at`, in seconds since 1970.

        The numbers are those of each replica's last sample at or before that moment; a replica
        without a recent one is absent, or, if `since` is given, one without any that has all of
        before then. Samples take a moment to be kept: ask a little later than `at`, or what is
        answered may be older than need be.

        Raises
        ------
        LostCountsError
            If it is not known and never will be, because nothing was kept of then.
        TelemetryError
            If it is not known now: who keeps the samples does not answer, or the moment has not
            come yet.
        """
        ...
