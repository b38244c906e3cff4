"""Where counts come from: anything that knows what the replicas had counted at a moment."""

from typing import Protocol

from abserve.telemetry import Reading


class History(Protocol):
    """What the replicas of one SeldonDeployment had counted, now and in the past."""

    def reading(self, at: float) -> Reading:
        """Return what each replica had counted at `at`, in seconds since 1970.

        The numbers are those of each replica's last sample at or before that moment; a replica
        without a recent one is absent.

        Raises
        ------
        TelemetryError
            If it cannot be known: who keeps the samples does not answer, or kept none of then.
        """
        ...
