"""``abserve console``: the web console of a namespace, on this machine only."""

import asyncio
import contextlib
import re
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from abserve.cli.context import Context
from abserve.errors import AbserveError, KubernetesError

if TYPE_CHECKING:
    from abserve.console import Console
    from abserve.promotion import Kubernetes
    from abserve.weights import Weights

_HOST = "127.0.0.1"
_PORT = 8088
_TIMEOUT_SECONDS = 300.0
_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")


@click.command("console")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port for browsers: by default {_PORT} if it is free; 0 takes any.",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the token that the URL holds; made if it does not exist. By default the token "
    "is a new one each time.",
)
@click.pass_obj
def console_command(context: Context, port: int | None, token_file: Path | None) -> None:
    """Show the namespace on a page: who serves, how well; with buttons for weights and promotion.

    Runs until ctrl-C. The URL that is printed lets a browser in, and nothing else does.
    """
    from abserve.console import Console

    cluster = _Cluster(context.kubernetes())
    token = _token(token_file)
    with _listening(port) as listener:
        taken = int(listener.getsockname()[1])
        console = Console(cluster, token, taken)
        asyncio.run(_serve(console, listener, f"http://localhost:{taken}/?token={token}"))


class _Cluster:
    """The console's `Cluster`: one namespace, read and changed as the commands do."""

    def __init__(self, kubernetes: "Kubernetes") -> None:
        self._kubernetes = kubernetes
        self.server = kubernetes.server
        self.namespace = kubernetes.namespace

    def deployments(self) -> list[dict[str, Any]]:
        return self._kubernetes.deployments()

    def pods(self) -> list[dict[str, Any]]:
        from abserve.promotion.reading import pod_documents

        return pod_documents(self._kubernetes)

    def events(self) -> list[dict[str, Any]]:
        from abserve.promotion.reading import event_documents

        return event_documents(self._kubernetes)

    def metrics(self, pod: str, port: int) -> str:
        from abserve.promotion.kubernetes import Pod

        return self._kubernetes.metrics(Pod(pod, "", ready=True, metrics_port=port))

    def log(self, pod: str, container: str, n_lines: int) -> str:
        return "\n".join(self._kubernetes.log(pod, container, n_lines=n_lines))

    def set_weights(self, name: str, generation: int, weights: "Weights") -> None:
        from abserve.promotion import set_weights

        self._check(name, generation)
        set_weights(self._kubernetes, name, weights, _TIMEOUT_SECONDS)

    def promote(self, name: str, generation: int, report: Callable[[str], None]) -> None:
        from abserve.promotion import promote

        self._check(name, generation)
        promote(self._kubernetes, name, report, _TIMEOUT_SECONDS)

    def roll_back(self, name: str, generation: int, report: Callable[[str], None]) -> None:
        from abserve.promotion import roll_back

        self._check(name, generation)
        roll_back(self._kubernetes, name, report, _TIMEOUT_SECONDS)

    def _check(self, name: str, generation: int) -> None:
        found = self._kubernetes.get(name)["metadata"].get("generation", 0)
        if found != generation:
            raise KubernetesError(
                f"SeldonDeployment {name!r} was changed meanwhile: its generation is {found}, and "
                f"{generation} is what you were shown; look at it again, then confirm again"
            )


def _token(file: Path | None) -> str:
    if file is None:
        return secrets.token_urlsafe(_TOKEN_BYTES)
    try:
        token = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(token, encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise AbserveError(f"the token cannot be read from {file}: {error}") from error
    if not _TOKEN.fullmatch(token):
        raise AbserveError(
            f"{file} holds no token; expected at least 16 letters, digits, '-' or '_'. Remove the "
            "file to have one made"
        )
    return token


@contextlib.contextmanager
def _listening(port: int | None) -> Iterator[socket.socket]:
    """Listen on a port of the loopback address; None prefers the usual one and takes any."""
    try:
        listener = socket.create_server((_HOST, _PORT if port is None else port))
    except OSError as error:
        if port is not None:
            raise AbserveError(
                f"the console cannot listen on port {port} ({error.strerror}); name another with "
                "--port, or 0 for any"
            ) from error
        listener = socket.create_server((_HOST, 0))
    with listener:
        yield listener


async def _serve(console: "Console", listener: socket.socket, url: str) -> None:
    """Serve until somebody stops us."""
    import uvicorn

    class Server(uvicorn.Server):
        """Signals are ours: the streams must end first."""

        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

    server = Server(
        uvicorn.Config(console.app, access_log=False, log_config=None, timeout_graceful_shutdown=2)
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    click.echo(f"console: {url}")
    # Somebody may follow a log, and a file is not flushed by itself.
    sys.stdout.flush()
    ends = [asyncio.create_task(event.wait()) for event in (stop, console.broken)]
    await asyncio.wait([serving, *ends], return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    await console.close()
    server.should_exit = True
    await serving
    if console.broken.is_set():
        raise AbserveError("the console failed, as told above; that is a bug, please report it")
