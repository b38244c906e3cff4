"""``abserve rollout`` and ``abserve replay``: the controller, and its log computed again."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abserve.cli.completing import complete_deployments
from abserve.cli.context import Context, echo_json, json_option, timeout_option
from abserve.cli.lasting import ending_by_signals, say_now
from abserve.cli.prometheus_options import prometheus_options

if TYPE_CHECKING:
    from abserve.analysis import Experiment
    from abserve.promotion import Kubernetes
    from abserve.promotion.leases import Leadership
    from abserve.rollout.history import History
    from abserve.rollout.prometheus_api import Access
    from abserve.rollout.records import End, Record
    from abserve.rollout.state import State
    from abserve.rollout.world import World

# Seconds between two samples of a replica, and a little: those of the recorder, of Prometheus.
_RECORDED, _SCRAPED = 6.0, 60.0
_LOOK_SECONDS = 2.0
# Names a file that a probe may look at: it gets old when the loop is stuck.
_ALIVE_FILE = "ABSERVE_ALIVE_FILE"

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("rollout")
@click.argument("name", shell_complete=complete_deployments)
@click.option(
    "--experiment",
    "experiment_file",
    type=_FILE,
    metavar="FILE",
    help="What is to be shown: by default manifests/base/NAME/experiment.yaml.",
)
@prometheus_options
@click.option(
    "--settling",
    "settling_seconds",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long samples take: so long after new weights nothing is counted. By default "
    f"{_RECORDED:g}, and {_SCRAPED:g} with Prometheus; more than a replica's time between samples.",
)
@click.option("--new", "anew", is_flag=True, help="Begin anew, whatever has begun or come out.")
@click.option(
    "--keep-watching",
    is_flag=True,
    help="Never end: begin a rollout whenever there are two new versions to compare.",
)
@click.option(
    "--log-folder",
    type=_FOLDER,
    metavar="FOLDER",
    help="Where the audit logs are: by default rollouts/NAMESPACE/NAME in --home.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Show Prometheus where the rollout stands, at /metrics; 0 takes any port.",
)
@timeout_option
@json_option
@click.pass_context
def rollout_command(
    click_context: click.Context,
    /,
    name: str,
    experiment_file: Path | None,
    prometheus: "Access | None",
    settling_seconds: float | None,
    anew: bool,
    keep_watching: bool,
    log_folder: Path | None,
    metrics_port: int | None,
    timeout_seconds: float,
    as_json: bool,
) -> None:
    """Raise the weight of the candidate of the SeldonDeployment NAME, and promote it or roll back.

    What it learns, decides and does is in an audit log, with which it goes on if it is ended in
    between. The exit code is 0 if the rollout came to its end, and 1 if nothing can be concluded.
    """
    from abserve.rollout import audit
    from abserve.rollout.controller import Controller, as_leader
    from abserve.rollout.experiment import load_experiment
    from abserve.rollout.exposing import Exposed, serve
    from abserve.rollout.stepping import Pace
    from abserve.rollout.world import SystemClock, World

    context: Context = click_context.obj
    cluster, clock = context.kubernetes(), SystemClock()
    settling = settling_seconds
    if settling is None:
        settling = _SCRAPED if prometheus else _RECORDED
    pace = Pace(settling, keeping_seconds=settling, look_seconds=_LOOK_SECONDS)
    history = _history(context, cluster, prometheus)
    tell = _teller(cluster, as_json=as_json)
    file = experiment_file or Path("manifests", "base", name, "experiment.yaml")
    controller = Controller(
        log_folder or audit.log_folder(context.home.folder, cluster.namespace, name),
        lambda: load_experiment(file),
        given=experiment_file is not None,
        anew=anew,
    )

    exposed = Exposed(name)
    if metrics_port is not None:
        say_now(f"metrics at http://localhost:{serve(exposed, metrics_port)}/metrics")

    def world(leading: "Leadership") -> "World":
        from abserve.promotion.applying import Applying

        return World(
            Applying(cluster, leading.check),
            cluster.namespace,
            name,
            history,
            leading,
            clock,
            pace,
            timeout_seconds,
            tell,
            say_now,
            exposed.look,
            exposed.found,
        )

    def lead(leading: "Leadership") -> "End | None":
        try:
            if not keep_watching:
                return controller.run(world(leading))
            controller.keep_watching(world(leading))
        finally:
            exposed.stand_by()
        return None

    def leadership() -> "Leadership":
        from abserve.promotion.leases import Leadership

        identity = f"{socket.gethostname()}_{os.getpid()}"
        alive = os.environ.get(_ALIVE_FILE)
        return Leadership(
            cluster,
            f"abserve-rollout-{name}",
            identity,
            report=say_now,
            alive_file=Path(alive) if alive else None,
        )

    with ending_by_signals(
        lambda: say_now(f"ended before the rollout: 'abserve rollout {name}' goes on with it")
    ):
        end = as_leader(leadership, clock, say_now, lead)
    if end is None:
        return
    if not as_json:
        click.echo(f"{name}: {end.text}")
    click_context.exit(1 if end.outcome == "invalid" else 0)


@click.command("replay")
@click.argument("log", type=_FILE)
@json_option
@click.pass_context
def replay_command(click_context: click.Context, /, log: Path, as_json: bool) -> None:
    """Compute every decision of the audit log LOG again, and compare bit for bit.

    The exit code is 0 if all are the same, and 1 if the log was changed or one differs.
    """
    from abserve.rollout.replay import replay

    found = replay(log)
    if as_json:
        echo_json(found.to_json())
    elif found.difference:
        click.echo(f"{log}, {found.difference}", err=True)
    else:
        click.echo(f"{found.n_blocks} blocks, {found.n_decisions} decisions: all the same")
    click_context.exit(1 if found.difference else 0)


def _history(
    context: Context, cluster: "Kubernetes", access: "Access | None"
) -> "Callable[[Experiment, str], History]":
    from abserve.errors import ExperimentError
    from abserve.rollout.prometheus import PrometheusHistory
    from abserve.rollout.recording import Recording

    if access:
        return lambda experiment, model: PrometheusHistory(
            access, cluster.namespace, model, experiment
        )
    running = context.home.cluster()
    if running is None or running.api_url != cluster.server:
        raise ExperimentError(
            f"nothing says what is counted: {cluster.server} is not the local cluster in "
            f"{context.home.folder}, which records it; name a Prometheus that does with "
            "--prometheus URL"
        )
    recording = Recording(context.home.recording)
    return lambda experiment, _: recording.history(cluster.namespace, experiment.deployment)


def _teller(cluster: "Kubernetes", *, as_json: bool) -> "Callable[[State, Record], None]":
    """Return what shows each record, and announces it in the cluster."""
    from abserve.cli.render_rollout import lines_of
    from abserve.rollout.announcing import Announcer
    from abserve.rollout.audit import json_line

    announcer = Announcer(cluster, say_now)

    def tell(before: "State", record: "Record") -> None:
        if as_json:
            click.echo(json_line(record))
        else:
            for line in lines_of(before, record):
                click.echo(line)
        announcer.announce(before.begin, record)

    return tell
