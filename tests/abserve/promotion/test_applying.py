from typing import Any

import pytest

from abserve.errors import KubernetesError
from abserve.promotion import Kubernetes, promote, set_weights
from abserve.promotion.applying import Applying
from abserve.seldon import weights_patch
from abserve.weights import Weights
from tests.abserve.promotion.local_api import LocalApi
from tests.abserve.seldon.documents import Document

HALF = Weights({"baseline": 50, "candidate": 50})


def allow() -> None:
    pass


def owners(document: Document) -> dict[str, Any]:
    """Return who owns the predictors, by operation."""
    return {
        entry["manager"]: entry["operation"]
        for entry in document["metadata"]["managedFields"]
        if "f:predictors" in entry["fieldsV1"].get("f:spec", {})
    }


def test_the_predictors_are_owned_by_who_applied_them(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    changed = set_weights(Applying(cluster, allow), "iris", HALF, 5)
    assert [each["traffic"] for each in changed["spec"]["predictors"]] == [50, 50]
    assert owners(changed) == {"abserve-rollout": "Apply"}
    assert changed["spec"]["protocol"] == "v2"


def test_flux_is_told_to_leave_what_was_applied_alone_until_it_is_given_back(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    changed = set_weights(Applying(cluster, allow), "iris", HALF, 5)
    assert changed["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/ssa"] == "Ignore"
    for manager, stated in (
        ("kustomize-controller", {"spec": {"predictors": changed["spec"]["predictors"]}}),
        ("abserve-rollout", {}),
    ):
        kept = cluster.custom.patch_namespaced_custom_object(
            "machinelearning.seldon.io",
            "v1",
            "shop",
            "seldondeployments",
            "iris",
            {
                "apiVersion": changed["apiVersion"],
                "kind": changed["kind"],
                "metadata": {"name": "iris"},
                **stated,
            },
            field_manager=manager,
            force=True,
            _content_type="application/apply-patch+yaml",
        )
    assert "kustomize.toolkit.fluxcd.io/ssa" not in kept["metadata"].get("annotations", {})
    assert kept["spec"] == changed["spec"]


def test_a_promotion_can_be_applied(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    promoted = promote(Applying(cluster, allow), "iris", lambda _: None, 5)
    (only,) = promoted["spec"]["predictors"]
    assert (only["name"], only["graph"]["modelUri"]) == ("baseline", "s3://models/iris/v2")


def test_a_change_of_the_spec_since_it_was_decided_on_is_refused(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    operations = weights_patch(cluster.get("iris"), HALF)
    set_weights(cluster, "iris", Weights({"baseline": 20, "candidate": 80}), 5)
    with pytest.raises(KubernetesError, match="somebody else changed it meanwhile"):
        Applying(cluster, allow).patch("iris", operations)
    assert [each["traffic"] for each in cluster.get("iris")["spec"]["predictors"]] == [20, 80]


def test_a_status_that_is_written_meanwhile_is_no_obstacle(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    written = []

    def write_status() -> None:
        if not written:
            written.append(True)
            cluster.custom.patch_namespaced_custom_object_status(
                "machinelearning.seldon.io",
                "v1",
                "shop",
                "seldondeployments",
                "iris",
                {"status": {"description": "again"}},
                _content_type="application/merge-patch+json",
            )

    changed = Applying(cluster, write_status).patch(
        "iris", weights_patch(cluster.get("iris"), HALF)
    )
    assert [each["traffic"] for each in changed["spec"]["predictors"]] == [50, 50]
    assert changed["status"]["description"] == "again"


def test_nothing_is_written_by_who_may_not(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()

    def refuse() -> None:
        raise KubernetesError("another leads now")

    with pytest.raises(KubernetesError, match="another leads now"):
        set_weights(Applying(cluster, refuse), "iris", HALF, 5)
    assert cluster.get("iris")["metadata"]["generation"] == 1
