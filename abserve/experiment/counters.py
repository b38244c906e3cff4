"""What if only successes or errors are counted? The weights stand in for the units.

A counter of errors per variant is often all there is. If units arrive in the configured weights,
the variants' shares of the errors say how their rates compare, whatever the base rate is and
however it drifts: given that an error happened, it is the candidate's with probability
w_b r_b / (w_a r_a + w_b r_b), which depends on the ratio of the rates alone.

It leans on the weights where `evidence` leans on counted units, so check `sample_ratio` first.
"""

import numpy as np
from scipy.special import betainc, betaln

from abserve.errors import ExperimentError
from abserve.experiment.blocks import Blocks, Floats
from abserve.experiment.sample_ratio import dirichlet_factor, product_of_factors

# Below it the incomplete beta function is too near to underflow to take its logarithm.
_TINY = 1e-290


def log_share_evidence(blocks: Blocks, concentration: float = 2.0) -> Floats:
    """Compute the evidence that the variants' rates differ, from `k` and the weights alone.

    Parameters
    ----------
    blocks : Blocks
        Arrays of shape (..., n_blocks); of them only weights and `k` (whole counts) are used.
    concentration : float
        Above 0. With 2 and even weights, every share of the successes is equally expected.

    Returns
    -------
    ndarray of shape (..., n_blocks)
        Natural logarithm of an e-process for equal rates, after each block.

    Raises
    ------
    ExperimentError
        If a `k` is not whole, or `concentration` is not above 0.

    References
    ----------
    .. [1] M. Lindon and A. Malek, "Anytime-valid inference for multinomial count data", NeurIPS
       2022, arXiv:2011.03567.

    Examples
    --------
    >>> log_share_evidence(Blocks.from_columns(50, 1000, 23, 1000, 50)).round(7).tolist()
    [3.1112726]
    """
    _require_whole(blocks)
    return product_of_factors(
        blocks.weight_candidate,
        blocks.k_baseline,
        blocks.k_candidate,
        dirichlet_factor(concentration),
    )


def log_rate_ratio(blocks: Blocks, ratio: float) -> Floats:
    """Compute the evidence that the candidate's rate is below `ratio` times the baseline's.

    A guardrail for errors: with ratio 1.25, that the candidate has less than 25 % more of them.
    With p_0 the candidate's share of the errors at that ratio, shares below p_0 are mixed evenly:

        E = integral of p^s_b (1-p)^s_a over (0, p_0) / p_0 / (p_0^s_b (1-p_0)^s_a).

    For p >= p_0 each p in the mixture has a likelihood ratio with expectation at most 1.

    Parameters
    ----------
    blocks : Blocks
        Arrays of shape (..., n_blocks); of them only weights and `k` (whole counts of errors) are
        used.
    ratio : float
        Above 0.

    Returns
    -------
    ndarray of shape (..., n_blocks)
        Natural logarithm of an e-process for r_candidate / r_baseline >= ratio, after each block.

    Raises
    ------
    ExperimentError
        If a `k` is not whole, or `ratio` is not above 0.

    Examples
    --------
    >>> log_rate_ratio(Blocks.from_columns(50, 9000, 200, 9000, 190), 1.25).round(7).tolist()
    [1.4912289]
    """
    if not 0 < ratio < np.inf:
        raise ExperimentError(f"the ratio of rates is {ratio:g}; expected a number above 0")
    _require_whole(blocks)

    def log_factor(share_a: Floats, share_b: Floats, s_a: Floats, s_b: Floats) -> Floats:
        p_0 = share_b * ratio / (share_a + share_b * ratio)
        not_p_0 = share_a / (share_a + share_b * ratio)
        below = betainc(1 + s_b, 1 + s_a, p_0)
        usual = (
            np.log(np.maximum(below, _TINY))
            + betaln(1 + s_b, 1 + s_a)
            - (1 + s_b) * np.log(p_0)
            - s_a * np.log(not_p_0)
        )
        # E = (1-p_0)/(1+s_b) 2F1(1, s_a+s_b+2; s_b+2; p_0), and 2F1 >= 1. Where `below` is tiny,
        # errors speak for the null, and less evidence than there is does no harm.
        return np.where(below > _TINY, usual, np.log(not_p_0 / (1 + s_b)))

    return product_of_factors(
        blocks.weight_candidate, blocks.k_baseline, blocks.k_candidate, log_factor
    )


def _require_whole(blocks: Blocks) -> None:
    if np.any(blocks.k_baseline % 1) or np.any(blocks.k_candidate % 1):
        raise ExperimentError(
            "k_baseline or k_candidate is not whole; expected counts of successes or errors, since "
            "a sum of rewards does not say how many there were"
        )
