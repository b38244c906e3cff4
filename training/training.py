"""One training, from a definition to a published version.

What cannot succeed is refused before anything is fitted, and nothing is written before everything
has succeeded, the gates included.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from abserve.artifacts import CARD, METADATA, seal, to_json
from abserve.errors import VersionExistsError
from abserve.keys import PrivateKey
from abserve.metadata import Distribution, GateOutcome, Metadata, Slice
from abserve.repository import Repository
from abserve.schema import Schema
from abserve.signatures import signed
from training import gates, lineage
from training.card import Baseline, Evidence, card
from training.dataset import Dataset, Parts
from training.definition import Definition
from training.evaluation import Evaluation
from training.export import Exported
from training.fit import Fitted
from training.importance import permutation_importance
from training.pipelines import Pipeline, find_pipeline
from training.reference import describe
from training.serving import Serving, read_serving
from training.serving_version import open_version
from training.steps import Report, Steps


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained.

    Parameters
    ----------
    definition : Definition
        The model.
    described_as : str
        Which of the versions that it describes.
    version : str or None
        The number to publish it under; None for the next that is free.
    against : str or None
        The version that serves now, which gates may compare with. None if none does.
    """

    definition: Definition
    described_as: str
    version: str | None
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A version that now exists: the URL of its folder, what it says of itself, and its files."""

    url: str
    metadata: Metadata
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Trained:
    """All that is known of a version before it has a number."""

    dataset: Dataset
    schema: Schema
    parts: Parts
    reference: Mapping[str, Distribution]
    fitted: Fitted
    evaluation: Evaluation
    slices: Mapping[str, Slice]
    exported: Exported
    baseline: Baseline | None
    outcomes: tuple[GateOutcome, ...]
    notes: tuple[str, ...]


def train(
    order: Order,
    repository: Repository,
    settings_folder: Path,
    report: Report,
    private_key: PrivateKey | None = None,
) -> Published:
    """Train one version of a model, and publish it.

    Parameters
    ----------
    order : Order
        What to train.
    repository : Repository
        Where the version will live; it must not live there yet.
    settings_folder : Path
        The folder ``model-settings/``: how MLServer serves the model.
    report : callable
        Told which step is at work and what it does: ``fit``, ``fitting Ridge on 309 rows``.
    private_key : PrivateKey or None
        What signs the version, if it is to be signed.

    Raises
    ------
    DefinitionError
        If the version is not described, or how to serve the model is not.
    VersionExistsError
        If the version is published already, be it before or during this training.
    TrainingError
        If a step fails; the message names it. Nothing is published.
    GateError
        If the version is not as good as it has to be. Nothing is published.
    RepositoryError
        If the repository cannot be read or written.
    """
    definition, model = order.definition, order.definition.model
    steps = Steps(f"{model} {order.version or f'like {order.described_as}'}", report)
    pipeline = find_pipeline(definition.pipeline)(definition, order.described_as, steps.say)
    how_served = read_serving(settings_folder, model)
    if order.version is not None:
        _refuse_published(repository, model, order.version)
    trained = _train(pipeline, steps, repository, order.against, how_served)
    gates.check(trained.outcomes)
    with steps.step("explain", "finding out which features it relies on"):
        evidence = _evidence(pipeline, trained)
    published: dict[str, tuple[Metadata, Mapping[str, bytes]]] = {}

    def files_of(version: str) -> Mapping[str, bytes]:
        metadata = _metadata(order, version, pipeline, trained, steps.durations_seconds)
        files = seal(
            {
                **trained.exported.files,
                **how_served.complete(version, trained.schema, trained.exported.served),
                METADATA: to_json(metadata.model_dump(mode="json", by_alias=True)),
                CARD: card(metadata, evidence),
            }
        )
        if private_key is not None:
            files = signed(files, private_key)
        published[version] = metadata, files
        return files

    with steps.step("publish", f"publishing to {repository.url}"):
        version, url = pipeline.publish(repository, order.version, files_of)
    return Published(url, *published[version])


def _train(
    pipeline: Pipeline,
    steps: Steps,
    repository: Repository,
    against: str | None,
    how_served: Serving,
) -> _Trained:
    definition, described = pipeline.definition, pipeline.described
    step = steps.step
    with step("load", f"reading the rows of {definition.model}"):
        dataset = pipeline.load()
    n_rows, n_features = dataset.rows.shape
    with step("validate", f"checking {n_rows:,} rows of {n_features} features"):
        schema = pipeline.validate(dataset)
        how_served.check(schema)
    with step("split", f"holding out {definition.split.held_out:.0%} of the rows"):
        parts = pipeline.split(dataset)
        distributions = describe(parts.fitted_rows, definition.inputs)
    with step("build", f"building {described.name}"):
        unfitted = pipeline.build()
    with step("fit", f"fitting {described.name} on {len(parts.fitted_rows):,} rows"):
        fitted = pipeline.fit(unfitted, parts)
    n_held_out = len(parts.held_out_rows)
    with step("evaluate", f"evaluating it on {n_held_out:,} held-out rows"):
        predictions = pipeline.predict(fitted, parts)
        evaluation = pipeline.evaluate(predictions, parts, schema)
        slices = pipeline.evaluate_slices(predictions, parts, schema)
    with step("export", "exporting it, and comparing the export with what was fitted"):
        exported = pipeline.export(fitted, schema, parts)
    serving = None
    baseline = None
    serving_evaluation = None
    if definition.gates.serving and against is not None:
        with step("compare", f"evaluating {against}, which serves now, on the same rows"):
            serving = open_version(repository, definition.model, against)
            serving.check_comparable(schema)
            serving_evaluation = pipeline.evaluate(
                serving.predict(parts.held_out_rows), parts, schema
            )
            baseline = Baseline(against, serving_evaluation.metrics)
    with step("judge", "holding it against the gates"):
        outcomes = pipeline.judge(evaluation, slices, serving_evaluation, exported, parts)
    compared = serving.metadata if serving else None
    return _Trained(
        dataset,
        schema,
        parts,
        distributions,
        fitted,
        evaluation,
        slices,
        exported,
        baseline,
        outcomes,
        (*exported.notes, *gates.remarks(definition.gates, dataset.fingerprint, compared)),
    )


def _refuse_published(repository: Repository, model: str, version: str) -> None:
    if version in repository.versions(model):
        raise VersionExistsError(
            f"{model} {version} is already in {repository.url}, and versions are immutable; "
            "describe the change as a new version in the model definition and train that"
        )


def _evidence(pipeline: Pipeline, trained: _Trained) -> Evidence:
    rows, targets = trained.parts.held_out_rows, trained.parts.held_out_targets
    predict = trained.exported.predict
    return Evidence(
        rows=rows,
        targets=targets,
        predictions=predict(rows),
        predict=predict,
        importance=permutation_importance(predict, rows, targets, trained.schema, pipeline.seed),
        positive=pipeline.definition.target.positive,
        baseline=trained.baseline,
    )


def _metadata(
    order: Order,
    version: str,
    pipeline: Pipeline,
    trained: _Trained,
    durations_seconds: Mapping[str, float],
) -> Metadata:
    definition, described = order.definition, pipeline.described
    commit, dirty = lineage.git_state(Path(__file__))
    return Metadata(
        model=definition.model,
        version=version,
        described_as=order.described_as,
        description=definition.description,
        pipeline=definition.pipeline,
        trained_at=datetime.now(UTC),
        git_commit=commit,
        git_dirty=dirty,
        libraries=lineage.libraries(),
        data=trained.dataset.fingerprint,
        target=definition.target.name,
        estimator=described.estimator,
        parameters={"scale": described.scale, **trained.fitted.parameters},
        search=trained.fitted.search,
        seed=pipeline.seed,
        n_fitted=len(trained.parts.fitted_rows),
        n_held_out=len(trained.parts.held_out_rows),
        durations_seconds=dict(durations_seconds),
        evaluation=trained.evaluation.metrics,
        class_recall=trained.evaluation.class_recall,
        slices=trained.slices,
        gates=trained.outcomes,
        served=trained.exported.served,
        parity=trained.exported.parity,
        notes=trained.notes,
        about=definition.metadata.model_dump(mode="json", exclude_none=True),
        schema=trained.schema,
        reference=trained.reference,
    )
