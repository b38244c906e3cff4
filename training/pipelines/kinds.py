"""The pipelines there are: each overrides what differs."""

from abserve.schema import Schema
from training.dataset import Dataset, Parts, Predictions
from training.evaluation import Evaluation, evaluate
from training.pipelines.base import Pipeline
from training.pipelines.registry import register


@register("classification")
class Classification(Pipeline):
    """Tells classes apart by named columns."""

    def evaluate(self, predictions: Predictions, parts: Parts, schema: Schema) -> Evaluation:
        return evaluate(
            predictions,
            parts.held_out_targets,
            schema.classes,
            self.definition.target.positive,
            self.seed,
        )


@register("regression")
class Regression(Pipeline):
    """Estimates a number from named columns."""

    def evaluate(self, predictions: Predictions, parts: Parts, schema: Schema) -> Evaluation:
        return evaluate(predictions, parts.held_out_targets, None, None, self.seed)


@register("images")
class Images(Classification):
    """Tells pictures apart; the columns are their pixels."""

    def validate(self, dataset: Dataset) -> Schema:
        checked = super().validate(dataset)
        return Schema(
            features=checked.features, classes=checked.classes, picture=self.definition.picture
        )
