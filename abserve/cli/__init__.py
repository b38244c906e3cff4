"""The command line: each command parses, calls one function, and prints one answer.

Exit codes: 0 done, 1 refused or failed with a message on stderr, 2 wrong usage, 130 interrupted.
Nothing below this package prints.
"""

import sys

import click

from abserve import __version__
from abserve.cli.analyze import analyze_command
from abserve.cli.check import check_command
from abserve.cli.completing import completion_command
from abserve.cli.console import console_command
from abserve.cli.context import Context
from abserve.cli.demo import demo
from abserve.cli.keys import keys_command
from abserve.cli.local import down, up
from abserve.cli.logs import logs_command
from abserve.cli.models import models_command
from abserve.cli.operate import (
    promote_command,
    rollback_command,
    status_command,
    weights_command,
)
from abserve.cli.record import record_command
from abserve.cli.retrain import retrain_command
from abserve.cli.rollout import replay_command, rollout_command
from abserve.cli.score import score_command
from abserve.cli.simulate import simulate_command
from abserve.cli.track import track_command
from abserve.cli.train import train_command
from abserve.errors import AbserveError

# What a shell answers for a command that ctrl-C ended: 128 and the number of the signal.
_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="abserve")
@click.option(
    "--home",
    type=click.Path(file_okay=False),
    default=".abserve",
    envvar="ABSERVE_HOME",
    show_default=True,
    help="Folder of the local cluster.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False),
    help="Cluster to talk to: by default $KUBECONFIG, else the local cluster's, else kubectl's.",
)
@click.option("--namespace", "-n", help="Namespace: by default the kubeconfig's.")
@click.pass_context
def cli(context: click.Context, home: str, kubeconfig: str | None, namespace: str | None) -> None:
    """Serve versions of a model side by side, split the traffic, promote on evidence."""
    context.obj = Context.of(home, kubeconfig, namespace)


for command in (
    train_command,
    retrain_command,
    models_command,
    check_command,
    keys_command,
    up,
    down,
    status_command,
    weights_command,
    simulate_command,
    score_command,
    analyze_command,
    rollout_command,
    replay_command,
    promote_command,
    rollback_command,
    record_command,
    logs_command,
    console_command,
    demo,
    completion_command,
):
    cli.add_command(command)
models_command.add_command(track_command)


def main() -> None:
    """Run the command line; the console script `abserve`."""
    try:
        sys.exit(cli.main(prog_name="abserve", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AbserveError as error:
        click.echo(f"abserve: {error}", err=True)
        sys.exit(1)
    except click.Abort:  # which is what click makes of ctrl-C
        sys.exit(_INTERRUPTED)
