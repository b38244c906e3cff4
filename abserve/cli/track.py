"""``abserve models track``: log a version to MLflow that was published earlier."""

import json

import click

from abserve.cli.completing import complete_published_models, complete_versions
from abserve.cli.context import Context, echo_json, json_option, repository_option
from abserve.cli.described import read_metadata_of
from abserve.cli.training import training_package


@click.command("track")
@click.argument("model", shell_complete=complete_published_models)
@click.argument("version", shell_complete=complete_versions)
@repository_option
@click.option(
    "--mlflow",
    "tracking_uri",
    required=True,
    envvar="MLFLOW_TRACKING_URI",
    metavar="URI",
    help="The tracking server or folder: by default $MLFLOW_TRACKING_URI.",
)
@json_option
@click.pass_obj
def track_command(
    context: Context,
    model: str,
    version: str,
    repository: str | None,
    tracking_uri: str,
    as_json: bool,
) -> None:
    """Log a published version of MODEL to MLflow, unless it is logged already."""
    from abserve.artifacts import CARD, CHECKSUMS, METADATA
    from abserve.repository import Repository

    opened = Repository(context.repository_url(repository))
    metadata = read_metadata_of(opened, model, version)
    # What was published before there were cards has none.
    present = json.loads(opened.read(model, version, CHECKSUMS))["sha256"]
    files = {
        name: opened.read(model, version, name) for name in (CARD, METADATA) if name in present
    }
    url = f"{opened.url}/{model}/{version}"
    run = training_package().log(metadata, files, url, tracking_uri)
    if as_json:
        echo_json({"model": model, "version": version, "run_id": run})
    else:
        click.echo(f"{model} {version} is run {run} of the experiment {model!r}")
