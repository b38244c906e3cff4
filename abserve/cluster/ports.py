"""Loopback ports: the one people know if it is free, else another; never one that is taken.

A port is chosen now, and listened on by a process that starts later. In between, the kernel may
give a port of its own range to any connection that goes out; so others are chosen, below it:

    20000 ......... free_port() ......... 32767 | 32768 ..... the kernel's ..... 60999
"""

import secrets
import socket
from pathlib import Path

import psutil

from abserve.errors import ClusterError

HOST = "127.0.0.1"

_FIRST, _LAST = 20_000, 32_767
_KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class FreePorts:
    """Ports of a range, one after the other, so that none is chosen twice until all have been.

    Parameters
    ----------
    ports : range
        What to choose from. The first is a random one, so that two local clusters that start at
        the same time do not choose the same.
    """

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self._next = secrets.randbelow(len(ports)) if ports else 0

    def choose(self) -> int:
        """Return a port that nobody listens on at this moment."""
        for _ in self._ports:
            port = self._ports[self._next % len(self._ports)]
            self._next += 1
            if is_free(port):
                return port
        # Where the kernel's range leaves no room, or all is taken, the kernel has to know one.
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            return int(probe.getsockname()[1])


def ports_below(kernel_range: str) -> range:
    """Return the ports to choose from beside the kernel's, as Linux writes it: "32768 60999"."""
    return range(_FIRST, min(int(kernel_range.split(maxsplit=1)[0]), _LAST + 1))


_FREE_PORTS = FreePorts(
    ports_below(_KERNEL_RANGE.read_text()) if _KERNEL_RANGE.exists() else range(_FIRST, _LAST + 1)
)


def free_port() -> int:
    """Return a port that nobody listens on at this moment, and that the kernel gives to nobody."""
    return _FREE_PORTS.choose()


def choose_port(name: str, wanted: int | None, usual: int) -> tuple[int, str | None]:
    """Choose the port for `name`.

    Parameters
    ----------
    name : str
        What listens there, for messages: "gateway".
    wanted : int or None
        What the user asked for. A taken one is refused.
    usual : int
        Used when nothing was asked for and it is free; else another is chosen.

    Returns
    -------
    tuple of int and str or None
        The port, and a note to show when it is not the usual one.

    Raises
    ------
    ClusterError
        If the wanted port is taken.
    """
    port = usual if wanted is None else wanted
    if wanted == 0:
        return free_port(), None
    if is_free(port):
        return port, None
    holder = _holder(port)
    if wanted is not None:
        raise ClusterError(
            f"{name} port {port} is taken by {holder}; "
            f"choose another with --{name}-port, or 0 for any that is free"
        )
    chosen = free_port()
    return chosen, f"{name} port {port} is taken by {holder}; using {chosen}"


def is_free(port: int) -> bool:
    """Tell whether `port` can be listened on at this moment."""
    with socket.socket() as probe:
        # A port whose last connections are still closing is free to be listened on.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise ClusterError(
                f"port {port} is for the superuser only; choose one above 1023"
            ) from error
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid is not None
            ):
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return "another process"
    return "another process"
