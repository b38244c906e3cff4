"""``abserve record``: what ``abserve up`` runs beside the cluster, to keep its past."""

import asyncio
import contextlib
import datetime as dt
import signal
import sys
from typing import TYPE_CHECKING

import click

from abserve.cli.context import Context

if TYPE_CHECKING:
    from abserve.promotion import Kubernetes
    from abserve.rollout.recorder import Recorder


@click.command("record", hidden=True)
@click.option("--every", "every_seconds", type=click.IntRange(1, 60), required=True)
@click.pass_obj
def record_command(context: Context, every_seconds: int) -> None:
    """Record what the replicas of the local cluster count, until SIGTERM or ctrl-C."""
    from abserve.promotion import Kubernetes
    from abserve.rollout.recorder import Recorder
    from abserve.rollout.recording_writer import RecordingWriter

    home = context.home

    def connect(namespace: str | None, timeout_seconds: float) -> "Kubernetes":
        return Kubernetes(home.kubeconfig, namespace, timeout_seconds)

    writer = RecordingWriter(home.recording, every_seconds, _say)
    with contextlib.closing(writer):
        asyncio.run(_run(Recorder(connect, writer, every_seconds, _say)))


async def _run(recorder: "Recorder") -> None:
    recording = asyncio.create_task(recorder.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, recording.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await recording


def _say(line: str) -> None:
    click.echo(f"{dt.datetime.now(dt.UTC).isoformat(' ', 'seconds')} {line}")
    # Somebody may follow the log, and a file is not flushed by itself.
    sys.stdout.flush()
