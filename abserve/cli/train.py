"""``abserve train``, the one place that calls the training package."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click

from abserve.cli.completing import complete_models
from abserve.cli.context import Context, echo_json, json_option, repository_option
from abserve.errors import AbserveError

if TYPE_CHECKING:
    import training

MODELS = Path("models")
SETTINGS = Path("model-settings")


@click.command("train")
@click.argument("model", shell_complete=complete_models)
@click.option("--version", required=True, metavar="VERSION", help="Which version: v1, v2, ...")
@repository_option
@click.option(
    "--models",
    type=click.Path(file_okay=False, path_type=Path),
    default=MODELS,
    show_default=True,
    help="Folder of the model definitions.",
)
@click.option(
    "--settings",
    type=click.Path(file_okay=False, path_type=Path),
    default=SETTINGS,
    show_default=True,
    help="Folder of the model settings.",
)
@json_option
@click.pass_obj
def train_command(
    context: Context,
    model: str,
    version: str,
    repository: str | None,
    models: Path,
    settings: Path,
    as_json: bool,
) -> None:
    """Train a version of MODEL and publish it to the model repository."""
    url = context.repository_url(repository)
    published = train(
        model,
        version,
        url,
        models=models,
        settings=settings,
        report=lambda step: click.echo(f"  {step}", err=as_json),
    )
    if as_json:
        metadata = published.metadata.model_dump(mode="json", by_alias=True)
        echo_json({"url": published.url, "metadata": metadata})
    else:
        click.echo(f"{model} {version}: {evaluation_in_words(published)}")
        click.echo(f"published to {published.url}")


def train(
    model: str,
    version: str,
    repository: str,
    *,
    models: Path,
    settings: Path,
    report: Callable[[str], None],
) -> "training.Published":
    """Train and publish one version; the arguments are those of the command."""
    from abserve.repository import Repository

    package = _training()
    definition = package.read_definition(models, model)
    published: training.Published = package.train(
        definition, version, Repository(repository), settings, report
    )
    return published


def held_out_rows(model: str, models: Path) -> tuple[list[list[float]], list[str]]:
    """Return the rows of a model's data that no version was fitted on, and their classes."""
    training = _training()
    rows, classes = training.held_out(training.read_definition(models, model))
    return rows.tolist(), classes


def evaluation_in_words(published: "training.Published") -> str:
    metadata = published.metadata
    return (
        f"{metadata.estimator.rpartition('.')[2]}, accuracy "
        f"{metadata.evaluation['accuracy']:.3f} on {metadata.n_held_out} held-out rows; "
        f"exported model equal to the fitted one within "
        f"{metadata.parity.largest_probability_difference:.1e}"
    )


def _training() -> ModuleType:
    # Imported only when something is trained: scikit-learn takes seconds, and a machine that only
    # operates a cluster need not have it.
    try:
        import training
    except ModuleNotFoundError as error:
        raise AbserveError(
            f"training needs {error.name}, which is not installed; "
            "install abserve with its 'train' extra"
        ) from error
    return training
