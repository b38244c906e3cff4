"""Did the units arrive in the configured weights? The evidence that they did not.

If they did not, the routing, the counting or the joining of counts is at fault, and no effect may
be read until the cause is known. The test is sequential: evidence against the configured weights,
to be looked at after every block, with an expectation of at most 1 (as an e-value) while they hold.

Under fixed weights the units of both variants are compared with their shares by a Dirichlet
mixture. A change of weights closes that factor and opens a new one; the e-process is their product.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from abserve.errors import ExperimentError
from abserve.experiment.blocks import Block, Blocks, Floats
from abserve.weights import WHOLE

# How far from the configured shares the mixture looks: larger finds smaller mismatches, later.
CONCENTRATION = 100.0

# From here on the experiment is invalid; rarer than alpha, since it is always a fault.
SAMPLE_RATIO_BAR = 1000.0

# A weight of 0 stands for one unit in a million: two strays that were under way when it was set are
# no proof, and the evidence of many stays a finite number.
_LEAST_SHARE = 1e-6

LogFactor = Callable[[Floats, Floats, Floats, Floats], Floats]


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Evidence against the configured weights after some blocks, and what the next one needs.

    Parameters
    ----------
    concentration : float
        Of the Dirichlet mixture, above 0.
    weight_candidate : float or None
        The weight of the open factor; None before the first block.
    n_baseline, n_candidate : float
        Units since that weight was set.
    closed : float
        Evidence of the closed factors.
    log_e : float
        Natural logarithm of the e-process.

    Examples
    --------
    >>> round(SampleRatio().add(Block(50, 5200, 0, 4800, 0)).log_e, 7)
    5.6136134
    """

    concentration: float = CONCENTRATION
    weight_candidate: float | None = None
    n_baseline: float = 0.0
    n_candidate: float = 0.0
    closed: float = 0.0
    log_e: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.concentration < np.inf:
            raise ExperimentError(
                f"the concentration is {self.concentration:g}; expected a number above 0, as 100"
            )

    def add(self, block: Block) -> "SampleRatio":
        """Return the evidence after one more block, as `log_sample_ratio` gives it bit for bit."""
        weight = block.weight_candidate
        same = self.weight_candidate in {None, weight}
        so_far = self if same else replace(self, n_baseline=0.0, n_candidate=0.0, closed=self.log_e)
        so_far = replace(
            so_far,
            weight_candidate=weight,
            n_baseline=so_far.n_baseline + block.n_baseline,
            n_candidate=so_far.n_candidate + block.n_candidate,
        )
        open_factor = dirichlet_factor(self.concentration)(
            *_shares(np.array([weight])),
            np.array([so_far.n_baseline]),
            np.array([so_far.n_candidate]),
        )
        return replace(so_far, log_e=so_far.closed + float(open_factor[0]))


def log_sample_ratio(blocks: Blocks, concentration: float = CONCENTRATION) -> Floats:
    """Compute the evidence that units did not arrive in the configured weights.

    Parameters
    ----------
    blocks : Blocks
        Arrays of shape (..., n_blocks); of them only weights and numbers of units are used. Where
        assignment is sticky, count users, not requests.
    concentration : float
        Above 0.

    Returns
    -------
    ndarray of shape (..., n_blocks)
        Natural logarithm of the e-process after each block.

    Raises
    ------
    ExperimentError
        If `concentration` is not above 0.

    References
    ----------
    .. [1] M. Lindon and A. Malek, "Anytime-valid inference for multinomial count data", NeurIPS
       2022, arXiv:2011.03567.

    Examples
    --------
    >>> blocks = Blocks.from_columns([50, 50, 10], [2600, 2600, 900], 0, [2400, 2400, 100], 0)
    >>> log_sample_ratio(blocks).round(3).tolist()
    [1.955, 5.614, 4.407]
    """
    factor = dirichlet_factor(SampleRatio(concentration).concentration)
    return product_of_factors(
        blocks.weight_candidate, blocks.n_baseline, blocks.n_candidate, factor
    )


def dirichlet_factor(concentration: float) -> LogFactor:
    """Return log of the Dirichlet-multinomial's likelihood over that of the shares.

    With k the concentration and B the beta function: B(k s_a + n_a, k s_b + n_b) / B(k s_a, k s_b)
    over s_a^n_a s_b^n_b.
    """

    def log_factor(share_a: Floats, share_b: Floats, n_a: Floats, n_b: Floats) -> Floats:
        a, b = concentration * share_a, concentration * share_b
        mixture: Floats = betaln(a + n_a, b + n_b) - betaln(a, b)
        return mixture - n_a * np.log(share_a) - n_b * np.log(share_b)

    return log_factor


def product_of_factors(
    weight_candidate: Floats, n_baseline: Floats, n_candidate: Floats, log_factor: LogFactor
) -> Floats:
    """Accumulate evidence over blocks, with a new factor from each change of the weights on.

    Parameters
    ----------
    weight_candidate, n_baseline, n_candidate : ndarray of shape (..., n_blocks)
        Weights in percent, and whole counts.
    log_factor : function
        Of the two shares and the two totals since the last change, as arrays; 0 for totals of 0.

    Returns
    -------
    ndarray of shape (..., n_blocks)
    """
    changed = np.zeros(weight_candidate.shape, dtype=np.bool_)
    changed[..., 1:] = weight_candidate[..., 1:] != weight_candidate[..., :-1]
    open_factor = log_factor(
        *_shares(weight_candidate), _since(changed, n_baseline), _since(changed, n_candidate)
    )
    closing = np.zeros_like(open_factor)
    closing[..., 1:] = np.where(changed[..., 1:], open_factor[..., :-1], 0.0)
    return np.cumsum(closing, axis=-1) + open_factor


def _since(changed: NDArray[np.bool_], counts: Floats) -> Floats:
    """Add up whole counts from the latest change on, the changed block included."""
    totals = np.cumsum(counts, axis=-1)
    # Totals never fall, so the largest total at a change is the latest one.
    return totals - np.maximum.accumulate(np.where(changed, totals - counts, 0.0), axis=-1)


def _shares(weight_candidate: Floats) -> tuple[Floats, Floats]:
    candidate = np.clip(weight_candidate / WHOLE, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return 1 - candidate, candidate
