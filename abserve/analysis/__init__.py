"""Analysis: from an experiment file and what was counted to a decision.

The order of questions is the order of modules: what is to be shown (`experiment_file`), what was
counted in each block (`observed`), what follows from it now (`analysis`).

Values in, values out: when to look, and what is done about the answer, is `abserve.rollout`'s.
"""

from abserve.analysis.analysis import Analysis, Finding, LogEvidence, analyse, analyse_counts
from abserve.analysis.experiment_file import Experiment
from abserve.analysis.observed import Counts, Observed, ObservedBlock

__all__ = [
    "Analysis",
    "Counts",
    "Experiment",
    "Finding",
    "LogEvidence",
    "Observed",
    "ObservedBlock",
    "analyse",
    "analyse_counts",
]
