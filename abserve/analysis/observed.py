"""What was counted in an experiment so far: one record per block, as the audit log has it.

A block knows its requests when it ends, and its primary metric only when its maturity window is
over. Both are numbers of units and sums per variant, and nothing else is needed for a decision.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from abserve.experiment import Block, Blocks


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

    def units(self) -> Blocks:
        """Return the units that arrived, of blocks that know them."""
        return _blocks((block, block.units) for block in self.blocks if block.units is not None)

    def metric(self, name: str) -> Blocks:
        """Return what is known of one metric."""
        return _blocks(
            (block, block.by_metric[name]) for block in self.blocks if name in block.by_metric
        )


def _blocks(counted: Iterable[tuple[ObservedBlock, Counts]]) -> Blocks:
    return Blocks.of(
        Block(
            block.weight_candidate,
            counts.n_baseline,
            counts.k_baseline,
            counts.n_candidate,
            counts.k_candidate,
        )
        for block, counts in counted
    )
