"""Is the candidate better, or not worse by more than a margin? The evidence, block by block.

Evidence is the logarithm of an e-process: a number per block, computed from all blocks up to it,
whose exponential has expectation at most 1 under the null hypothesis at every moment anybody may
choose to stop. It is therefore allowed to look after each block, and to act the first time the
evidence reaches -log(alpha): that happens with probability at most alpha if the null is true
(Ville's inequality).

::

    past blocks ──> guessed rates ──> project ──> the null's best answer to the guess
                        │                                 │
    this block ─────────┴──> likelihood of guess / likelihood of projection = e_j
                                                   E_t = e_1 e_2 ... e_t

Each block is held against the null by itself. Whatever the rates were in it, if they differed by
`d`, its e-value has expectation at most 1: E[e_j] is f_a(x)^n_a f_b(y)^n_b with linear f, so its
logarithm is concave along the line, and the projection is where it is stationary, with value 0.
Beyond the line, as seen from the guess, it is lower still: f_a and f_b rise towards the guess.
Hence base rates may drift from block to block, and weights may change between blocks, as long as
they are chosen before the block.

Rewards in [0, 1] are covered as well: the likelihood ratio is convex in a reward, so of all rewards
with one expectation those that are 0 or 1 give the largest e-value on average.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from abserve.errors import ExperimentError
from abserve.experiment.blocks import Block, Blocks, Floats
from abserve.experiment.projection import Rates, project

Alternative = Literal["greater", "less", "two-sided"]

# Half a success and half a failure before the first block keep every guess inside (0, 1).
_PRIOR = 0.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence after some blocks, and all that the next block's evidence depends on.

    Parameters
    ----------
    difference, alternative
        The null hypothesis, as in `log_evidence`.
    n_baseline, k_baseline, n_candidate, k_candidate : float
        Totals of the blocks so far.
    log_e : float
        Natural logarithm of the e-process.

    Examples
    --------
    >>> evidence = Evidence(difference=0.0)
    >>> for k_baseline, k_candidate in [(50, 60), (52, 71), (45, 63)]:
    ...     evidence = evidence.add(Block(50, 500, k_baseline, 500, k_candidate))
    >>> round(evidence.log_e, 4)
    2.9549
    """

    difference: float
    alternative: Alternative = "greater"
    n_baseline: float = 0.0
    k_baseline: float = 0.0
    n_candidate: float = 0.0
    k_candidate: float = 0.0
    log_e: float = 0.0

    def __post_init__(self) -> None:
        if not -1 < self.difference < 1:
            raise ExperimentError(
                f"the difference of two rates is given as {self.difference:g}; expected a number "
                "between -1 and 1, for example -0.01 for 'at most one percentage point worse'"
            )

    def add(self, block: Block) -> "Evidence":
        """Return the evidence after one more block.

        The same number, bit for bit, as `log_evidence` gives for all the blocks at once.
        """
        log_e = _continue(self, Blocks.of([block]))
        return replace(
            self,
            n_baseline=self.n_baseline + block.n_baseline,
            k_baseline=self.k_baseline + block.k_baseline,
            n_candidate=self.n_candidate + block.n_candidate,
            k_candidate=self.k_candidate + block.k_candidate,
            log_e=float(log_e[0]),
        )


def log_evidence(
    blocks: Blocks, difference: float = 0.0, alternative: Alternative = "greater"
) -> Floats:
    """Compute the evidence that the candidate's rate exceeds the baseline's by more than a bound.

    Parameters
    ----------
    blocks : Blocks
        Arrays of shape (..., n_blocks), in the order of time.
    difference : float
        The bound `d` on candidate - baseline, in (-1, 1): 0 asks for superiority, -0.01 for a
        candidate at most one percentage point worse.
    alternative : {"greater", "less", "two-sided"}
        "greater" is evidence against candidate - baseline <= d, "less" against >= d, "two-sided"
        against = d. For an error rate that may rise by at most m, ask for "less" than m.

    Returns
    -------
    ndarray of shape (..., n_blocks)
        Natural logarithm of the e-process after each block. A block in which a variant served
        nothing adds 0; so does, with a one-sided alternative, one whose guess is in the null.

    Raises
    ------
    ExperimentError
        If `difference` lies outside (-1, 1).

    References
    ----------
    .. [1] R. Turner, A. Ly and P. Grünwald, "Generic E-variables for exact sequential k-sample
       tests that allow for optional stopping", JSPI 230 (2024) 106116, arXiv:2106.02693.
    .. [2] R. Turner and P. Grünwald, "Exact anytime-valid confidence intervals for contingency
       tables and beyond", arXiv:2203.09785.

    Examples
    --------
    >>> blocks = Blocks.from_columns(50, 500, [50, 52, 45], 500, [60, 71, 63])
    >>> log_evidence(blocks).round(4).tolist()
    [0.0, 1.3732, 2.9549]
    """
    return _continue(Evidence(difference, alternative), blocks)


def p_value(log_e: Floats) -> Floats:
    """Turn evidence into a p-value that holds at whatever moment one looks.

    Parameters
    ----------
    log_e : ndarray of shape (..., n_blocks)
        What `log_evidence` returned.

    Returns
    -------
    ndarray of shape (..., n_blocks)
        In (0, 1], never rising: 1 over the largest e-value so far.

    Examples
    --------
    >>> p_value(np.log([2.0, 25.0, 10.0])).round(6).tolist()
    [0.5, 0.04, 0.04]
    """
    highest: Floats = np.maximum.accumulate(log_e, axis=-1)
    return np.exp(-np.maximum(highest, 0.0))


def guessed_rates(blocks: Blocks, start: Evidence | None = None) -> Rates:
    """Guess each block's rates from the blocks before it, and the totals in `start`.

    Returns
    -------
    Rates
        Of shape (..., n_blocks): (K + 1/2) / (N + 1) with the totals before each block.
    """
    start = start or Evidence(0.0)
    n_a = _totals_before(blocks.n_baseline, start.n_baseline)
    k_a = _totals_before(blocks.k_baseline, start.k_baseline)
    n_b = _totals_before(blocks.n_candidate, start.n_candidate)
    k_b = _totals_before(blocks.k_candidate, start.k_candidate)
    return Rates(
        (k_a + _PRIOR) / (n_a + 2 * _PRIOR),
        (n_a - k_a + _PRIOR) / (n_a + 2 * _PRIOR),
        (k_b + _PRIOR) / (n_b + 2 * _PRIOR),
        (n_b - k_b + _PRIOR) / (n_b + 2 * _PRIOR),
    )


def log_likelihood_ratio(blocks: Blocks, guess: Rates, null: Rates) -> Floats:
    """Return each block's log likelihood under the guessed rates less that under the null's."""
    k_a, k_b = blocks.k_baseline, blocks.k_candidate
    return (
        k_a * np.log(guess.baseline / null.baseline)
        + (blocks.n_baseline - k_a) * np.log(guess.baseline_rest / null.baseline_rest)
        + k_b * np.log(guess.candidate / null.candidate)
        + (blocks.n_candidate - k_b) * np.log(guess.candidate_rest / null.candidate_rest)
    )


def _continue(start: Evidence, blocks: Blocks) -> Floats:
    guess = guessed_rates(blocks, start)
    compared = blocks.both_served
    null = project(
        guess,
        np.where(compared, blocks.n_baseline, 1.0),
        np.where(compared, blocks.n_candidate, 1.0),
        start.difference,
    )
    log_e = log_likelihood_ratio(blocks, guess, null)
    guessed_difference = guess.candidate - guess.baseline
    if start.alternative == "greater":
        compared = compared & (guessed_difference > start.difference)
    elif start.alternative == "less":
        compared = compared & (guessed_difference < start.difference)
    return _accumulate(np.where(compared, log_e, 0.0), start.log_e)[..., 1:]


def _totals_before(column: Floats, start: float) -> Floats:
    return _accumulate(column, start)[..., :-1]


def _accumulate(column: Floats, start: float) -> Floats:
    first = np.full((*column.shape[:-1], 1), start)
    return np.cumsum(np.concatenate([first, column], axis=-1), axis=-1)
