"""One training, from a definition to a published version, step by step.

load, validate, split, describe, build, fit, evaluate, export, compare, publish: each step is a
function of its own module, and this one is their order. What cannot succeed is refused before
anything is fitted, and nothing is written before everything has succeeded.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from abserve.artifacts import (
    METADATA,
    MODEL_ONNX,
    MODEL_SKOPS,
    Distribution,
    Metadata,
    Parity,
    seal,
    to_json,
)
from abserve.errors import AbserveError, TrainingError, VersionExistsError
from abserve.repository import Repository
from abserve.schema import Schema
from training import data, export, fit, lineage, reference
from training.definition import Definition
from training.serving import read_serving


@dataclass(frozen=True, slots=True)
class Published:
    """A version that now exists: the URL of its folder, and what it says of itself."""

    url: str
    metadata: Metadata


def train(
    definition: Definition,
    version: str,
    repository: Repository,
    settings_folder: Path,
    report: Callable[[str], None],
) -> Published:
    """Train one version of a model, and publish it.

    Parameters
    ----------
    definition : Definition
        What to train.
    version : str
        One of the versions the definition describes.
    repository : Repository
        Where the version will live; it must not live there yet.
    settings_folder : Path
        The folder ``model-settings/``: how MLServer serves the model.
    report : callable
        Told, before each step, what is being done: ``fitting LogisticRegression on 105 rows``.

    Raises
    ------
    DefinitionError
        If the version is not described, or how to serve the model is not.
    VersionExistsError
        If the version is published already, be it before or during this training.
    TrainingError
        If a step fails; the message names it. Nothing is published.
    RepositoryError
        If the repository cannot be read or written.
    """
    model = definition.model
    described = definition.estimator(version)
    serving = read_serving(settings_folder, model)
    _refuse_published(repository, model, version)
    step = partial(_step, report, f"{model} {version}")
    seed = definition.split.seed

    with step(f"loading {definition.data.name} from {definition.data.source}"):
        dataset = data.load(definition.data)
    with step(f"checking {len(dataset.rows)} rows of {len(definition.features)} features"):
        data.validate(dataset, definition.features)
        schema = Schema(features=definition.features, classes=dataset.class_names)
    with step(f"holding out {definition.split.held_out:.0%} of the rows"):
        parts = data.split(dataset, definition.split)
    with step(f"describing the {len(parts.fitted_rows)} rows to fit on"):
        distributions = reference.describe(parts.fitted_rows, definition.features)
    with step(f"building {described.name}"):
        pipeline = fit.build(described, seed)
    with step(f"fitting {described.name} on {len(parts.fitted_rows)} rows"):
        fit.fit(pipeline, parts.fitted_rows, parts.fitted_classes)
    with step(f"evaluating it on {len(parts.held_out_rows)} held-out rows"):
        evaluation = fit.evaluate(pipeline, parts.held_out_rows, parts.held_out_classes)
    with step("exporting it to ONNX"):
        model_onnx = export.to_onnx(pipeline, len(definition.features))
        model_skops = export.to_skops(pipeline)
    with step(f"comparing both models on {len(parts.held_out_rows)} held-out rows"):
        parity = export.compare(model_onnx, pipeline, parts.held_out_rows)

    metadata = _metadata(
        definition,
        version,
        schema,
        parts,
        evaluation=evaluation,
        parity=parity,
        distributions=distributions,
    )
    files = {
        MODEL_ONNX: model_onnx,
        MODEL_SKOPS: model_skops,
        **serving.complete(version, schema),
        METADATA: to_json(metadata.model_dump(mode="json", by_alias=True)),
    }
    with step(f"publishing to {repository.url}"):
        url = repository.publish(model, version, seal(files))
    return Published(url, metadata)


def _refuse_published(repository: Repository, model: str, version: str) -> None:
    if version in repository.versions(model):
        raise VersionExistsError(
            f"{model} {version} is already in {repository.url}, and versions are immutable; "
            "describe the change as a new version in the model definition and train that"
        )


@contextmanager
def _step(report: Callable[[str], None], subject: str, what: str) -> Iterator[None]:
    report(what)
    try:
        yield
    except TrainingError as error:
        raise TrainingError(f"{subject} failed while {what}: {error}") from error
    except AbserveError:
        raise
    except Exception as error:  # scikit-learn, skl2onnx and onnxruntime each raise their own
        reason = " ".join(str(error).split())
        raise TrainingError(
            f"{subject} failed while {what}: {type(error).__name__}: {reason}; "
            "change what the definition says of this version"
        ) from error


def _metadata(
    definition: Definition,
    version: str,
    schema: Schema,
    parts: data.Parts,
    *,
    evaluation: dict[str, float],
    parity: Parity,
    distributions: Mapping[str, Distribution],
) -> Metadata:
    described = definition.estimator(version)
    seed = definition.split.seed
    commit, dirty = lineage.git_state(Path(__file__))
    return Metadata(
        model=definition.model,
        version=version,
        trained_at=datetime.now(UTC),
        git_commit=commit,
        git_dirty=dirty,
        libraries=lineage.libraries(),
        estimator=described.estimator,
        parameters={"scale": described.scale, **fit.parameters(described, seed)},
        seed=seed,
        n_fitted=len(parts.fitted_rows),
        n_held_out=len(parts.held_out_rows),
        evaluation=evaluation,
        parity=parity,
        schema=schema,
        reference=distributions,
    )
