"""Changes of a running SeldonDeployment: weights, and the promotion of its candidate.

A promotion must not fail a request, on a cluster whose operator replaces a predictor's replicas
when its version changes and touches routes only when every predictor is ready. So it is three
changes, each in force before the next:

::

    baseline v1  50 ──>   0 ──>   0 (becomes v2, unused)  ──> 100
    candidate v2 50 ──> 100 ──> 100                       ──> removed
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from abserve.promotion.kubernetes import Document, Kubernetes, generation_of
from abserve.seldon import adopt, finish, roles, shift_all, weights_patch
from abserve.weights import Weights

Report = Callable[[str], None]


def set_weights(
    cluster: Kubernetes, name: str, weights: Weights, timeout_seconds: float
) -> Document:
    """Give the variants of a SeldonDeployment new weights, and wait until they are in force.

    Raises
    ------
    ManifestError
        If `weights` does not name exactly the variants.
    KubernetesError
        If the cluster refuses, or does not serve the change in time.
    """
    return _change(
        cluster, name, lambda document: weights_patch(document, weights), timeout_seconds
    )


def promote(cluster: Kubernetes, name: str, report: Report, timeout_seconds: float) -> Document:
    """Make the candidate the baseline, without failing a request.

    Parameters
    ----------
    cluster : Kubernetes
        The cluster and namespace.
    name : str
        The SeldonDeployment's name.
    report : callable
        Told of each step before it begins.
    timeout_seconds : float
        How long each step may take to be in force.

    Returns
    -------
    dict
        The SeldonDeployment with the candidate's version as its only variant.

    Raises
    ------
    ManifestError
        If there is no candidate to promote.
    KubernetesError
        If the cluster refuses a step or does not serve it in time. What serves then is the
        candidate, with all requests; running the command again goes on from there.
    """
    baseline, candidate = roles(cluster.get(name))
    report(f"sending all requests to {candidate}")
    _change(cluster, name, lambda document: shift_all(document, candidate), timeout_seconds)
    report(f"giving {baseline} the version of {candidate}")
    _change(cluster, name, lambda document: adopt(document, baseline, candidate), timeout_seconds)
    report(f"sending all requests to {baseline} and removing {candidate}")
    return _change(
        cluster, name, lambda document: finish(document, baseline, candidate), timeout_seconds
    )


def _change(
    cluster: Kubernetes,
    name: str,
    patch: Callable[[Document], Sequence[Mapping[str, Any]]],
    timeout_seconds: float,
) -> Document:
    changed = cluster.patch(name, patch(cluster.get(name)))
    return cluster.wait_until_available(name, generation_of(changed), timeout_seconds)
