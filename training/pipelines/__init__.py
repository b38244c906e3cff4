"""Pipelines: the steps from a definition to what is published.

`base` has the steps, each a small method; `kinds` the pipelines that differ in some of them, and
`registry` their names. One of your own is a class::

    from training.pipelines import Classification, register

    @register("churn")
    class Churn(Classification):
        def build(self):
            ...

and a definition names it by its import path: ``pipeline: shop.churn.Churn``.
"""

from training.pipelines.base import Pipeline
from training.pipelines.kinds import Classification, Images, Regression
from training.pipelines.registry import find_pipeline, register

__all__ = ["Classification", "Images", "Pipeline", "Regression", "find_pipeline", "register"]
