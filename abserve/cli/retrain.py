"""``abserve retrain``: by hand, by a schedule, or when the rows of late are others than before."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from abserve.cli.completing import complete_deployments, complete_models
from abserve.cli.context import Context, echo_json, json_option, timeout_option
from abserve.cli.lasting import ending_by_signals, read_period, repeat, say_now
from abserve.cli.prometheus_options import prometheus_options
from abserve.cli.retraining import FIRST_WEIGHT, Retraining
from abserve.cli.training import Trainer, trainer_options, training_package
from abserve.errors import AbserveError

if TYPE_CHECKING:
    from abserve.rollout.prometheus_api import Access


@click.command("retrain")
@click.argument("model", shell_complete=complete_models)
@click.option(
    "--name",
    shell_complete=complete_deployments,
    help="The SeldonDeployment that serves MODEL: by default the one with its name.",
)
@click.option(
    "--like",
    metavar="VERSION",
    help="Which version that the definition describes: by default the newest.",
)
@click.option(
    "--published",
    metavar="VERSION",
    help="Train nothing: open the experiment with a version that is published already.",
)
@click.option(
    "--if-drift",
    "bar",
    type=click.FloatRange(min=0),
    metavar="INDEX",
    help="Only if the drift of a feature is above this population stability index, as 0.25.",
)
@click.option(
    "--if-idle",
    is_flag=True,
    help="Only if no experiment is going on: otherwise there is nothing to do, and that is no "
    "failure.",
)
@click.option(
    "--every",
    "period_seconds",
    callback=read_period,
    metavar="PERIOD",
    help="Stay, and do it again after each PERIOD: 30m, 24h or 7d. What fails is told.",
)
@click.option(
    "--experiment",
    "experiment_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Says the candidate's first weight: by default manifests/base/NAME/experiment.yaml, and "
    f"{FIRST_WEIGHT} % if there is none.",
)
@trainer_options
@prometheus_options
@timeout_option
@json_option
@click.pass_context
def retrain_command(
    click_context: click.Context,
    /,
    model: str,
    name: str | None,
    like: str | None,
    published: str | None,
    bar: float | None,
    if_idle: bool,
    period_seconds: float | None,
    experiment_file: Path | None,
    repository: str | None,
    models: Path,
    settings: Path,
    private_key_file: Path | None,
    tracking_uri: str | None,
    prometheus: "Access | None",
    timeout_seconds: float,
    as_json: bool,
) -> None:
    """Train MODEL again, publish it under the next number, and open an experiment with it.

    A version that passes the gates becomes the candidate of the SeldonDeployment, beside the
    version that serves now, with the first weight of the experiment. While an experiment is going
    on, nothing is trained.

    The exit code is 0 if that is done or there was no reason to, and 1 if anything failed, a gate
    among it. An experiment that is going on is a failure as well, unless --if-idle is given.
    """
    _check_usage(click_context, like=like, published=published, bar=bar, every=period_seconds)
    context: Context = click_context.obj
    retraining = Retraining(
        context,
        model,
        name or model,
        like,
        published,
        bar,
        if_idle,
        experiment_file,
        Trainer(models, settings, context.repository_url(repository), private_key_file),
        prometheus,
        timeout_seconds,
        as_json,
    )

    def attempt() -> None:
        answer = retraining.attempt()
        if as_json and period_seconds is not None:
            click.echo(json.dumps(answer.json))
        elif as_json:
            echo_json(answer.json)
        else:
            for line in answer.lines:
                click.echo(line)
        # Last, because nothing else waits for it, and a server that is down is told.
        if answer.trained is not None and tracking_uri is not None:
            trained = answer.trained
            training_package().log(trained.metadata, trained.files, trained.url, tracking_uri)

    def attempt_whatever_comes() -> None:
        try:
            attempt()
        except AbserveError as error:
            say_now(f"{model}: {error}")

    if period_seconds is None:
        attempt()
        return
    from abserve.rollout.world import SystemClock

    with ending_by_signals(lambda: say_now(f"{model}: ended")):
        repeat(period_seconds, SystemClock(), attempt_whatever_comes)


def _check_usage(
    context: click.Context,
    *,
    like: str | None,
    published: str | None,
    bar: float | None,
    every: float | None,
) -> None:
    if published and (like or bar is not None or every is not None):
        raise click.UsageError(
            "--published opens an experiment with what is there; leave out --like, --if-drift and "
            "--every, which say what to train and when"
        )
    # It may stand in the environment, for other commands.
    stated = context.get_parameter_source("prometheus_url") is ParameterSource.COMMANDLINE
    if stated and bar is None:
        raise click.UsageError(
            "--prometheus says where drift is read; name the bar with --if-drift"
        )
