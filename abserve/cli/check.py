"""``abserve check``: what is wrong with manifests, before anything of them is applied."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from abserve.cli.context import echo_json, json_option

if TYPE_CHECKING:
    from abserve.manifests import Versions

MANIFESTS = Path("manifests")

_folder = click.Path(exists=True, file_okay=False, path_type=Path)
_existing = click.Path(exists=True, path_type=Path)


@click.command("check")
@click.argument("folders", nargs=-1, type=_folder, metavar="[FOLDER]...")
@click.option(
    "--manifests",
    type=click.Path(file_okay=False, path_type=Path),
    default=MANIFESTS,
    show_default=True,
    help="Where what a FOLDER refers to may be as well; checked whole if no FOLDER is named.",
)
@click.option(
    "--kubernetes",
    metavar="VERSION",
    help="Version of Kubernetes whose schemas documents are held against; 1.31 by default.",
)
@click.option(
    "--crds",
    type=_existing,
    multiple=True,
    metavar="PATH",
    help="File or folder of CustomResourceDefinitions: they come before the schemas that abserve "
    "has, and add other kinds. Repeatable.",
)
@click.option(
    "--repository",
    envvar="ABSERVE_REPOSITORY",
    metavar="URL",
    help="Model repository that has to hold the versions; by default $ABSERVE_REPOSITORY, "
    "else none is asked.",
)
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Who has to have signed the versions: by default $ABSERVE_PUBLIC_KEY, else nobody.",
)
@click.option("--published", is_flag=True, help="Images have to be published: no digest of zeros.")
@json_option
def check_command(
    folders: tuple[Path, ...],
    manifests: Path,
    kubernetes: str | None,
    crds: tuple[Path, ...],
    repository: str | None,
    public_key: Path | None,
    published: bool,
    as_json: bool,
) -> None:
    """Check manifests: render each FOLDER, and hold what comes out against every rule.

    A FOLDER is a kustomization, or holds some; of those, what no other includes is checked. Exits
    with 1 if there is an error. A note is no error: it says what could not be looked at.
    """
    from abserve.manifests import KUBERNETES, Rules, Schemas, check

    schemas = Schemas(kubernetes or KUBERNETES, crds)
    rules = Rules(schemas, _versions(repository, public_key), published)
    checked = check(folders or (manifests,), rules, tree=manifests)
    if as_json:
        echo_json(
            {
                "n_kustomizations": checked.n_kustomizations,
                "n_documents": checked.n_documents,
                "n_errors": checked.n_errors,
                "findings": [each.to_json() for each in checked.findings],
            }
        )
    else:
        from rich.console import Console

        from abserve.cli.render_check import checked_page

        Console().print(checked_page(checked))
    if checked.n_errors:
        raise click.exceptions.Exit(1)


def _versions(repository: str | None, public_key: Path | None) -> "Versions | None":
    if repository is None:
        if public_key is not None:
            raise click.UsageError("--public-key checks versions of a --repository: name that too")
        return None
    from abserve.manifests import Versions
    from abserve.repository import Repository
    from abserve.signatures import public_key_from_environment

    return Versions(Repository(repository), public_key or public_key_from_environment())
