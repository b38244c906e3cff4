"""``abserve status``, ``weights`` and ``promote``: on the local cluster or any other."""

import json

import click
from rich.console import Console

from abserve.cli.context import Context, json_option, timeout_option
from abserve.cli.render import status_table
from abserve.weights import Weights


@click.command("status")
@click.argument("name")
@click.option("--gateway", metavar="URL", envvar="ABSERVE_GATEWAY", help="The gateway's base URL.")
@json_option
@click.pass_obj
def status_command(context: Context, name: str, gateway: str | None, as_json: bool) -> None:
    """Show who serves the SeldonDeployment NAME, with which weight, and how well."""
    from abserve.promotion import read_status

    status = read_status(context.kubernetes(), name, gateway)
    if as_json:
        click.echo(json.dumps(status.to_json(), indent=2))
    else:
        Console().print(status_table(status))
        if status.gateway:
            click.echo(f"inference requests go to {status.gateway}")


@click.command("weights")
@click.argument("name")
@click.argument("assignments", nargs=-1, required=True, metavar="VARIANT=PERCENT...")
@timeout_option
@click.pass_obj
def weights_command(
    context: Context, name: str, assignments: tuple[str, ...], timeout_seconds: float
) -> None:
    """Give the variants of the SeldonDeployment NAME new weights, which sum to 100."""
    from abserve.promotion import set_weights

    weights = Weights.parse(assignments)
    set_weights(context.kubernetes(), name, weights, timeout_seconds)
    shown = ", ".join(f"{variant} {weight} %" for variant, weight in weights.by_variant.items())
    click.echo(f"{name}: {shown}")


@click.command("promote")
@click.argument("name")
@timeout_option
@click.pass_obj
def promote_command(context: Context, name: str, timeout_seconds: float) -> None:
    """Make the candidate of the SeldonDeployment NAME its baseline, with all requests."""
    from abserve.promotion import promote

    promoted = promote(context.kubernetes(), name, click.echo, timeout_seconds)
    serving = promoted["spec"]["predictors"][0]
    click.echo(f"{name}: {serving['name']} serves {serving['graph']['modelUri']} with 100 %")
