"""``abserve logs``: what the replicas of a SeldonDeployment say, and what the local cluster does.

Replicas are asked through the Kubernetes API, wherever they run. Each is read by a thread of its
own, so that one that is silent does not hold up the others.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abserve.cli.completing import complete_deployments, complete_predictors
from abserve.cli.context import Context
from abserve.errors import AbserveError, ClusterError, KubernetesError

if TYPE_CHECKING:
    from abserve.cluster import Home
    from abserve.promotion import Kubernetes

SYSTEM_PARTS = ("cluster", "envoy", "rclone", "console", "recorder")
"""The parts of a local cluster that write a log, by the file's name."""

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Source:
    """One log: `name` stands before its lines where there are several."""

    name: str
    lines: Callable[[], Iterator[str]]


@click.command("logs")
@click.argument("name", required=False, shell_complete=complete_deployments)
@click.argument("predictor", required=False, shell_complete=complete_predictors)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is said from now on.")
@click.option("--tail", "n_lines", type=click.IntRange(min=0), help="Only the last so many lines.")
@click.option("--previous", "-p", is_flag=True, help="The run before the last restart.")
@click.option("--system", is_flag=True, help="The local cluster's own parts instead.")
@click.pass_obj
def logs_command(
    context: Context,
    name: str | None,
    predictor: str | None,
    follow: bool,
    n_lines: int | None,
    previous: bool,
    system: bool,
) -> None:
    """Show the logs of the SeldonDeployment NAME, of all its predictors or of one."""
    if system:
        if name or previous:
            raise click.UsageError(
                "--system shows the local cluster's own parts: leave out NAME and --previous"
            )
        sources = _system_sources(context.home, n_lines, follow=follow)
    elif name is None:
        raise click.UsageError("name a SeldonDeployment, or use --system for the local cluster")
    else:
        cluster = context.kubernetes()
        sources = _replica_sources(
            cluster, name, predictor, n_lines=n_lines, follow=follow, previous=previous
        )
    for prefix, line in as_they_come(sources) if follow else one_after_another(sources):
        click.echo(f"{prefix}: {line}" if len(sources) > 1 else line)


def _replica_sources(
    cluster: "Kubernetes",
    name: str,
    predictor: str | None,
    *,
    n_lines: int | None,
    follow: bool,
    previous: bool,
) -> list[Source]:
    from abserve.seldon import SeldonDeployment, service_name

    deployment = SeldonDeployment.parse(cluster.get(name))
    names = [each.name for each in deployment.spec.predictors]
    if predictor is not None and predictor not in names:
        close = get_close_matches(predictor, names, n=1)
        raise KubernetesError(
            f"SeldonDeployment {name!r} has no predictor {predictor!r}, expected one of "
            f"{', '.join(names)}" + (f"; did you mean {close[0]!r}?" if close else "")
        )
    by_service = {
        service_name(deployment, each): each
        for each in deployment.spec.predictors
        if predictor in {None, each.name}
    }
    sources = [
        Source(
            f"{by_service[pod.service].name}/{pod.name}",
            partial(
                cluster.log,
                pod.name,
                by_service[pod.service].graph.name,
                n_lines=n_lines,
                follow=follow,
                previous=previous,
            ),
        )
        for pod in cluster.pods(name)
        if pod.service in by_service
    ]
    if not sources:
        raise KubernetesError(
            f"no replica of {predictor or name!r} runs; see 'kubectl describe sdep {name}'"
        )
    return sources


def _system_sources(home: "Home", n_lines: int | None, *, follow: bool) -> list[Source]:
    sources = [
        Source(part, partial(_lines_of, log, n_lines, home if follow else None))
        for part in SYSTEM_PARTS
        if (log := home.logs / f"{part}.log").exists()
    ]
    if not sources:
        raise ClusterError(
            f"no local cluster has run in {home.folder}; start one with 'abserve up', or name its "
            "folder with --home"
        )
    return sources


def _lines_of(log: Path, n_lines: int | None, running: "Home | None") -> Iterator[str]:
    """Yield the lines of a file; those still to come too, for as long as a cluster runs."""
    with log.open(errors="replace") as file:
        yield from (line.rstrip("\n") for line in deque(file, maxlen=n_lines))
        while running is not None:
            # Asked first, so that what it said before it ended is read.
            going_on = running.cluster() is not None
            yield from (line.rstrip("\n") for line in file)
            if not going_on:
                break
            time.sleep(_POLL_SECONDS)


def one_after_another(sources: Sequence[Source]) -> Iterator[tuple[str, str]]:
    """Yield all lines with the names of their sources; what cannot be read is told at the end."""
    errors = []
    for source in sources:
        try:
            yield from ((source.name, line) for line in source.lines())
        except AbserveError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def as_they_come(sources: Sequence[Source]) -> Iterator[tuple[str, str]]:
    """Yield the lines of all sources as they are said, until the last has ended."""
    said: queue.SimpleQueue[tuple[str, str | Exception | None]] = queue.SimpleQueue()

    def read(source: Source) -> None:
        end = None
        try:
            for line in source.lines():
                said.put((source.name, line))
        except Exception as error:  # noqa: BLE001 - raised below, where somebody sees it
            end = error
        said.put((source.name, end))

    for source in sources:
        # Nobody waits for a thread that waits for a line.
        threading.Thread(target=read, args=(source,), daemon=True).start()
    n_open = len(sources)
    errors = []
    while n_open:
        name, line = said.get()
        if isinstance(line, str):
            yield name, line
            continue
        n_open -= 1
        if line is not None:
            errors.append(line)
    if errors:
        raise errors[0]
