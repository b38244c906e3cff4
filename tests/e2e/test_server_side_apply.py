"""Every way in which the real kubectl writes: apply by the server, patch, edit, scale, delete."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from abserve.promotion import Kubernetes
from abserve.promotion.applying import Applying
from abserve.seldon import weights_patch
from abserve.weights import Weights
from tests.e2e.local_cluster import OVERLAY, LocalCluster, infer, iris, wait_until

pytestmark = pytest.mark.e2e


def colours(**data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "colours"},
        "data": data,
    }


def apply(
    cluster: LocalCluster, document: dict[str, Any], *arguments: str
) -> "subprocess.CompletedProcess[str]":
    text = yaml.safe_dump(document)
    return cluster.kubectl("apply", "--server-side", "-f", "-", *arguments, text=text)


def found(cluster: LocalCluster, *what: str) -> dict[str, Any]:
    shown = cluster.must("kubectl", "get", *what, "-o", "json", "--show-managed-fields")
    document: dict[str, Any] = json.loads(shown)
    return document


def managers(document: dict[str, Any]) -> set[tuple[str, str]]:
    entries = document["metadata"]["managedFields"]
    return {(each["manager"], each["operation"]) for each in entries}


@pytest.fixture
def map_cluster(cluster: LocalCluster) -> Iterator[LocalCluster]:
    """The cluster with colours, applied by the server for kubectl."""
    assert apply(cluster, colours(sky="blue", sea="green")).returncode == 0
    yield cluster
    cluster.must("kubectl", "delete", "configmap", "colours", "--ignore-not-found")


# Applying.


def test_iris_is_applied_by_the_server_and_serves(cluster: LocalCluster) -> None:
    for _ in range(2):
        applied = cluster.must("kubectl", "apply", "--server-side", "-k", str(OVERLAY))
        assert "serverside-applied" in applied
    assert cluster.get("iris")["metadata"]["generation"] == 1
    cluster.must("kubectl", "wait", "--for=condition=Ready", "sdep/iris", "--timeout=60s")
    try:
        assert infer(cluster.url()).status_code == 200
        assert cluster.kubectl("diff", "--server-side", "-k", str(OVERLAY)).returncode == 0
        changed = iris()
        for predictor, traffic in zip(changed["spec"]["predictors"], (60, 40), strict=True):
            predictor["traffic"] = traffic
        differs = cluster.kubectl("diff", "--server-side", "-f", "-", text=yaml.safe_dump(changed))
        assert differs.returncode == 1
        assert "+    traffic: 60" in differs.stdout
        refused = apply(cluster, changed, "--field-manager=bert")
        assert refused.returncode == 1
        assert 'conflict with "kubectl": .spec.predictors' in refused.stderr
        assert apply(cluster, changed).returncode == 0
        cluster.wait_until_available("iris")
        assert "baseline 60%, candidate 40%" in cluster.must("kubectl", "get", "sdep", "iris")
    finally:
        cluster.delete("iris")


def test_kubectl_explains_a_conflict_and_how_to_solve_it(map_cluster: LocalCluster) -> None:
    refused = apply(map_cluster, colours(sky="grey", sun="red"), "--field-manager=bert")
    assert refused.returncode == 1
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.sky' in refused.stderr
    assert "--force-conflicts" in refused.stderr
    assert found(map_cluster, "cm", "colours")["data"] == {"sky": "blue", "sea": "green"}


def test_forcing_a_conflict_takes_the_field(map_cluster: LocalCluster) -> None:
    arguments = ("--field-manager=bert", "--force-conflicts")
    assert apply(map_cluster, colours(sky="grey"), *arguments).returncode == 0
    document = found(map_cluster, "cm", "colours")
    assert document["data"] == {"sky": "grey", "sea": "green"}
    assert managers(document) == {("kubectl", "Apply"), ("bert", "Apply")}
    refused = apply(map_cluster, colours(sky="blue", sea="green"))
    assert 'conflict with "bert": .data.sky' in refused.stderr


def test_a_field_that_is_no_longer_applied_is_gone(map_cluster: LocalCluster) -> None:
    assert apply(map_cluster, colours(sea="green")).returncode == 0
    assert found(map_cluster, "cm", "colours")["data"] == {"sea": "green"}


def test_applying_for_a_dry_run_changes_nothing(map_cluster: LocalCluster) -> None:
    before = found(map_cluster, "cm", "colours")
    dry = apply(map_cluster, colours(sky="grey"), "--dry-run=server")
    assert "server dry run" in dry.stdout
    assert found(map_cluster, "cm", "colours") == before


def test_one_can_go_from_kubectls_own_apply_to_the_servers_and_back(
    cluster: LocalCluster,
) -> None:
    own = ("apply", "-f", "-")
    cluster.kubectl(*own, text=yaml.safe_dump(colours(sky="blue", sea="green")))
    applied = apply(cluster, colours(sky="grey", sun="red"))
    assert (applied.returncode, applied.stderr) == (0, "")
    document = found(cluster, "cm", "colours")
    assert document["data"] == {"sky": "grey", "sun": "red"}
    assert managers(document) == {("kubectl", "Apply"), ("kubectl-last-applied", "Apply")}
    back = cluster.kubectl(*own, text=yaml.safe_dump(colours(sky="blue")))
    assert (back.returncode, back.stderr) == (0, "")
    assert found(cluster, "cm", "colours")["data"] == {"sky": "blue"}
    again = apply(cluster, colours(sky="black"))
    assert (again.returncode, again.stderr) == (0, "")
    assert found(cluster, "cm", "colours")["data"] == {"sky": "black"}
    cluster.must("kubectl", "delete", "cm", "colours")


# Other writes.


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", '{"data": {"sky": "grey", "sea": null}}'),
        ("merge", '{"data": {"sky": "grey", "sea": null}}'),
        (
            "json",
            '[{"op": "test", "path": "/data/sky", "value": "blue"},'
            ' {"op": "replace", "path": "/data/sky", "value": "grey"},'
            ' {"op": "remove", "path": "/data/sea"}]',
        ),
    ],
)
def test_each_kind_of_patch_is_taken(map_cluster: LocalCluster, kind: str, patch: str) -> None:
    map_cluster.must("kubectl", "patch", "cm", "colours", f"--type={kind}", "-p", patch)
    document = found(map_cluster, "cm", "colours")
    assert document["data"] == {"sky": "grey"}
    assert managers(document) == {("kubectl-patch", "Update")}


def test_labels_and_annotations_come_and_go(map_cluster: LocalCluster) -> None:
    for word, field in (("label", "labels"), ("annotate", "annotations")):
        map_cluster.must("kubectl", word, "cm", "colours", "team=blue")
        kept = map_cluster.kubectl(word, "cm", "colours", "team=red")
        assert "--overwrite is false" in kept.stderr
        map_cluster.must("kubectl", word, "cm", "colours", "team=red", "--overwrite")
        assert found(map_cluster, "cm", "colours")["metadata"][field] == {"team": "red"}
        map_cluster.must("kubectl", word, "cm", "colours", "team-")
        assert field not in found(map_cluster, "cm", "colours")["metadata"]


def test_an_old_version_is_not_replaced(map_cluster: LocalCluster) -> None:
    document = found(map_cluster, "cm", "colours")
    document["data"]["sky"] = "grey"
    text = json.dumps(document)
    replaced = map_cluster.kubectl("replace", "-f", "-", text=text)
    assert replaced.returncode == 0, replaced.stderr
    again = map_cluster.kubectl("replace", "-f", "-", text=text.replace("grey", "black"))
    assert "please apply your changes to the latest version and try again" in again.stderr
    stale = map_cluster.kubectl("annotate", "cm", "colours", "a=b", "--resource-version=1")
    assert "(Conflict)" in stale.stderr
    assert found(map_cluster, "cm", "colours")["data"]["sky"] == "grey"


def test_an_object_is_edited(map_cluster: LocalCluster, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/sky: blue/sky: grey/" "$1"\n')
    editor.chmod(0o700)
    edited = map_cluster.run("kubectl", "edit", "cm", "colours", KUBE_EDITOR=str(editor))
    assert edited.returncode == 0, edited.stderr
    assert found(map_cluster, "cm", "colours")["data"]["sky"] == "grey"


def test_a_name_can_be_left_to_the_server(cluster: LocalCluster) -> None:
    document = colours()
    document["metadata"] = {"generateName": "shade-"}
    text = yaml.safe_dump(document)
    names = {
        cluster.run("kubectl", "create", "-f", "-", "-o", "name", text=text).stdout.strip()
        for _ in range(2)
    }
    assert len(names) == 2
    assert all(name.startswith("configmap/shade-") for name in names)
    cluster.must("kubectl", "delete", *names)


def test_scaling_starts_and_stops_replicas(iris_cluster: LocalCluster) -> None:
    assert "scaled" in iris_cluster.must("kubectl", "scale", "sdep", "iris", "--replicas=2")
    iris_cluster.wait_until_available("iris")
    assert len(iris_cluster.pods("iris")) == 4
    scale = found(iris_cluster, "sdep", "iris", "--subresource=scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 2)
    wrong = iris_cluster.kubectl("scale", "sdep", "iris", "--replicas=3", "--current-replicas=5")
    assert "Expected replicas to be 5, was 2" in wrong.stderr
    patch = ("patch", "sdep", "iris", "--subresource=scale", "--type=merge", "-p")
    negative = iris_cluster.kubectl(*patch, '{"spec": {"replicas": -1}}')
    assert "must be greater than or equal to 0" in negative.stderr
    iris_cluster.must("kubectl", "scale", "sdep", "iris", "--replicas=1")
    wait_until(lambda: len(iris_cluster.pods("iris")) == 2, lambda: iris_cluster.pods("iris"))


# Deleting.


def test_objects_are_deleted_with_every_flag(cluster: LocalCluster) -> None:
    def make(*names: str) -> None:
        for name in names:
            cluster.must("kubectl", "create", "cm", name, "--from-literal=a=b")
            cluster.must("kubectl", "label", "cm", name, "team=shades")

    def left() -> list[str]:
        return cluster.must("kubectl", "get", "cm", "-l", "team=shades", "-o", "name").split()

    make("one", "two")
    cluster.must("kubectl", "delete", "cm", "one", "--dry-run=server")
    cluster.must("kubectl", "delete", "cm", "--all", "--dry-run=server")
    assert left() == ["configmap/one", "configmap/two"]
    cluster.must("kubectl", "delete", "cm", "one", "--cascade=foreground", "--wait")
    cluster.must("kubectl", "delete", "cm", "one", "--ignore-not-found")
    assert cluster.kubectl("delete", "cm", "one").returncode == 1
    cluster.must("kubectl", "delete", "cm", "two", "--grace-period=0", "--force")
    assert left() == []
    make("one", "two", "three")
    cluster.must("kubectl", "delete", "cm", "one", "--cascade=orphan", "--now")
    cluster.must("kubectl", "delete", "cm", "--field-selector=metadata.name=two")
    cluster.must("kubectl", "delete", "cm", "-l", "team=shades")
    assert left() == []
    cluster.must("kubectl", "delete", "sdep", "--all")


# Who may, and what is told.


def test_kubectl_is_told_what_it_may_do(cluster: LocalCluster) -> None:
    assert cluster.must("kubectl", "auth", "can-i", "create", "sdep").strip() == "yes"
    assert cluster.must("kubectl", "auth", "can-i", "update", "sdep/iris").strip() == "yes"
    refused = cluster.kubectl("auth", "can-i", "create", "pods")
    assert refused.stdout.startswith("no - ")
    assert "deletecollection" in cluster.must("kubectl", "auth", "can-i", "--list")
    assert "system:masters" in cluster.must("kubectl", "auth", "whoami")


def test_a_misspelt_field_is_refused_unless_that_is_to_be_ignored(cluster: LocalCluster) -> None:
    document = colours(sky="blue")
    document["dta"] = {"sea": "green"}
    for arguments in ((), ("--validate=warn",)):
        refused = apply(cluster, document, *arguments)
        assert refused.returncode == 1
        assert 'strict decoding error: unknown field "dta"' in refused.stderr
    assert apply(cluster, document, "--validate=ignore").returncode == 0
    assert "dta" not in found(cluster, "cm", "colours")
    cluster.must("kubectl", "delete", "cm", "colours")


def test_the_values_of_a_secret_stay_out_of_refusals_and_logs(cluster: LocalCluster) -> None:
    create = ("create", "secret", "generic", "pass")
    cluster.must("kubectl", *create, "--from-literal=word=open-sesame")
    test = '[{"op": "test", "path": "/data/word", "value": "guess"}]'
    said = [
        cluster.kubectl("patch", "secret", "pass", "--type=json", "-p", test),
        cluster.kubectl("patch", "secret", "pass", "-p", '{"data": {"word": "open-sesame"}}'),
        cluster.kubectl("patch", "secret", "pass", "-p", '{"stringData": {"word": 31337}}'),
        cluster.kubectl(*create, "--from-literal=word=open-sesame"),
    ]
    assert all(each.returncode == 1 for each in said)
    told = "".join(each.stdout + each.stderr for each in said)
    told += "".join(path.read_text() for path in (cluster.home / "logs").glob("*.log"))
    encoded = cluster.must("kubectl", "get", "secret", "pass", "-o", "jsonpath={.data.word}")
    assert not any(word in told for word in ("open-sesame", "31337", encoded))
    cluster.must("kubectl", "delete", "secret", "pass")


# The rollout controller beside a GitOps tool.

OLD_WEIGHTS, NEW_WEIGHTS = [90, 10], [50, 50]
BARE = {
    "apiVersion": "machinelearning.seldon.io/v1",
    "kind": "SeldonDeployment",
    "metadata": {"name": "iris"},
}


def weights_of(document: dict[str, Any]) -> list[int]:
    return [each["traffic"] for each in document["spec"]["predictors"]]


def owners_of_predictors(cluster: LocalCluster) -> set[str]:
    entries = found(cluster, "sdep", "iris")["metadata"]["managedFields"]
    return {
        each["manager"] for each in entries if "f:predictors" in each["fieldsV1"].get("f:spec", {})
    }


def apply_overlay(cluster: LocalCluster, *options: str) -> "subprocess.CompletedProcess[str]":
    return cluster.kubectl(
        "apply", "--server-side", "--field-manager=gitops", *options, "-k", str(OVERLAY)
    )


def test_what_the_controller_changed_no_old_manifest_turns_back(cluster: LocalCluster) -> None:
    assert apply_overlay(cluster).returncode == 0
    try:
        cluster.wait_until_available("iris")
        half = weights_patch(cluster.get("iris"), Weights({"baseline": 50, "candidate": 50}))
        kubernetes = Kubernetes(cluster.home / "kubeconfig", None)
        Applying(kubernetes, lambda: None).patch("iris", half)
        assert owners_of_predictors(cluster) == {"abserve-rollout"}

        refused = apply_overlay(cluster)
        assert refused.returncode == 1
        assert 'conflict with "abserve-rollout": .spec.predictors' in refused.stderr
        assert weights_of(cluster.get("iris")) == NEW_WEIGHTS

        # What docs/rollout-in-the-cluster.md says to do once git has what is served: here git is
        # what was served before.
        assert apply_overlay(cluster, "--force-conflicts").returncode == 0
        assert apply(cluster, BARE, "--field-manager=abserve-rollout").returncode == 0
        assert owners_of_predictors(cluster) == {"gitops"}
        assert weights_of(cluster.get("iris")) == OLD_WEIGHTS
        assert apply_overlay(cluster).returncode == 0
    finally:
        cluster.delete("iris")


def test_fields_that_both_state_alike_stay_when_the_controller_gives_them_up(
    cluster: LocalCluster,
) -> None:
    assert apply_overlay(cluster).returncode == 0
    try:
        cluster.wait_until_available("iris")
        kubernetes = Kubernetes(cluster.home / "kubeconfig", None)
        Applying(kubernetes, lambda: None).patch("iris", [])
        assert owners_of_predictors(cluster) == {"gitops", "abserve-rollout"}
        assert apply(cluster, BARE, "--field-manager=abserve-rollout").returncode == 0
        assert owners_of_predictors(cluster) == {"gitops"}
        assert weights_of(cluster.get("iris")) == OLD_WEIGHTS
    finally:
        cluster.delete("iris")


# Leases.


def lease(holder: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "turn"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
    }


def test_kubectl_writes_and_reads_leases(cluster: LocalCluster) -> None:
    try:
        assert cluster.apply(lease("anna")).returncode == 0
        assert cluster.must("kubectl", "get", "leases").split()[:5] == [
            "NAME",
            "HOLDER",
            "AGE",
            "turn",
            "anna",
        ]
        seen = json.loads(cluster.must("kubectl", "get", "lease", "turn", "-o", "json"))
        assert "Holder Identity:" in cluster.must("kubectl", "describe", "lease", "turn")
        explained = cluster.must("kubectl", "explain", "lease.spec.renewTime")
        assert "When its holder renewed it last" in explained
        patch = '{"spec": {"holderIdentity": "bert"}}'
        cluster.must("kubectl", "patch", "lease", "turn", "--type=merge", "-p", patch)
        seen["spec"]["holderIdentity"] = "carl"
        late = cluster.kubectl("replace", "-f", "-", text=yaml.safe_dump(seen))
        assert late.returncode == 1
        assert "the object has been modified" in late.stderr
        refused = apply(cluster, lease("dora"), "--field-manager=dora")
        assert "conflict" in refused.stderr
    finally:
        cluster.must("kubectl", "delete", "lease", "turn", "--ignore-not-found")
