"""The steps that every training takes, in their order.

::

    load ─> validate ─> split ─> build ─> fit ─> evaluate ─> export ─> judge ─> publish
    Dataset  Schema     Parts    sklearn  Fitted  Evaluation  files    outcomes  version

A step is a method: what it needs comes as arguments, what it finds out is returned, and it can be
called by itself. `training.train` calls them one after the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from sklearn.pipeline import Pipeline as SklearnPipeline

from abserve.metadata import GateOutcome, Slice
from abserve.repository import Repository
from abserve.schema import Schema
from training import checking, fit, gates, sources, splitting
from training.dataset import Dataset, Parts, Predictions
from training.definition import Definition
from training.evaluation import Evaluation, evaluate_slices
from training.export import Exported, export
from training.fit import Fitted
from training.latency import latency_ms

FilesOf = Callable[[str], Mapping[str, bytes]]
"""Returns the sealed files of a version, given its number."""


class Pipeline(ABC):
    """One training of a definition.

    Parameters
    ----------
    definition : Definition
        What to train.
    described_as : str
        Which of the versions that it describes.
    say : callable
        Told what a long step is doing: ``400,000 rows read``.

    Raises
    ------
    DefinitionError
        If the definition does not describe that version.
    """

    def __init__(
        self, definition: Definition, described_as: str, say: Callable[[str], None]
    ) -> None:
        self.definition = definition
        self.described = definition.estimator(described_as)
        self.seed = definition.split.seed
        self.say = say

    def load(self) -> Dataset:
        """Read the rows that the definition names."""
        return sources.load(self.definition, self.say)

    def validate(self, dataset: Dataset) -> Schema:
        """Check the rows against the definition, and return what the model takes and answers."""
        return checking.validate(dataset, self.definition)

    def split(self, dataset: Dataset) -> Parts:
        """Divide the rows in those to fit on and those to judge by."""
        return splitting.split(dataset, self.definition.split)

    def build(self) -> SklearnPipeline:
        """Return what is to be fitted."""
        return fit.build(self.described, self.definition.inputs, self.seed)

    def fit(self, pipeline: SklearnPipeline, parts: Parts) -> Fitted:
        """Fit it, after a search for parameters where the definition has a space of them."""
        return fit.fit(pipeline, parts, self.described, self.seed, self.say)

    def predict(self, fitted: Fitted, parts: Parts) -> Predictions:
        """Predict the held-out rows."""
        return fit.predict(fitted.pipeline, parts.held_out_rows)

    @abstractmethod
    def evaluate(self, predictions: Predictions, parts: Parts, schema: Schema) -> Evaluation:
        """Judge predictions of the held-out rows."""

    def evaluate_slices(
        self, predictions: Predictions, parts: Parts, schema: Schema
    ) -> Mapping[str, Slice]:
        """Judge those of the held-out rows that the definition names as slices."""
        return evaluate_slices(
            predictions,
            parts.held_out_rows,
            parts.held_out_targets,
            self.definition.inputs,
            self.definition.gates.slices,
            schema.classes,
            self.definition.target.positive,
            self.seed,
        )

    def export(self, fitted: Fitted, schema: Schema, parts: Parts) -> Exported:
        """Return the files that are served, and how closely they repeat what was fitted."""
        return export(fitted.pipeline, schema, parts, self.seed, self.definition.gates.parity)

    def judge(
        self,
        evaluation: Evaluation,
        slices: Mapping[str, Slice],
        serving: Evaluation | None,
        exported: Exported,
        parts: Parts,
    ) -> tuple[GateOutcome, ...]:
        """Hold the version against every gate, and against the version that serves now."""
        return gates.judge(
            self.definition.gates,
            evaluation,
            slices,
            serving,
            latency_ms(exported.predict, parts.held_out_rows),
            exported.size_bytes,
            exported.parity,
        )

    def publish(
        self, repository: Repository, version: str | None, files_of: FilesOf
    ) -> tuple[str, str]:
        """Write the version, under its number or the next free one; return number and URL."""
        model = self.definition.model
        if version is None:
            return repository.publish_next(model, files_of)
        return version, repository.publish(model, version, files_of(version))
