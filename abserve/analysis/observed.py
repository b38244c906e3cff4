"""What was counted in an experiment so far: one record per block, as the audit log has it.

A block knows its requests when it ends, and its primary metric only when its maturity window is
over. Both are numbers of units and sums per variant, and nothing else is needed for a decision.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from abserve.experiment import Blocks

# Of the prediction drift a block has one metric per class, whose name follows.
DRIFT_OF = "prediction_drift:"


@dataclass(frozen=True, slots=True)
class Counts:
    """Units of each variant, and how many of them (or the sum of what they) scored."""

    n_baseline: int
    k_baseline: float
    n_candidate: int
    k_candidate: float


@dataclass(frozen=True, slots=True)
class ObservedBlock:
    """One interval under one setting of the weights.

    Parameters
    ----------
    number : int
        From 1.
    began_at, ended_at : float
        Seconds since 1970.
    weight_candidate : float
        The candidate's share of the two variants' units, in percent.
    units : Counts or None
        Units that arrived, `k` is 0; None if they are known only in part.
    by_metric : mapping of str to Counts
        Of each metric that is known: a guardrail's when the block ended, the primary's when it is
        mature.
    notes : tuple of str
        Sentences that say why something is not known.
    """

    number: int
    began_at: float
    ended_at: float
    weight_candidate: float
    units: Counts | None
    by_metric: Mapping[str, Counts] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimedBlocks:
    """The blocks that know one metric, and when they ended.

    Parameters
    ----------
    blocks : Blocks
        Of shape (n_blocks,).
    ended : ndarray of shape (n_blocks,)
        Seconds since the first block of the experiment began; or, of blocks without a time, their
        numbers from 1.
    """

    blocks: Blocks
    ended: NDArray[np.float64]

    @classmethod
    def numbered(cls, blocks: Blocks) -> "TimedBlocks":
        """Take blocks of which no times are known."""
        return cls(blocks, np.arange(1.0, blocks.n_blocks + 1))


@dataclass(frozen=True, slots=True)
class Observed:
    """All blocks, oldest first, and what disturbed them.

    Parameters
    ----------
    blocks : tuple of ObservedBlock
        Oldest first.
    elapsed_seconds : float
        Since the first block began.
    classes : tuple of str
        All that the two versions can predict: fixed before the first block.
    interference : tuple of str
        Sentences that say what somebody else changed: the experiment is invalid.
    missing : tuple of str
        Sentences that say what could not be learned now: nothing is promoted on that.
    """

    blocks: tuple[ObservedBlock, ...]
    elapsed_seconds: float
    classes: tuple[str, ...] = ()
    interference: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def units(self) -> TimedBlocks:
        """Return the units that arrived, of blocks that know them."""
        return self._timed((each, each.units) for each in self.blocks if each.units is not None)

    def metric(self, name: str) -> TimedBlocks:
        """Return what is known of one metric."""
        return self._timed(
            (each, each.by_metric[name]) for each in self.blocks if name in each.by_metric
        )

    def _timed(self, counted: Iterable[tuple[ObservedBlock, Counts]]) -> TimedBlocks:
        known = list(counted)
        began_at = self.blocks[0].began_at if self.blocks else 0.0
        # In columns at once: a rollout does this after each of its thousands of blocks.
        rows = [
            (
                block.weight_candidate,
                counts.n_baseline,
                counts.k_baseline,
                counts.n_candidate,
                counts.k_candidate,
            )
            for block, counts in known
        ]
        return TimedBlocks(
            Blocks.from_columns(*np.array(rows, dtype=np.float64).reshape(-1, 5).T),
            np.array([block.ended_at - began_at for block, _ in known], dtype=np.float64),
        )
