"""What commands that train have in common; the one place that calls the training package.

::

    definition ─┐
    repository ─┼─> train_version ─> published ─> tracked, if a tracking server is named
    cluster ────┘      against the version that serves now
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from abserve.cli.context import Context, repository_option
from abserve.errors import AbserveError, DefinitionError, KubernetesError, ManifestError

if TYPE_CHECKING:
    import training
    from abserve.keys import PrivateKey
    from abserve.repository import Repository

MODELS = Path("models")
SETTINGS = Path("model-settings")

Report = Callable[[str, str], None]
"""Told which step is at work, and what it is doing."""

_Command = TypeVar("_Command", bound="Callable[..., Any]")

# A cluster that nobody started, or that is far away, does not hold up a training.
_CLUSTER_SECONDS = 5.0
_FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True)
class Trainer:
    """Where definitions lie, where versions go, and who signs and tracks them.

    Parameters
    ----------
    models, settings : Path
        The folders ``models/`` and ``model-settings/``.
    repository_url : str
        Where versions are published.
    private_key_file : Path or None
        What signs them; None for the key that the environment names, if it does.
    tracking_uri : str or None
        Where runs are logged, if at all.
    """

    models: Path
    settings: Path
    repository_url: str
    private_key_file: Path | None = None
    tracking_uri: str | None = None

    def definition(self, model: str) -> "training.Definition":
        """Read what to train for `model`."""
        definition: training.Definition = training_package().read_definition(self.models, model)
        return definition

    @cached_property
    def repository(self) -> "Repository":
        """The model repository, opened when it is first asked for."""
        from abserve.repository import Repository

        return Repository(self.repository_url)

    def defined_models(self) -> tuple[str, ...]:
        """Return the models that have a definition, by name.

        Raises
        ------
        DefinitionError
            If there is none.
        """
        found = tuple(sorted(path.stem for path in self.models.glob("*.yaml")))
        if not found:
            raise DefinitionError(
                f"{self.models} holds no model definition; expected files such as iris.yaml: name "
                "another folder with --models"
            )
        return found

    def train(
        self,
        definition: "training.Definition",
        described_as: str,
        version: str | None,
        against: str | None,
        report: Report,
    ) -> "training.Published":
        """Train what the definition describes, and publish it as `version` or the next free one.

        Raises
        ------
        AbserveError
            If a step fails, a gate among them, and nothing is published; or if the version is
            published and could not be logged.
        """
        package = training_package()
        order = package.Order(definition, described_as, version, against)
        key = self._private_key()
        published: training.Published = package.train(
            order, self.repository, self.settings, report, key
        )
        if self.tracking_uri is not None:
            report("track", f"logging the run to {self.tracking_uri}")
            package.log(published.metadata, published.files, published.url, self.tracking_uri)
        return published

    def _private_key(self) -> "PrivateKey | None":
        from abserve.keys import read_private_key
        from abserve.signatures import private_key_from_environment

        if self.private_key_file is not None:
            return read_private_key(self.private_key_file)
        return private_key_from_environment()


def newest_described(definition: "training.Definition", like: str | None) -> str:
    """Return the version of a definition to train: `like`, or the one with the highest number.

    Raises
    ------
    DefinitionError
        If it does not describe `like`.
    """
    from abserve.names import version_number

    if like is not None:
        definition.estimator(like)
        return like
    return max(definition.versions, key=version_number)


def served_versions(
    context: Context, definitions: "Iterable[training.Definition]"
) -> Mapping[str, str]:
    """Return the version that the cluster's baseline serves, of models that have one.

    The cluster is asked once for all, and not at all if no gate compares. Where none can be asked
    the answer is empty.
    """
    compared = [each.model for each in definitions if each.gates.serving]
    if not compared:
        return {}
    from abserve.promotion.candidate import read_baseline

    documents = []
    found = {}
    # Training goes on without a cluster, and beside one that serves something else by a name.
    with contextlib.suppress(KubernetesError):
        documents = context.kubernetes(_CLUSTER_SECONDS).deployments()
    by_name = {document["metadata"]["name"]: document for document in documents}
    for model in compared:
        with contextlib.suppress(ManifestError):
            if model in by_name:
                found[model] = read_baseline(by_name[model], model).version
    return found


def compared_with(
    definition: "training.Definition", repository: "Repository", served: str | None
) -> str | None:
    """Return the version that gates compare with: what is served, or else the newest published.

    None if nothing is compared, or there is nothing to compare with.
    """
    if not definition.gates.serving:
        return None
    published = repository.versions(definition.model)
    if served in published:
        return served
    return published[-1] if published else None


def held_out_rows(model: str, models: Path) -> tuple[list[list[float]], list[str]]:
    """Return the rows of a model's data that no version was fitted on, and their ground truth."""
    package = training_package()
    rows, truths = package.held_out(package.read_definition(models, model))
    return rows.tolist(), truths


def training_package() -> ModuleType:
    """Import the training package.

    Only when something is trained: scikit-learn takes seconds, and a machine that only operates a
    cluster need not have it.

    Raises
    ------
    AbserveError
        If what it needs is not installed.
    """
    try:
        import training
    except ModuleNotFoundError as error:
        raise AbserveError(
            f"training needs {error.name}, which is not installed; "
            "install abserve with its 'train' extra"
        ) from error
    return training


def trainer_options(command: _Command) -> _Command:
    """Give a command the options of a `Trainer`, which `trainer_of` makes of them."""
    for option in (
        click.option(
            "--mlflow",
            "tracking_uri",
            envvar="MLFLOW_TRACKING_URI",
            metavar="URI",
            help="Log the run to this MLflow tracking server or folder: by default "
            "$MLFLOW_TRACKING_URI, else nowhere.",
        ),
        click.option(
            "--private-key",
            "private_key_file",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Sign the version with this key: by default that of the environment, if any.",
        ),
        click.option(
            "--settings",
            type=_FOLDER,
            default=SETTINGS,
            show_default=True,
            help="Folder of the model settings.",
        ),
        click.option(
            "--models",
            type=_FOLDER,
            default=MODELS,
            show_default=True,
            help="Folder of the model definitions.",
        ),
    ):
        command = option(command)
    return repository_option(command)
