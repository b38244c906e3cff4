"""How far the rows that a version answers of late lie from those it was fitted on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Drift:
    """Population stability index by feature, over the latest `n_rows` rows of a replica.

    Features without enough rows are absent.
    """

    n_rows: int
    by_feature: Mapping[str, float]


def combine_drift(replicas: Iterable[Drift]) -> Drift | None:
    """Combine the drift that the replicas of one version measured, each on its own rows.

    Returns
    -------
    Drift or None
        The mean of the indices, weighted by rows. Since the index is convex in the distribution of
        the rows, that of all rows together is at most as large. None without replicas.

    Examples
    --------
    >>> combine_drift([Drift(300, {"width": 0.1}), Drift(100, {"width": 0.3})])
    Drift(n_rows=400, by_feature={'width': 0.15})
    """
    known = list(replicas)
    if not known:
        return None
    by_feature: dict[str, float] = {}
    for feature in dict.fromkeys(name for each in known for name in each.by_feature):
        measured = [each for each in known if feature in each.by_feature]
        total = sum(each.n_rows * each.by_feature[feature] for each in measured)
        by_feature[feature] = total / sum(each.n_rows for each in measured)
    return Drift(sum(each.n_rows for each in known), by_feature)
