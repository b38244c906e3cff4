"""Training: from a model definition to a version in the repository.

::

    models/iris.yaml ─> reading ─> Definition ─┐
                                               ├─> train ─> steps of a pipeline ─> Published
    the version that serves now ───────────────┘
"""

from training.definition import Definition
from training.reading import read_definition
from training.splitting import held_out
from training.tracking import log
from training.training import Order, Published, train

__all__ = ["Definition", "Order", "Published", "held_out", "log", "read_definition", "train"]
