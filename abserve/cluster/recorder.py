"""The recorder as a process of the cluster: a client of its API like any other."""

import sys

from abserve.cluster.home import Home, ProcessRecord
from abserve.cluster.processes import Child, Processes

RECORDER = "recorder"
"""The name its process is recorded under."""


class Recorder:
    """The recorder of one local cluster.

    Parameters
    ----------
    processes : Processes
        Starts it.
    home : Home
        The cluster's folder.
    every_seconds : int
        How often it looks.
    """

    def __init__(self, processes: Processes, home: Home, every_seconds: int) -> None:
        self._processes = processes
        self._home = home
        self._log = home.logs / "recorder.log"
        self._every_seconds = every_seconds

    def resume(self, record: ProcessRecord) -> Child | None:
        """Take over a recorder that runs already; None if its pace is another."""
        if record.details != self._details():
            return None
        return self._processes.take_over(record, self._log)

    async def start(self) -> Child:
        """Start the recorder."""
        return await self._processes.start(
            RECORDER,
            [
                *(sys.executable, "-m", "abserve.cli"),
                *("--home", self._home.folder),
                "record",
                *("--every", str(self._every_seconds)),
            ],
            {},
            self._log,
            self._home.folder,
            self._details(),
        )

    def _details(self) -> dict[str, int]:
        return {"every_seconds": self._every_seconds}
