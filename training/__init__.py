"""Training: from a model definition to a version in the repository."""

from training.data import held_out
from training.definition import Definition, read_definition
from training.pipeline import Published, train

__all__ = ["Definition", "Published", "held_out", "read_definition", "train"]
