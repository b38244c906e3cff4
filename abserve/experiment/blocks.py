"""What was counted? One block per analysis interval and setting of the weights.

A block holds how many units (requests, or users) each variant served, and of how many of them
something was true: a right label, a response without error, an answer within the latency
objective. A reward in [0, 1] per unit is counted the same way: `k` is then the sum of the rewards.

`Block` is one of them, as people and files have it; `Blocks` are many, in columns, as the
mathematics wants them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abserve.errors import ExperimentError
from abserve.weights import WHOLE

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """The counts of one analysis interval under one setting of the weights.

    Parameters
    ----------
    weight_candidate : float
        The candidate's share of the two variants' units, in percent, in [0, 100].
    n_baseline, n_candidate : int
        Units that each variant served.
    k_baseline, k_candidate : float
        How many of them succeeded, or the sum of their rewards: from 0 to `n`.

    Raises
    ------
    ExperimentError
        If a number is not finite, a count is negative or not whole, `k` exceeds `n`, or the
        weight lies outside [0, 100].

    Examples
    --------
    >>> Block(10, n_baseline=900, k_baseline=810, n_candidate=100, k_candidate=93).n_candidate
    100
    """

    weight_candidate: float
    n_baseline: int
    k_baseline: float
    n_candidate: int
    k_candidate: float

    def __post_init__(self) -> None:
        for field in fields(self):
            number = getattr(self, field.name)
            if not math.isfinite(number):
                raise ExperimentError(f"{field.name} is {number}; expected a finite number")
        if not 0 <= self.weight_candidate <= WHOLE:
            raise ExperimentError(
                f"weight_candidate is {self.weight_candidate:g}; expected a percent from 0 to 100"
            )
        for variant, n, k in (
            ("baseline", self.n_baseline, self.k_baseline),
            ("candidate", self.n_candidate, self.k_candidate),
        ):
            if n < 0 or n % 1:
                raise ExperimentError(
                    f"n_{variant} is {n:g}; expected a whole number of units, at least 0"
                )
            if not 0 <= k <= n:
                raise ExperimentError(
                    f"k_{variant} is {k:g} of n_{variant} = {n:g}; expected a number from 0 to "
                    f"n_{variant}: count in k only units that are counted in n"
                )


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Blocks in columns; the last axis is time, axes before it are separate experiments.

    Made with `of` or `from_columns`.

    Parameters
    ----------
    weight_candidate, n_baseline, k_baseline, n_candidate, k_candidate : ndarray of \
shape (..., n_blocks), float64
        As in `Block`.

    Raises
    ------
    ExperimentError
        If the columns differ in shape, or a block is none that `Block` would take; the message
        counts blocks from 1.
    """

    weight_candidate: Floats
    n_baseline: Floats
    k_baseline: Floats
    n_candidate: Floats
    k_candidate: Floats

    def __post_init__(self) -> None:
        shapes = {getattr(self, field.name).shape for field in fields(self)}
        if len(shapes) > 1 or () in shapes:
            raise ExperimentError(
                f"columns of blocks have shapes {sorted(shapes)}; expected one shape, "
                "(..., n_blocks)"
            )
        # Comparisons with NaN are false, and infinite counts leave no whole remainder.
        with np.errstate(invalid="ignore"):
            good = (self.weight_candidate >= 0) & (self.weight_candidate <= WHOLE)
            for n, k in (
                (self.n_baseline, self.k_baseline),
                (self.n_candidate, self.k_candidate),
            ):
                good &= (k >= 0) & (k <= n) & (n % 1 == 0)
        if not good.all():
            self._refuse(np.argwhere(~good)[0])

    def _refuse(self, index: NDArray[np.intp]) -> None:
        row = [float(getattr(self, field.name)[tuple(index)]) for field in fields(self)]
        weight, n_baseline, k_baseline, n_candidate, k_candidate = row
        try:
            # A float stands for the count here, so that Block can say what is wrong with it.
            Block(weight, n_baseline, k_baseline, n_candidate, k_candidate)  # type: ignore[arg-type]
        except ExperimentError as error:
            raise ExperimentError(f"block {index[-1] + 1}: {error}") from None

    @classmethod
    def of(cls, blocks: Iterable[Block]) -> "Blocks":
        """Put blocks, oldest first, into columns of shape (n_blocks,)."""
        rows = [
            (b.weight_candidate, b.n_baseline, b.k_baseline, b.n_candidate, b.k_candidate)
            for b in blocks
        ]
        return cls(*np.array(rows, dtype=np.float64).reshape(-1, 5).T.copy())

    @classmethod
    def from_columns(
        cls,
        weight_candidate: ArrayLike,
        n_baseline: ArrayLike,
        k_baseline: ArrayLike,
        n_candidate: ArrayLike,
        k_candidate: ArrayLike,
    ) -> "Blocks":
        """Take columns of numbers, which are broadcast against each other.

        Examples
        --------
        >>> blocks = Blocks.from_columns(50, [100, 90], [13, 9], [100, 95], [21, 14])
        >>> blocks.n_blocks, blocks.weight_candidate.tolist()
        (2, [50.0, 50.0])
        """
        columns = [
            np.atleast_1d(np.asarray(column, dtype=np.float64))
            for column in (weight_candidate, n_baseline, k_baseline, n_candidate, k_candidate)
        ]
        try:
            return cls(*np.broadcast_arrays(*columns))
        except ValueError as error:
            raise ExperimentError(
                f"columns of blocks have shapes {[column.shape for column in columns]}; expected "
                "one number per block in each, or one for all blocks"
            ) from error

    @property
    def n_blocks(self) -> int:
        return int(self.weight_candidate.shape[-1])

    @property
    def both_served(self) -> NDArray[np.bool_]:
        """Blocks that compare anything: both variants served units."""
        return (self.n_baseline > 0) & (self.n_candidate > 0)

    def until(self, n_blocks: int) -> "Blocks":
        """Return the first `n_blocks` blocks."""
        return Blocks(*(getattr(self, field.name)[..., :n_blocks] for field in fields(self)))

    def where(self, chosen: NDArray[np.bool_]) -> "Blocks":
        """Return the blocks that a mask of shape (n_blocks,) chooses."""
        return Blocks(*(getattr(self, field.name)[..., chosen] for field in fields(self)))

    def failures(self) -> "Blocks":
        """Return the same units with what did not succeed counted instead: `n - k`."""
        return Blocks(
            self.weight_candidate,
            self.n_baseline,
            self.n_baseline - self.k_baseline,
            self.n_candidate,
            self.n_candidate - self.k_candidate,
        )

    def swapped(self) -> "Blocks":
        """Return the same blocks with the roles of baseline and candidate exchanged."""
        return Blocks(
            WHOLE - self.weight_candidate,
            self.n_candidate,
            self.k_candidate,
            self.n_baseline,
            self.k_baseline,
        )
