"""What the shell completes from the cluster: names of SeldonDeployments and of their variants.

A shell asks at every press of its key, and shows whatever is printed. So the cluster gets a moment
to answer, and if it does not, nothing is offered.
"""

from collections.abc import Iterable
from typing import Any

import click

from abserve.cli.context import Context
from abserve.errors import AbserveError

_PATIENCE_SECONDS = 0.5
_SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete abserve's commands and names.

    In bash and zsh: source <(abserve completion bash)

    In fish: abserve completion fish | source
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this version of click completes nothing in {shell}; upgrade it")
    click.echo(found(context.find_root().command, {}, "abserve", "_ABSERVE_COMPLETE").source())


def complete_deployments(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of the namespace's SeldonDeployments."""
    return _beginning(incomplete, (each["metadata"]["name"] for each in _deployments(context)))


def complete_predictors(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of a SeldonDeployment's predictors."""
    return _beginning(incomplete, (each["name"] for each in _predictors(context)))


def complete_weights(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return ``variant=`` for each variant that has no weight on the command line yet."""
    given = {each.partition("=")[0] for each in context.params.get("assignments") or ()}
    names = (each["name"] for each in _predictors(context) if not each.get("shadow"))
    return _beginning(incomplete, (f"{name}=" for name in names if name not in given))


def complete_models(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the models that have a definition."""
    folder = context.params.get("models")
    return _beginning(incomplete, (file.stem for file in folder.glob("*.yaml")) if folder else ())


def _deployments(context: click.Context) -> list[dict[str, Any]]:
    root = context.find_root().params
    try:
        cluster = Context.of(root["home"], root["kubeconfig"], root["namespace"]).kubernetes(
            _PATIENCE_SECONDS
        )
        return cluster.deployments()
    except AbserveError:
        return []


def _predictors(context: click.Context) -> list[dict[str, Any]]:
    name = context.params.get("name")
    found = (each for each in _deployments(context) if each["metadata"]["name"] == name)
    return next((each["spec"]["predictors"] for each in found), [])


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
