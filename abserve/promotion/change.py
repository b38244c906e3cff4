"""Changes of a running SeldonDeployment: weights, and the promotion or rollback of its candidate.

A promotion must not fail a request, on a cluster whose operator replaces a predictor's replicas
when its version changes and touches routes only when every predictor is ready. So it is three
changes, each in force before the next:

::

    baseline v1  50 ──>   0 ──>   0 (becomes v2, unused)  ──> 100
    candidate v2 50 ──> 100 ──> 100                       ──> removed

A rollback is one. While the candidate is not ready, the operator would not put a weight of 0 in
force; then the candidate is removed in the same change:

::

    baseline v1  50 ──> 100                 50 ──> 100
    candidate v2 50 ──>   0, ready          50 ──> removed, because it is not ready
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from abserve.errors import KubernetesError
from abserve.promotion.availability import generation_of
from abserve.promotion.kubernetes import Document, Report, say_nothing
from abserve.promotion.readiness import unready_predictors
from abserve.seldon import adopt, baseline_and_candidate, finish, roles, shift_all, weights_patch
from abserve.weights import Weights

Patch = Callable[[Document], Sequence[Mapping[str, Any]]]
"""The patch that makes a change, for the document as it is now; empty if it is made."""


class SeldonDeployments(Protocol):
    """SeldonDeployments of one namespace: `Kubernetes`, or one that writes in another way."""

    def get(self, name: str) -> Document:
        """Return a SeldonDeployment as the cluster holds it."""

    def patch(self, name: str, operations: Sequence[Mapping[str, Any]]) -> Document:
        """Change a SeldonDeployment with a JSON patch; return it as it then is."""

    def wait_until_available(
        self, name: str, generation: int, timeout_seconds: float, report: Report = say_nothing
    ) -> Document:
        """Wait until the cluster serves the SeldonDeployment as of `generation`; return it."""


def set_weights(
    cluster: SeldonDeployments,
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
    cluster: SeldonDeployments,
    name: str,
    report: Report,
    timeout_seconds: float,
    wait: Report = say_nothing,
) -> Document:
    """Make the candidate the baseline, without failing a request.

    Parameters
    ----------
    cluster : SeldonDeployments
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
        If the candidate is not ready, and nothing is changed; or if the cluster refuses a step or
        does not serve it in time. What serves then is the candidate, with all requests; running
        the command again goes on from there.
    """
    document = cluster.get(name)
    baseline, candidate = roles(document)
    unready = unready_predictors(document)
    if candidate in unready:
        raise KubernetesError(
            f"{candidate} of SeldonDeployment {name!r} is not ready ({unready[candidate]}), "
            "expected it to be before all requests go to it; nothing was changed. Promote it when "
            f"'abserve status {name}' shows it ready, or take it out with 'abserve rollback {name}'"
        )

    def change(patch: Patch) -> Document:
        return _change(cluster, name, patch, timeout_seconds, wait)

    report(f"sending all requests to {candidate}")
    change(lambda document: shift_all(document, candidate))
    report(f"giving {baseline} the version of {candidate}")
    change(lambda document: adopt(document, baseline, candidate))
    report(f"sending all requests to {baseline} and removing {candidate}")
    return change(lambda document: finish(document, baseline, candidate))


def roll_back(
    cluster: SeldonDeployments,
    name: str,
    report: Report,
    timeout_seconds: float,
    wait: Report = say_nothing,
    *,
    remove: bool = False,
) -> Document:
    """Send all requests to the baseline, also while the candidate is not ready.

    Other variants stay, with weight 0. Predictors that are not ready, shadows among them, would
    hold up the change and are removed with it. What is rolled back already stays as it is, and
    what was interrupted is completed.

    Parameters
    ----------
    cluster : SeldonDeployments
        The cluster and namespace.
    name : str
        The SeldonDeployment's name.
    report : callable
        Told what is done before it is.
    timeout_seconds : float
        How long the change may take to be in force; twice that if a predictor ceases to be ready
        meanwhile.
    wait : callable
        Told what is waited for.
    remove : bool
        Whether the candidate is removed in any case.

    Returns
    -------
    dict
        The SeldonDeployment whose baseline has all requests.

    Raises
    ------
    ManifestError
        If it cannot be told which predictor is the baseline.
    KubernetesError
        If no replica of the baseline is ready, and nothing is changed; or if the cluster refuses
        the change or does not serve it in time.
    """

    def patch(document: Document) -> Sequence[Mapping[str, Any]]:
        baseline, candidate = baseline_and_candidate(document)
        unwanted = {*_in_the_way(document), candidate if remove else None}
        others = [each for each in document["spec"]["predictors"] if each["name"] != baseline]
        gone = [each["name"] for each in others if each["name"] in unwanted]
        if not gone and not any(each.get("traffic") for each in others if not each.get("shadow")):
            report(f"all requests go to {baseline} already")
            return []
        removing = f" and removing {', '.join(gone)}" if gone else ""
        report(f"sending all requests to {baseline}{removing}")
        return shift_all(document, baseline, without=gone)

    try:
        return _change(cluster, name, patch, timeout_seconds, wait)
    except KubernetesError:
        # A predictor may have died since it was ready, or the operator had not looked at it yet.
        if not _in_the_way(cluster.get(name)):
            raise
    return _change(cluster, name, patch, timeout_seconds, wait)


def _in_the_way(document: Document) -> set[str]:
    """Return the predictors beside the baseline that are not ready.

    Raises
    ------
    KubernetesError
        If the baseline cannot take over.
    """
    baseline, _ = baseline_and_candidate(document)
    unready = unready_predictors(document)
    if baseline in unready and not unready[baseline].n_ready:
        raise KubernetesError(
            f"{baseline} of SeldonDeployment {document['metadata']['name']!r} cannot take the "
            f"requests ({unready[baseline]}), expected a replica to be ready; mend it first"
        )
    return set(unready) - {baseline}


def _change(
    cluster: SeldonDeployments,
    name: str,
    patch: Patch,
    timeout_seconds: float,
    wait: Report,
) -> Document:
    document = cluster.get(name)
    operations = patch(document)
    changed = cluster.patch(name, operations) if operations else document
    return cluster.wait_until_available(name, generation_of(changed), timeout_seconds, wait)
