"""Which rates with a given difference lie closest to guessed ones? Their projection.

A null hypothesis says that the rates differ by `d`: a line in the square of all pairs of rates.
The guesses, made from past blocks, lie beside that line. Of the pairs on it, one makes the guesses
least surprising for the block's numbers of units: their reverse information projection. The ratio
of the two likelihoods is then an e-value for the whole line (Turner, Ly and Grünwald, JSPI 230
(2024) 106116, arXiv:2106.02693; for d != 0 Turner and Grünwald, arXiv:2203.09785).

Every rate is carried beside its complement, so that neither 1e-9 nor 1 - 1e-9 loses digits.
"""

from typing import NamedTuple

import numpy as np

from abserve.experiment.blocks import Floats

# Newton's method below needs fewer than 10 steps, and 30 where one variant has a billion times the
# units of the other.
_MAX_STEPS = 100

# A step that changes less is rounding's.
_CLOSE = 1 - 4 * float(np.finfo(np.float64).eps)


class Rates(NamedTuple):
    """A rate per variant in (0, 1), and 1 minus each of them."""

    baseline: Floats
    baseline_rest: Floats
    candidate: Floats
    candidate_rest: Floats

    def swapped(self) -> "Rates":
        return Rates(self.candidate, self.candidate_rest, self.baseline, self.baseline_rest)


def project(guess: Rates, n_baseline: Floats, n_candidate: Floats, difference: float) -> Rates:
    """Project guessed rates onto the line candidate - baseline = difference.

    With guesses t_a, t_b the projection (x, x + d) solves

        n_a (t_a/x - (1-t_a)/(1-x)) + n_b (t_b/(x+d) - (1-t_b)/(1-x-d)) = 0,

    whose left side falls from infinity to minus infinity, so that there is one solution. By
    exchanging the variants, and successes with failures, let d >= 0 and x <= (1-d)/2. Times x, the
    left side is

        q(x) = n_a t_a - n_a (1-t_a) x/(1-x) + n_b t_b x/(x+d) - n_b (1-t_b) x/(1-d-x),

    a sum of concave functions with q(0) > 0. Newton's method for a concave function, started where
    it is negative, falls towards the root and never passes it; it is done when rounding stops it.
    The pooled rate, which is the answer for d = 0, is such a start.

    Parameters
    ----------
    guess : Rates
        Arrays of one shape, each rate inside (0, 1).
    n_baseline, n_candidate : ndarray of that shape
        Units in the block, at least 1 each.
    difference : float
        In (-1, 1).

    Returns
    -------
    Rates
        Of the same shape, on the line up to rounding.

    Examples
    --------
    >>> guess = Rates(*(np.array([rate]) for rate in (0.15, 0.85, 0.20, 0.80)))
    >>> n = np.array([100.0])
    >>> project(guess, n, n, -0.05).baseline.round(8)
    array([0.20542581])
    """
    if difference < 0:
        return project(guess.swapped(), n_candidate, n_baseline, -difference).swapped()
    t_a, not_t_a, t_b, not_t_b = guess
    d, width = difference, 1 - difference
    half = width / 2
    score_at_half = n_baseline * (t_a / half - not_t_a / (1 - half)) + n_candidate * (
        t_b / (half + d) - not_t_b / half
    )
    # Where the root lies in the upper half, look for 1 - (x + d) instead: failures for successes,
    # and the candidate has the smaller rate of them.
    upper = score_at_half > 0
    hits_1 = np.where(upper, n_candidate * not_t_b, n_baseline * t_a)
    misses_1 = np.where(upper, n_candidate * t_b, n_baseline * not_t_a)
    hits_2 = np.where(upper, n_baseline * not_t_a, n_candidate * t_b)
    misses_2 = np.where(upper, n_baseline * t_a, n_candidate * not_t_b)
    hits = hits_1 + hits_2
    u = np.minimum(half, hits / (hits + misses_1 + misses_2))
    for _ in range(_MAX_STEPS):
        odds, share, rest = u / (1 - u), u / (u + d), width - u
        q = hits_1 - misses_1 * odds + hits_2 * share - misses_2 * (u / rest)
        slope = hits_2 * (d / (u + d) ** 2) - misses_1 / (1 - u) ** 2 - misses_2 * (width / rest**2)
        # Each element stops on its own, so that it does not depend on its neighbours in the array.
        lower = u - q / slope
        lower = np.where((lower < u * _CLOSE) & (lower > 0), lower, u)
        if np.array_equal(lower, u):
            break
        u = lower
    return Rates(
        baseline=np.where(upper, width - u, u),
        baseline_rest=np.where(upper, u + d, 1 - u),
        candidate=np.where(upper, 1 - u, u + d),
        candidate_rest=np.where(upper, u, width - u),
    )
