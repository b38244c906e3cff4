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

from abserve.promotion.kubernetes import (
    Document,
    Kubernetes,
    Report,
    generation_of,
    say_nothing,
)
from abserve.seldon import adopt, finish, roles, shift_all, weights_patch
from abserve.weights import Weights

Patch = Callable[[Document], Sequence[Mapping[str, Any]]]
"""The patch that makes a change, for the document as it is now."""


def set_weights(
    cluster: Kubernetes,
    name: str,
    weights: Weights,
    timeout_seconds: float,
    wait: Report = say_nothing,
) -> Document:
    """Give the variants of a SeldonDeployment new weights, and wait until they are in force.

    `wait` is told what is waited for.

    Raises
    ------
    ManifestError
        If `weights` does not name exactly the variants.
    KubernetesError
        If the cluster refuses, or does not serve the change in time.
    """
    return _change(
        cluster, name, lambda document: weights_patch(document, weights), timeout_seconds, wait
    )


def promote(
    cluster: Kubernetes,
    name: str,
    report: Report,
    timeout_seconds: float,
    wait: Report = say_nothing,
) -> Document:
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
    wait : callable
        Told what is waited for within a step.

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

    def change(patch: Patch) -> Document:
        return _change(cluster, name, patch, timeout_seconds, wait)

    report(f"sending all requests to {candidate}")
    change(lambda document: shift_all(document, candidate))
    report(f"giving {baseline} the version of {candidate}")
    change(lambda document: adopt(document, baseline, candidate))
    report(f"sending all requests to {baseline} and removing {candidate}")
    return change(lambda document: finish(document, baseline, candidate))


def _change(
    cluster: Kubernetes,
    name: str,
    patch: Patch,
    timeout_seconds: float,
    wait: Report,
) -> Document:
    changed = cluster.patch(name, patch(cluster.get(name)))
    return cluster.wait_until_available(name, generation_of(changed), timeout_seconds, wait)
