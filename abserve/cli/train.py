"""``abserve train``: from definitions to published versions."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from abserve.cli.completing import complete_models
from abserve.cli.context import Context, echo_json, json_option
from abserve.cli.training import (
    Trainer,
    compared_with,
    newest_described,
    served_versions,
    trainer_options,
)
from abserve.errors import AbserveError, GateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import training
    from abserve.repository import Repository


@click.command("train")
@click.argument("model", required=False, shell_complete=complete_models)
@click.option("--all", "every_model", is_flag=True, help="Train every model that is defined.")
@click.option(
    "--version",
    metavar="VERSION",
    help="Which version that the definition describes: by default all that are not published yet.",
)
@click.option(
    "--next",
    "again",
    is_flag=True,
    help="Train a version again, on the data as they are now, and publish it under the next "
    "number that is free.",
)
@click.option(
    "--like", metavar="VERSION", help="With --next: which version, by default the newest described."
)
@click.option(
    "--against",
    metavar="VERSION",
    help="The version that gates compare with: by default the baseline of the SeldonDeployment "
    "with the model's name, else the newest that is published.",
)
@trainer_options
@json_option
@click.pass_obj
def train_command(
    context: Context,
    model: str | None,
    every_model: bool,
    version: str | None,
    again: bool,
    like: str | None,
    against: str | None,
    repository: str | None,
    models: Path,
    settings: Path,
    private_key_file: Path | None,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Train versions of MODEL and publish them to the model repository.

    A version that fails a gate of its definition is published nowhere, and the exit code is 1.
    """
    _refuse_contradictions(model, version, like, every_model=every_model, again=again)
    trainer = Trainer(
        models, settings, context.repository_url(repository), private_key_file, tracking_uri
    )
    names = trainer.defined_models() if model is None else (model,)
    definitions = [trainer.definition(name) for name in names]
    wanted = [
        (definition, list(_wanted(definition, trainer.repository, version, like, again=again)))
        for definition in definitions
    ]
    asked = () if against else (definition for definition, found in wanted if found)
    served = served_versions(context, asked)
    answers: list[dict[str, Any]] = []
    n_failed = 0
    for definition, found in wanted:
        for described_as, number in found:
            serving = against or compared_with(
                definition, trainer.repository, served.get(definition.model)
            )
            try:
                published = _train(
                    trainer, definition, described_as, number, serving, as_json=as_json
                )
            except AbserveError as error:
                _show_gates(error, as_json=as_json and not every_model)
                if not every_model:
                    raise
                # A model that is not good enough does not keep the others from being trained.
                click.echo(f"abserve: {error}", err=True)
                n_failed += 1
            else:
                metadata = published.metadata.model_dump(mode="json", by_alias=True)
                answers.append({"url": published.url, "metadata": metadata})
    if as_json:
        echo_json(answers[0] if version or again else answers)
    elif not answers and not n_failed:
        click.echo("every version that is described is published already")
    if n_failed:
        raise AbserveError(
            f"{n_failed} of {n_failed + len(answers)} versions were not published; what kept "
            "them from it stands above"
        )


def _refuse_contradictions(
    model: str | None, version: str | None, like: str | None, *, every_model: bool, again: bool
) -> None:
    if every_model == (model is not None):
        raise click.UsageError("name a model, or all of them with --all")
    if every_model and (version or again):
        raise click.UsageError("--all trains what is described and not published; name a model")
    if version and again:
        raise click.UsageError("--version names the number, --next takes one that is free")
    if like and not again:
        raise click.UsageError("--like says what --next trains; name the version with --version")


def _wanted(
    definition: "training.Definition",
    repository: "Repository",
    version: str | None,
    like: str | None,
    *,
    again: bool,
) -> "Iterator[tuple[str, str | None]]":
    """Yield what to train: which version the definition describes, and the number it gets."""
    if again:
        yield newest_described(definition, like), None
    elif version is not None:
        yield version, version
    else:
        published = repository.versions(definition.model)
        for described in definition.versions:
            if described not in published:
                yield described, described


def _train(
    trainer: Trainer,
    definition: "training.Definition",
    described_as: str,
    number: str | None,
    serving: str | None,
    *,
    as_json: bool,
) -> "training.Published":
    from abserve.cli.render_training import TrainingProgress, evaluation_in_words

    title = f"{definition.model} {number or f'like {described_as}'}"
    with TrainingProgress(title, to_stderr=as_json) as progress:
        published = trainer.train(definition, described_as, number, serving, progress.report)
    if not as_json:
        metadata = published.metadata
        click.echo(f"{metadata.model} {metadata.version}: {evaluation_in_words(metadata)}")
        for note in metadata.notes:
            click.echo(f"  note: {note}")
        click.echo(f"published to {published.url}")
    return published


def _show_gates(error: AbserveError, *, as_json: bool) -> None:
    """Show which gates failed; the message itself is told where all errors are."""
    if not isinstance(error, GateError):
        return
    if as_json:
        # By way of pydantic's own JSON, where what is no number is null.
        echo_json({"gates": [json.loads(each.model_dump_json()) for each in error.outcomes]})
        return
    from rich.console import Console

    from abserve.cli.render_training import gates_table

    Console(stderr=True).print(gates_table(error.outcomes))
