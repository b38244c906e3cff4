"""The web console as a process of the cluster: a client of its API like any other."""

import sys

from abserve.cluster.home import Home, ProcessRecord, write_atomically
from abserve.cluster.probes import wait_until_listening
from abserve.cluster.processes import Child, Processes

CONSOLE = "console"
"""The name its process is recorded under."""

_STOP_SECONDS = 5.0


class Console:
    """The console of one local cluster.

    Parameters
    ----------
    processes : Processes
        Starts it.
    home : Home
        The cluster's folder.
    port : int
        Loopback port for browsers.
    token : str
        What a browser must know to be let in.
    """

    def __init__(self, processes: Processes, home: Home, port: int, token: str) -> None:
        self._processes = processes
        self._home = home
        self._log = home.logs / "console.log"
        self._port = port
        self._token = token
        self.url = f"http://localhost:{port}/?token={token}"

    def resume(self, record: ProcessRecord) -> Child | None:
        """Take over a console that runs already; None if it is not on the port."""
        if record.details != self._details():
            return None
        return self._processes.take_over(record, self._log)

    async def start(self) -> Child:
        """Start the console and return once it takes connections.

        Raises
        ------
        ClusterError
            If it ends instead.
        """
        token_file = self._home.folder / "console-token"
        # In a file, because a command line is readable by everyone on the machine.
        write_atomically(token_file, self._token.encode())
        child = await self._processes.start(
            CONSOLE,
            [
                *(sys.executable, "-m", "abserve.cli"),
                *("--home", self._home.folder),
                *("--kubeconfig", self._home.kubeconfig),
                "console",
                *("--port", str(self._port)),
                *("--token-file", token_file),
            ],
            {},
            self._log,
            self._home.folder,
            self._details(),
        )
        try:
            await wait_until_listening(child, self._port)
        except BaseException:  # cancelled: nobody else knows of the child yet
            await child.stop(_STOP_SECONDS)
            raise
        return child

    def _details(self) -> dict[str, int]:
        return {"port": self._port}
