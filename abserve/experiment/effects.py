"""How large is the effect? An interval that holds at all times.

The confidence sequence of candidate - baseline holds every difference that the evidence does not
speak against: {d : E_t(d) < 1/alpha}. The true difference is outside at any time with probability
at most alpha (Ville), however often one looks. `interval` returns the smallest interval that
contains the set, so no difference is lost even where the set has holes.

As a function of `d`, log E_t need not be convex, nor even fall and then rise, so that a plain root
search could step over a piece of the set. It is therefore never trusted: from outside, only such
steps are taken as a lower bound of log E_t proves harmless. With G_a(x), G_b(y) the negative log
likelihoods of a block's counts (convex), (x, y) its projection on the line of `d`, (x+v, y+v+u)
that on the line of d + u, tangents give

    log e(d + u) >= log e(d) + G_a'(x) v + G_b'(y) (v + u)

and v/u lies between -1 and 0, since x falls and y rises in d. Between two lines that have both
been computed it is known more sharply: it is a mean value of dx/dd = -F_b''/(F_a'' + F_b''), where
F are the negative log likelihoods of the guess, convex with easily bounded second derivatives.
The steps are then Newton's, shortened by what that bound is worth.
"""

import math
from dataclasses import dataclass

import numpy as np

from abserve.errors import ExperimentError
from abserve.experiment.blocks import Blocks, Floats
from abserve.experiment.evidence import guessed_rates, log_likelihood_ratio
from abserve.experiment.projection import Rates, project

# Ends are found this exactly; the search stops outside of the set.
_TOLERANCE = 1e-10
_MAX_STEPS = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `lower` to `upper`, both included."""

    lower: float
    upper: float

    def __contains__(self, number: float) -> bool:
        return self.lower <= number <= self.upper


def effect(blocks: Blocks) -> float | None:
    """Estimate candidate - baseline from differences inside blocks only.

    Each block's difference of rates is weighted by n_a n_b / (n_a + n_b), as Mantel and Haenszel
    do, so that weights that move together with the base rate do not pass for an effect.

    Parameters
    ----------
    blocks : Blocks
        Arrays of shape (n_blocks,).

    Returns
    -------
    float or None
        In [-1, 1]; None while no block has units of both variants.

    Examples
    --------
    A rising base rate and a rising weight, without any difference:

    >>> blocks = Blocks.from_columns([10, 50], [900, 500], [90, 200], [100, 500], [10, 200])
    >>> effect(blocks)
    0.0
    """
    served = blocks.both_served
    if not served.any():
        return None
    n_a, n_b = blocks.n_baseline[served], blocks.n_candidate[served]
    differences = blocks.k_candidate[served] / n_b - blocks.k_baseline[served] / n_a
    return float(np.average(differences, weights=n_a / (n_a + n_b) * n_b))


def interval(blocks: Blocks, alpha: float = 0.05) -> Interval | None:
    """Compute the confidence sequence of candidate - baseline after the last block.

    It is not intersected with those of earlier blocks: it depends on the totals that are shown
    beside it and nothing else, and a difference that changes over time moves it instead of
    emptying it. Intersecting them is valid too; the reader of a chart may do so.

    Parameters
    ----------
    blocks : Blocks
        Arrays of shape (n_blocks,).
    alpha : float
        In (0, 1): the probability with which the true difference may ever be left out.

    Returns
    -------
    Interval or None
        The smallest interval around {d : E_t(d) < 1/alpha}, within [-1, 1] and 1e-9 wider at most;
        [-1, 1] before the first block. None if no difference is left: then no single difference
        fits all blocks, which has probability at most alpha if there is one.

    Raises
    ------
    ExperimentError
        If `alpha` lies outside (0, 1), or `blocks` hold more than one experiment.

    References
    ----------
    .. [1] R. Turner and P. Grünwald, "Exact anytime-valid confidence intervals for contingency
       tables and beyond", arXiv:2203.09785.

    Examples
    --------
    >>> found = interval(Blocks.from_columns(50, 500, [50, 52, 45], 500, [60, 71, 63]))
    >>> round(found.lower, 4), round(found.upper, 4)
    (-0.0002, 0.0694)
    """
    if not 0 < alpha < 1:
        raise ExperimentError(f"alpha is {alpha:g}; expected a number between 0 and 1, as 0.05")
    if blocks.weight_candidate.ndim != 1:
        raise ExperimentError(
            f"blocks have shape {blocks.weight_candidate.shape}; expected those of one experiment, "
            "(n_blocks,)"
        )
    bar = -math.log(alpha)
    lower = _LogEvidence(blocks, bar).lower_end()
    if lower is None:
        return None
    upper = _LogEvidence(blocks.swapped(), bar).lower_end()
    # A search that was given up may have passed all that there is to find.
    return None if upper is None or lower > -upper else Interval(lower, -upper)


@dataclass(frozen=True, slots=True)
class _Point:
    """What is known about the line of one difference.

    `excess` is log E_t minus the bar. `slopes_a`, `slopes_b` are G_a'(x) and G_b'(y) of each block.
    """

    difference: float
    null: Rates
    excess: float
    slopes_a: Floats
    slopes_b: Floats

    @property
    def imbalances(self) -> Floats:
        return self.slopes_a + self.slopes_b


class _LogEvidence:
    """Two-sided evidence of all blocks, as a function of the difference."""

    def __init__(self, blocks: Blocks, bar: float) -> None:
        served = blocks.both_served
        self._estimate = effect(blocks) or 0.0
        # Blocks without one of the variants still teach what to guess.
        self._guess = Rates(*(rates[served] for rates in guessed_rates(blocks)))
        self._blocks = blocks.where(served)
        self._bar = bar

    def lower_end(self) -> float | None:
        """Return the largest number found with no member of the set below it; None if it is empty.

        A search that is given up early has only not gone as far as it could.
        """
        start = self._proved_start()
        if start is None:
            return -1.0
        point = start
        for _ in range(_MAX_STEPS):
            step = self._proved_step(point)
            if point.difference + step >= 1 - _TOLERANCE:
                return None
            if step < _TOLERANCE:
                break
            point = self._at(point.difference + step)
        return point.difference

    def _at(self, difference: float) -> _Point:
        blocks = self._blocks
        null = project(self._guess, blocks.n_baseline, blocks.n_candidate, difference)
        log_e = log_likelihood_ratio(blocks, self._guess, null)
        return _Point(
            difference,
            null,
            float(log_e.sum()) - self._bar,
            _slope(blocks.n_baseline, blocks.k_baseline, null.baseline, null.baseline_rest),
            _slope(blocks.n_candidate, blocks.k_candidate, null.candidate, null.candidate_rest),
        )

    def _proved_start(self) -> _Point | None:
        """Find a point with nothing of the set at or below it.

        To the left the tangents' bound falls by at most `fall` per unit of difference, and what
        lies between -1 and the point is 1 + difference wide.
        """
        n = min(self._blocks.n_baseline.sum(), self._blocks.n_candidate.sum())
        step = 1 / math.sqrt(max(n, 1.0))
        difference = self._estimate
        while 1 + difference > _TOLERANCE:
            difference = max(difference - step, (difference - 3) / 4)
            step *= 2
            point = self._at(difference)
            fall = float(np.maximum(point.slopes_b, -point.slopes_a).sum())
            if point.excess >= max(fall, 0.0) * (1 + difference):
                return point
        return None

    def _proved_step(self, point: _Point) -> float:
        """Return how far one may go to the right without passing over a member of the set."""
        if point.excess <= 0:
            return 0.0
        shifts, _ = self._shifts(point.null, point.null)
        slope = float((point.slopes_b + point.imbalances * shifts).sum())
        tried = (1 - point.difference) / 2
        if slope < 0:
            tried = min(tried, point.excess / -slope)
        # The bound is the sharper, the shorter the step it has to hold for.
        while (proved := self._proved_part(point, tried)) < tried / 4:
            tried = math.sqrt(tried * proved)
        return proved

    def _proved_part(self, point: _Point, step: float) -> float:
        blocks = self._blocks
        beyond = project(
            self._guess, blocks.n_baseline, blocks.n_candidate, point.difference + step
        )
        least, most = self._shifts(point.null, beyond)
        bounds = point.slopes_b + np.minimum(point.imbalances * least, point.imbalances * most)
        fall = -float(bounds.sum())
        return min(step, point.excess / fall) if fall > 0 else step

    def _shifts(self, left: Rates, right: Rates) -> tuple[Floats, Floats]:
        """Bound how the baseline's rate moves per unit of difference between two lines."""
        guess, n_a, n_b = self._guess, self._blocks.n_baseline, self._blocks.n_candidate
        hits_a, misses_a = n_a * guess.baseline, n_a * guess.baseline_rest
        hits_b, misses_b = n_b * guess.candidate, n_b * guess.candidate_rest
        # From left to right the baseline's rate falls and the candidate's rises.
        low_a = hits_a / left.baseline**2 + misses_a / right.baseline_rest**2
        high_a = hits_a / right.baseline**2 + misses_a / left.baseline_rest**2
        low_b = hits_b / right.candidate**2 + misses_b / left.candidate_rest**2
        high_b = hits_b / left.candidate**2 + misses_b / right.candidate_rest**2
        return -high_b / (low_a + high_b), -low_b / (high_a + low_b)


def _slope(n: Floats, k: Floats, rate: Floats, rest: Floats) -> Floats:
    return (n - k) / rest - k / rate
