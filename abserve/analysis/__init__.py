"""Analysis: from an experiment file and what was counted to a decision.

The order of questions is the order of modules: what is to be shown (`experiment_file`, read by
`reading`), what was counted in each block (`observed`, made of readings by `counting` or of a file
by `counts_file`), what is therefore asked (`questions`), and what follows from it now (`analysis`).
`wording` and `report` tell people, and `simulation` tells them beforehand what to expect.

Values in, values out: when to look, and what is done about the answer, is `abserve.rollout`'s.
"""

from abserve.analysis.analysis import (
    Analysis,
    Finding,
    LogEvidence,
    analyse,
    analyse_counts,
    conclude,
)
from abserve.analysis.counts_file import CountsFile, read_counts_file
from abserve.analysis.experiment_file import Experiment
from abserve.analysis.observed import DRIFT_OF, Counts, Observed, ObservedBlock, TimedBlocks
from abserve.analysis.questions import Comparison, Question, compare, compare_counts

__all__ = [
    "DRIFT_OF",
    "Analysis",
    "Comparison",
    "Counts",
    "CountsFile",
    "Experiment",
    "Finding",
    "LogEvidence",
    "Observed",
    "ObservedBlock",
    "Question",
    "TimedBlocks",
    "analyse",
    "analyse_counts",
    "compare",
    "compare_counts",
    "conclude",
    "read_counts_file",
]
