"""A cluster that outlives the command that started it, and the command that ends it."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import psutil

from abserve.cluster.home import ClusterRecord, Home
from abserve.cluster.processes import stop_recorded, tail
from abserve.errors import ClusterError

_POLL_SECONDS = 0.1
_START_SECONDS = 60.0
# Replicas may take their whole grace to answer what is still asked.
_STOP_SECONDS = 60.0


def start_in_background(
    home: Home, arguments: Sequence[str], report: Callable[[str], None]
) -> ClusterRecord:
    """Start ``abserve up`` as a process of its own and return once the cluster is ready.

    Parameters
    ----------
    home : Home
        The cluster's folder.
    arguments : sequence of str
        Arguments for ``abserve up``, without ``--detach``.
    report : callable
        Told what the starting cluster says, line by line.

    Raises
    ------
    ClusterError
        If it ends instead, or is not ready in time.
    """
    home.make()
    with home.locked():  # refused while a cluster runs here, whose log this would empty
        home.log.write_bytes(b"")
    with home.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "abserve.cli", "--home", str(home.folder), "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        return _wait_until_ready(home, process, report)
    except BaseException:  # ctrl-C as well: it must not go on starting behind the user's back
        process.terminate()
        raise


def _wait_until_ready(
    home: Home, process: "subprocess.Popen[bytes]", report: Callable[[str], None]
) -> ClusterRecord:
    shown = 0
    deadline = time.monotonic() + _START_SECONDS
    while True:
        lines = home.log.read_text(errors="replace").splitlines()
        for line in lines[shown:]:
            report(line)
        shown = len(lines)
        record = home.cluster()
        if record is not None and record.ready:
            return record
        if process.poll() is not None:
            said = " ".join(tail(home.log, 1)).removeprefix("abserve: ")
            raise ClusterError(f"the local cluster could not start: {said or 'it said nothing'}")
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the local cluster was not ready within {_START_SECONDS:g} s; "
                f"its log is {home.log}"
            )
        time.sleep(_POLL_SECONDS)


def stop_cluster(home: Home, report: Callable[[str], None]) -> bool:
    """Stop the cluster of a folder, and whatever it left behind if it was killed.

    Returns
    -------
    bool
        False if nothing of it was running.

    Raises
    ------
    ClusterError
        If it does not end.
    """
    record = home.cluster()
    process = record.process.find() if record is not None else None
    if process is not None:
        report(f"stopping the local cluster (process {process.pid})")
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except psutil.TimeoutExpired:
                raise ClusterError(
                    f"the local cluster (process {process.pid}) has not ended within "
                    f"{_STOP_SECONDS:g} s; its log is {home.log}"
                ) from None
    left = home.processes()
    if left:
        report(f"stopping {len(left)} processes that the cluster left behind")
        stop_recorded(left)
        home.write_processes([])
    home.write_cluster(None)
    return process is not None or bool(left)
