"""Compare two variants from counts per block, at any time.

The order of questions is the order of modules: what was counted (`blocks`), did the units arrive
in the configured weights (`sample_ratio`), is the candidate better or at least not worse by more
than a margin (`evidence`, with `projection` for its null hypothesis), how large is the effect
(`effects`), what if the metric is no share (`means`) or only successes or errors are counted
(`counters`), what follows from it (`decision`).

Every answer may be read after each block, and acted on the first time it is clear; it holds while
weights are changed between blocks and while base rates drift. Nothing here reads files, clocks or
sockets: arrays in, values out.
"""

from abserve.experiment.blocks import Block, Blocks
from abserve.experiment.counters import log_rate_ratio, log_share_evidence
from abserve.experiment.decision import Action, Claim, Decision, Findings, Rules, decide
from abserve.experiment.effects import Interval, effect, interval
from abserve.experiment.evidence import Alternative, Evidence, log_evidence, p_value
from abserve.experiment.means import (
    Moments,
    difference_of_means,
    mean_half_width,
    mixture_bound,
    mixture_parameter,
    weighted_difference_of_means,
)
from abserve.experiment.sample_ratio import SAMPLE_RATIO_BAR, SampleRatio, log_sample_ratio

__all__ = [
    "SAMPLE_RATIO_BAR",
    "Action",
    "Alternative",
    "Block",
    "Blocks",
    "Claim",
    "Decision",
    "Evidence",
    "Findings",
    "Interval",
    "Moments",
    "Rules",
    "SampleRatio",
    "decide",
    "difference_of_means",
    "effect",
    "interval",
    "log_evidence",
    "log_rate_ratio",
    "log_sample_ratio",
    "log_share_evidence",
    "mean_half_width",
    "mixture_bound",
    "mixture_parameter",
    "p_value",
    "weighted_difference_of_means",
]
