"""What the shell completes: names that the cluster knows, and those of the model repository.

A shell asks at every press of its key, and shows whatever is printed. So both get a moment to
answer, and if they do not, nothing is offered.
"""

import contextlib
from collections.abc import Callable, Iterable
from threading import Thread
from typing import TYPE_CHECKING, Any

import click

from abserve.cli.context import Context
from abserve.errors import AbserveError

if TYPE_CHECKING:
    from abserve.repository import Repository

_PATIENCE_SECONDS = 0.5
_STORE_PATIENCE_SECONDS = 2.0
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


def complete_published_models(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the models that have a version in the repository."""
    return _beginning(incomplete, _asked(context, lambda repository: repository.models()))


def complete_versions(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the versions of the model that are in the repository."""
    model = context.params.get("model")
    found = _asked(context, lambda repository: repository.versions(model)) if model else ()
    return _beginning(incomplete, found)


def _asked(context: click.Context, ask: "Callable[[Repository], tuple[str, ...]]") -> Iterable[str]:
    from abserve.repository import Repository

    found: list[str] = []

    def run() -> None:
        with contextlib.suppress(AbserveError):
            url = _context(context).repository_url(context.params.get("repository"))
            found.extend(ask(Repository(url)))

    # A store takes its time to say that it does not answer.
    asking = Thread(target=run, daemon=True)
    asking.start()
    asking.join(_STORE_PATIENCE_SECONDS)
    return tuple(found)


def _deployments(context: click.Context) -> list[dict[str, Any]]:
    try:
        return _context(context).kubernetes(_PATIENCE_SECONDS).deployments()
    except AbserveError:
        return []


def _context(context: click.Context) -> Context:
    root = context.find_root().params
    return Context.of(root["home"], root["kubeconfig"], root["namespace"])


def _predictors(context: click.Context) -> list[dict[str, Any]]:
    name = context.params.get("name")
    found = (each for each in _deployments(context) if each["metadata"]["name"] == name)
    return next((each["spec"]["predictors"] for each in found), [])


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
