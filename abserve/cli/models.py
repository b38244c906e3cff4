"""``abserve models``: what is in the model repository, and what may go."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from abserve.cli.completing import complete_published_models, complete_versions
from abserve.cli.context import Context, echo_json, json_option, repository_option
from abserve.cli.described import (
    Described,
    described,
    read_metadata_of,
    uses_if_any,
    uses_of_cluster,
)
from abserve.cli.pruning import DEFAULT_KEEP_DAYS, DEFAULT_KEEP_LAST, Fate, fates, keeping
from abserve.cli.training import MODELS
from abserve.errors import AbserveError, ArtifactError, KubernetesError, RepositoryError

if TYPE_CHECKING:
    from abserve.promotion import Use
    from abserve.repository import Repository

_model = click.argument("model", shell_complete=complete_published_models)
_version = click.argument("version", shell_complete=complete_versions)
_no_cluster = click.option(
    "--no-cluster",
    is_flag=True,
    help="Ask no cluster: none serves versions of this repository.",
)
_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask before anything is deleted.")


@click.group("models")
def models_command() -> None:
    """Look at the versions in the model repository, check them, and delete what is old."""


@models_command.command("list")
@click.argument("model", required=False, shell_complete=complete_published_models)
@repository_option
@json_option
@click.pass_obj
def list_command(
    context: Context, model: str | None, repository: str | None, as_json: bool
) -> None:
    """List the versions of MODEL, or of all models: how good they are, and who uses them."""
    opened = _open(context, repository)
    versions = described(opened, model)
    if model is not None and not versions:
        raise _no_such_model(opened, model)
    uses, unknown = uses_if_any(context)
    if as_json:
        answers = [each.to_json(None if uses is None else _users(uses, each)) for each in versions]
        echo_json({"repository": opened.url, "versions": answers, "cluster_error": unknown})
        return
    from rich.console import Console

    from abserve.cli.render_models import versions_table

    console = Console()
    for name, of_model in _by_model(versions).items():
        users = None
        if uses is not None:
            users = {each.stored.version: _users(uses, each) for each in of_model}
        console.print(versions_table(name, of_model, users))
    if not versions:
        click.echo(f"{opened.url} holds no versions: 'abserve train' publishes one")
    if unknown is not None:
        click.echo(f"who uses them is not known: {unknown}", err=True)


@models_command.command("show")
@_model
@_version
@repository_option
@click.option(
    "--card",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Save the version's card, a page for the browser, as FILE.",
)
@json_option
@click.pass_obj
def show_command(
    context: Context,
    model: str,
    version: str,
    repository: str | None,
    card: Path | None,
    as_json: bool,
) -> None:
    """Show what a version says of itself: where it came from, and how good it is."""
    opened = _open(context, repository)
    metadata = read_metadata_of(opened, model, version)
    if card is not None:
        _save_card(opened, model, version, card)
    if as_json:
        echo_json(metadata.model_dump(mode="json", by_alias=True))
    elif card is not None:
        click.echo(f"the card of {model} {version} is in {card}")
    else:
        from rich.console import Console

        from abserve.cli.render_models import version_page

        uses, _ = uses_if_any(context)
        used_by = None if uses is None else [use for use in uses if use.is_of(model, version)]
        Console().print(version_page(metadata, used_by))


@models_command.command("compare")
@_model
@click.argument("first", metavar="V1", shell_complete=complete_versions)
@click.argument("second", metavar="V2", shell_complete=complete_versions)
@repository_option
@json_option
@click.pass_obj
def compare_command(
    context: Context, model: str, first: str, second: str, repository: str | None, as_json: bool
) -> None:
    """Compare two versions of MODEL: metrics, parameters, data, libraries.

    A difference is V2 less V1. Intervals that do not overlap are a difference in quality;
    intervals that do may still be one: 'abserve analyze' tells from real traffic.
    """
    from abserve.cli.comparison import compare

    opened = _open(context, repository)
    comparison = compare(
        read_metadata_of(opened, model, first), read_metadata_of(opened, model, second)
    )
    if as_json:
        echo_json({"model": model, **comparison.to_json()})
        return
    from rich.console import Console

    from abserve.cli.render_models import comparison_page

    Console().print(comparison_page(model, comparison))


@models_command.command("verify")
@_model
@click.argument("version", required=False, shell_complete=complete_versions)
@repository_option
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Whose signature is expected: by default $ABSERVE_PUBLIC_KEY, else none.",
)
@json_option
@click.pass_obj
def verify_command(
    context: Context,
    model: str,
    version: str | None,
    repository: str | None,
    public_key: Path | None,
    as_json: bool,
) -> None:
    """Check that every file of a version, or of all of MODEL, is what was published.

    With a public key, also that somebody who has the private key signed it.
    """
    from abserve.signatures import public_key_from_environment

    opened = _open(context, repository)
    key = public_key or public_key_from_environment()
    versions = (version,) if version else opened.versions(model)
    if not versions:
        raise _no_such_model(opened, model)
    faults = {each: _fault(opened, model, each, key) for each in versions}
    if as_json:
        answers = [{"version": each, "fault": fault} for each, fault in faults.items()]
        echo_json({"model": model, "signature_checked": key is not None, "versions": answers})
    else:
        good = "as published, and signed" if key else "as published"
        for each, fault in faults.items():
            if fault is None:
                click.echo(f"{model} {each}: {good}")
            else:
                click.echo(f"{model} {each}: {fault}", err=True)
    if any(faults.values()):
        raise click.exceptions.Exit(1)


@models_command.command("delete")
@_model
@_version
@repository_option
@_no_cluster
@_yes
@json_option
@click.pass_obj
def delete_command(
    context: Context,
    model: str,
    version: str,
    repository: str | None,
    no_cluster: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete a version for good, unless a SeldonDeployment uses it."""
    opened = _open(context, repository)
    users = [use for use in _uses(context, no_cluster=no_cluster) if use.is_of(model, version)]
    if users:
        raise RepositoryError(
            f"{model} {version} is used by {', '.join(map(str, users))}; serve another version "
            "there first, or remove that predictor"
        )
    if not yes and not _agreed(f"Delete {model} {version} from {opened.url}?"):
        raise AbserveError("nothing was deleted")
    opened.delete(model, version)
    if as_json:
        echo_json({"model": model, "deleted": [version]})
    else:
        click.echo(f"{model} {version} is deleted from {opened.url}")


@models_command.command("prune")
@click.argument("model", required=False, shell_complete=complete_published_models)
@click.option("--all", "everything", is_flag=True, help="Look at all models of the repository.")
@repository_option
@click.option(
    "--keep-last",
    type=click.IntRange(min=1),
    help=f"How many of the newest stay; by default as defined, else {DEFAULT_KEEP_LAST}.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    help=f"Younger ones stay too; by default as defined, else {DEFAULT_KEEP_DAYS} days.",
)
@click.option(
    "--models",
    type=click.Path(file_okay=False, path_type=Path),
    default=MODELS,
    show_default=True,
    help="Folder of the model definitions.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@_no_cluster
@_yes
@json_option
@click.pass_obj
def prune_command(
    context: Context,
    model: str | None,
    everything: bool,
    repository: str | None,
    keep_last: int | None,
    keep_days: int | None,
    models: Path,
    dry_run: bool,
    no_cluster: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete the old versions of MODEL that no SeldonDeployment uses."""
    if (model is None) != everything:
        raise click.UsageError("name one MODEL, or say --all")
    opened = _open(context, repository)
    versions = _by_model(described(opened, model))
    if model is not None and not versions:
        raise _no_such_model(opened, model)
    uses = _uses(context, no_cluster=no_cluster)
    now = datetime.now(UTC)
    decided = {
        name: fates(of_model, keeping(models, name, keep_last, keep_days), uses, now)
        for name, of_model in versions.items()
    }
    going = [each.stored for of_model in decided.values() for each in _going(of_model)]
    if not as_json:
        from rich.console import Console

        from abserve.cli.render_models import fates_table

        for name, of_model in decided.items():
            Console().print(fates_table(name, of_model))
    if going and not dry_run:
        if not yes and not _agreed(f"Delete {_counted(going)} from {opened.url}?"):
            raise AbserveError("nothing was deleted")
        for each in going:
            opened.delete(each.model, each.version)
    if as_json:
        answers = [_decided_json(name, of_model) for name, of_model in decided.items()]
        echo_json({"dry_run": dry_run, "models": answers})
    else:
        verb = "would be" if dry_run else "was" if len(going) == 1 else "were"
        click.echo(f"{_counted(going)} {verb} deleted")


def _open(context: Context, url: str | None) -> "Repository":
    from abserve.repository import Repository

    return Repository(context.repository_url(url))


def _no_such_model(repository: "Repository", model: str) -> RepositoryError:
    return RepositoryError(
        f"{repository.url} holds no version of {model!r}; there: "
        f"{', '.join(repository.models()) or 'no model'}"
    )


def _by_model(versions: Sequence[Described]) -> dict[str, list[Described]]:
    names = dict.fromkeys(each.stored.model for each in versions)
    return {name: [each for each in versions if each.stored.model == name] for name in names}


def _users(uses: "Sequence[Use]", version: Described) -> "list[Use]":
    return [use for use in uses if use.is_of(version.stored.model, version.stored.version)]


def _uses(context: Context, *, no_cluster: bool) -> "tuple[Use, ...]":
    """Return who uses which version; without knowing that, nothing is deleted."""
    if no_cluster:
        return ()
    try:
        return uses_of_cluster(context)
    except KubernetesError as error:
        raise KubernetesError(
            f"nothing is deleted, because a version may be in use: {error}; if no cluster serves "
            "versions of this repository, say --no-cluster"
        ) from error


def _fault(
    repository: "Repository", model: str, version: str, public_key: Path | None
) -> str | None:
    """Return what is wrong with the files of a version, or None."""
    from abserve.artifacts import read_metadata
    from abserve.signatures import verify_signature

    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / version
        try:
            repository.download(model, version, folder)
            if public_key is not None:
                verify_signature(folder, public_key)
            metadata = read_metadata(folder)
        except ArtifactError as error:
            # The copy is gone when the message is read.
            return str(error).replace(str(folder), f"{repository.url}/{model}/{version}")
    # Checksums and signature are as good in any folder.
    if (metadata.model, metadata.version) != (model, version):
        return (
            f"{repository.url}/{model}/{version} holds {metadata.model} {metadata.version}; "
            "somebody put it in the place of what was published here: find out who, and delete it"
        )
    return None


def _save_card(repository: "Repository", model: str, version: str, file: Path) -> None:
    from abserve.artifacts import CARD

    content = repository.read(model, version, CARD)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise AbserveError(
            f"{file} cannot be written ({error.strerror}); name another file"
        ) from error


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here whether to delete: say --yes")
    return click.confirm(question, err=True)


def _going(decided: Sequence[Fate]) -> list[Described]:
    return [each.version for each in decided if each.kept is None]


def _decided_json(model: str, decided: Sequence[Fate]) -> dict[str, Any]:
    return {
        "model": model,
        "deleted": [each.stored.version for each in _going(decided)],
        "kept": {each.version.stored.version: each.kept for each in decided if each.kept},
    }


def _counted(versions: Sequence[object]) -> str:
    return "1 version" if len(versions) == 1 else f"{len(versions)} versions"
