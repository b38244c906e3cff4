"""Make one result of those of several members.

Means are taken in float64 and answered in float32; what is compared is what is answered, so that
the class a client reads is that of the probabilities it reads.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtimes.inference import Classified, Regressed


def mean_probability(found: Sequence[Classified]) -> Classified:
    """Return the mean of the members' probabilities, and the class it is largest for.

    Of equally probable classes, the first.
    """
    probability = _mean([each.probability for each in found])
    return Classified(probability.argmax(axis=1), probability)


def vote(found: Sequence[Classified]) -> Classified:
    """Return the class that most members say, and each class's share of their votes.

    Of classes with as many votes, the one with the larger mean probability; of those, the first.
    """
    mean = _mean([each.probability for each in found])
    n_votes = np.zeros(mean.shape, np.int64)
    rows = np.arange(len(mean))
    for each in found:
        n_votes[rows, each.indices] += 1
    leads = n_votes == n_votes.max(axis=1, keepdims=True)
    indices = np.where(leads, mean, -1).argmax(axis=1)
    return Classified(indices, (n_votes / len(found)).astype(np.float32))


def mean_prediction(found: Sequence[Regressed]) -> Regressed:
    """Return the mean of the members' predictions."""
    return Regressed(_mean([each.prediction for each in found]))


def _mean(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    mean: NDArray[np.float64] = np.mean(arrays, axis=0, dtype=np.float64)
    return mean.astype(np.float32)
