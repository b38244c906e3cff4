"""A model definition: the file of ``models/`` that says what to train.

::

    data ─┐                        ┌─> versions: estimator, parameters or a search for them
    features ─> rows ─ split ──────┤
    target ─┘                      └─> held-out rows ─> gates: how good a version has to be

A `Definition` is one in which everything fits together, down to the parameters that scikit-learn
accepts. Fields carry their meaning and an example, which the messages about a file, the JSON Schema
and editors show.
"""

from training.definition.data import BundledData, CsvData, Data, ParquetData, Split, Target
from training.definition.definition import PIPELINES, About, Definition, Retention
from training.definition.estimator import Estimator, Range, SearchSpace
from training.definition.gates import Bar, Gates, Margin, SliceGate

__all__ = [
    "PIPELINES",
    "About",
    "Bar",
    "BundledData",
    "CsvData",
    "Data",
    "Definition",
    "Estimator",
    "Gates",
    "Margin",
    "ParquetData",
    "Range",
    "Retention",
    "SearchSpace",
    "SliceGate",
    "Split",
    "Target",
]
