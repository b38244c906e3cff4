"""``abserve status``, ``weights``, ``promote``, ``rollback``: on the local cluster or any other."""

from collections.abc import Mapping
from typing import Any

import click

from abserve.cli.completing import complete_deployments, complete_weights
from abserve.cli.context import Context, echo_json, json_option, timeout_option
from abserve.cli.progress import Progress
from abserve.weights import Weights


@click.command("status")
@click.argument("name", required=False, shell_complete=complete_deployments)
@click.option("--all-namespaces", "-A", "everywhere", is_flag=True, help="List all namespaces.")
@click.option("--gateway", metavar="URL", envvar="ABSERVE_GATEWAY", help="The gateway's base URL.")
@json_option
@click.pass_obj
def status_command(
    context: Context, name: str | None, everywhere: bool, gateway: str | None, as_json: bool
) -> None:
    """Show who serves the SeldonDeployment NAME, with which weight, and how well.

    Without NAME, list all of the namespace, and where the cluster's parts are.
    """
    if name is None:
        _list(context, gateway, everywhere=everywhere, as_json=as_json)
    elif everywhere:
        raise click.UsageError(f"--all-namespaces lists all: leave out {name!r} or the option")
    else:
        _show(context, name, gateway, as_json=as_json)


def _show(context: Context, name: str, gateway: str | None, *, as_json: bool) -> None:
    from abserve.promotion import read_status

    status = read_status(context.kubernetes(), name, gateway)
    if as_json:
        echo_json(status.to_json())
    else:
        from rich.console import Console

        from abserve.cli.render import status_table

        Console().print(status_table(status))
        if status.gateway:
            click.echo(f"inference requests go to {status.gateway}")


def _list(context: Context, gateway: str | None, *, everywhere: bool, as_json: bool) -> None:
    from abserve.promotion import gateway_of, list_deployments

    running = context.home.cluster()
    if not as_json:
        # Said first, because what follows may fail for this very reason.
        what = "a local cluster is" if running else "no local cluster is"
        click.echo(f"{what} running in {context.home.folder}")
    cluster = context.kubernetes()
    deployments = list_deployments(cluster, everywhere=everywhere)
    gateway = gateway or gateway_of(cluster)
    # The console belongs to the local cluster; another one's gateway is not beside it.
    own = running if running is not None and running.api_url == cluster.server else None
    console = own.console_url if own else None
    if as_json:
        echo_json(
            {
                "server": cluster.server,
                "namespace": None if everywhere else cluster.namespace,
                "local_cluster": running.model_dump(mode="json") if running else None,
                "gateway": gateway,
                "console": console,
                "deployments": [each.to_json() for each in deployments],
            }
        )
        return
    from rich.console import Console

    from abserve.cli.render import deployments_table

    click.echo(f"Kubernetes API: {cluster.server}")
    click.echo(f"gateway: {gateway or 'not published; name it with --gateway'}")
    if console:
        click.echo(f"console: {console}")
    if deployments:
        click.echo()
        Console().print(deployments_table(deployments, everywhere=everywhere))
    else:
        place = "any namespace" if everywhere else f"namespace {cluster.namespace}"
        click.echo(f"there is no SeldonDeployment in {place}")


@click.command("weights")
@click.argument("name", shell_complete=complete_deployments)
@click.argument(
    "assignments",
    nargs=-1,
    required=True,
    metavar="VARIANT=PERCENT...",
    shell_complete=complete_weights,
)
@timeout_option
@json_option
@click.pass_obj
def weights_command(
    context: Context,
    name: str,
    assignments: tuple[str, ...],
    timeout_seconds: float,
    as_json: bool,
) -> None:
    """Give the variants of the SeldonDeployment NAME new weights, which sum to 100."""
    from abserve.promotion import set_weights

    weights = Weights.parse(assignments)
    cluster = context.kubernetes()
    with Progress(f"{name}: changing weights", to_stderr=as_json) as progress:
        set_weights(cluster, name, weights, timeout_seconds, progress.wait_for)
    if as_json:
        echo_json(
            {"name": name, "namespace": cluster.namespace, "weights": dict(weights.by_variant)}
        )
    else:
        shown = ", ".join(f"{variant} {weight} %" for variant, weight in weights.by_variant.items())
        click.echo(f"{name}: {shown}")


@click.command("promote")
@click.argument("name", shell_complete=complete_deployments)
@timeout_option
@json_option
@click.pass_obj
def promote_command(context: Context, name: str, timeout_seconds: float, as_json: bool) -> None:
    """Make the candidate of the SeldonDeployment NAME its baseline, with all requests."""
    from abserve.promotion import promote

    cluster = context.kubernetes()
    with Progress(f"{name}: promoting", to_stderr=as_json) as progress:
        promoted = promote(cluster, name, progress.say, timeout_seconds, progress.wait_for)
    _say_who_serves(promoted, as_json=as_json)


@click.command("rollback")
@click.argument("name", shell_complete=complete_deployments)
@click.option("--remove", is_flag=True, help="Remove the candidate also if it is ready.")
@timeout_option
@json_option
@click.pass_obj
def rollback_command(
    context: Context, name: str, remove: bool, timeout_seconds: float, as_json: bool
) -> None:
    """Send all requests of the SeldonDeployment NAME to its baseline.

    The candidate stays, with weight 0. If it is not ready, it is removed: while it is there, no
    change of the weights would come into force.
    """
    from abserve.promotion import roll_back

    cluster = context.kubernetes()
    with Progress(f"{name}: rolling back", to_stderr=as_json) as progress:
        document = roll_back(
            cluster, name, progress.say, timeout_seconds, progress.wait_for, remove=remove
        )
    _say_who_serves(document, as_json=as_json)


def _say_who_serves(document: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the one variant that has all requests, whatever else there is."""
    from abserve.seldon import SeldonDeployment, weights_of

    deployment = SeldonDeployment.parse(document)
    weights = weights_of(deployment).by_variant
    variant = max(weights, key=lambda each: weights[each])
    uri = deployment.predictor(variant).graph.model_uri
    if as_json:
        echo_json(
            {
                "name": deployment.name,
                "namespace": deployment.namespace,
                "variant": variant,
                "model_uri": uri,
                "weight": weights[variant],
            }
        )
    else:
        click.echo(f"{deployment.name}: {variant} serves {uri} with {weights[variant]} %")
