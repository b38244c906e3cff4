"""Loopback ports: the one people know if it is free, else another; never one that is taken."""

import socket

import psutil

from abserve.errors import ClusterError

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


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
