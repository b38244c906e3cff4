"""The jobs: each is valid, its parts fit, and it may do what it does and no more."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest

from abserve.artifacts import seal
from abserve.cli import cli
from abserve.cluster.api.kinds import NAMESPACE
from abserve.repository import Repository
from tests.abserve.cli.conftest import Run, abserve, home, on_cluster
from tests.abserve.cluster.documents import namespace
from tests.abserve.promotion.local_api import LocalApi, Server
from tests.abserve.seldon.documents import document, predictor
from tests.manifests.rendering import MANIFESTS, ROOT, rendered
from tests.manifests.rights import (
    RecordedRequests,
    Right,
    not_granted,
    not_needed,
    rights_of,
)

__all__ = ["abserve", "home", "on_cluster"]

JOBS = ("train", "retrain", "prune", "score")
SCHEDULED = ("retrain", "prune")


@cache
def parts(job: str) -> dict[str, dict[str, Any]]:
    """What a folder renders, by kind: there is one of each."""
    found = rendered(MANIFESTS / "base/jobs" / job)
    by_kind = {each["kind"]: each for each in found}
    assert len(by_kind) == len(found)
    return by_kind


def job_spec(job: str) -> dict[str, Any]:
    if job in SCHEDULED:
        return dict(parts(job)["CronJob"]["spec"]["jobTemplate"]["spec"])
    return dict(parts(job)["Job"]["spec"])


def pod(job: str) -> dict[str, Any]:
    return dict(job_spec(job)["template"]["spec"])


def container(job: str) -> dict[str, Any]:
    (only,) = pod(job)["containers"]
    return dict(only)


@pytest.mark.parametrize("job", JOBS)
def test_every_document_is_one_that_kubernetes_takes(job: str) -> None:
    for each in parts(job).values():
        kubernetes_validate.validate(each, "1.31", strict=True)


@pytest.mark.parametrize("job", JOBS)
def test_its_name_is_one_that_the_alerts_know(job: str) -> None:
    names = {each["metadata"]["name"] for each in parts(job).values()}
    assert len(names) == 1
    assert names.pop().startswith(f"abserve-{job}")


@pytest.mark.parametrize("job", JOBS)
def test_its_arguments_are_those_of_the_command(job: str) -> None:
    command: click.Command = cli
    arguments = list(container(job)["args"])
    context = cli.make_context("abserve", list(arguments), resilient_parsing=True)
    while isinstance(command, click.Group):
        found = command.get_command(context, arguments.pop(0))
        assert found is not None
        command = found
    command.make_context(command.name, arguments, parent=context)


@pytest.mark.parametrize("job", JOBS)
def test_its_pod_keeps_to_the_restricted_profile(job: str) -> None:
    assert pod(job)["securityContext"]["runAsNonRoot"] is True
    assert pod(job)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(job)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


@pytest.mark.parametrize("job", JOBS)
def test_it_ends_at_some_time_and_needs_room_that_is_stated(job: str) -> None:
    assert job_spec(job)["activeDeadlineSeconds"] <= 86_400
    assert pod(job)["restartPolicy"] == "Never"
    assert set(container(job)["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container(job)["resources"]["limits"]


@pytest.mark.parametrize("job", JOBS)
def test_a_node_that_is_drained_is_no_failure(job: str) -> None:
    (rule,) = job_spec(job)["podFailurePolicy"]["rules"]
    assert rule == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }


@pytest.mark.parametrize("job", ["train", "retrain"])
def test_what_trains_does_so_where_nothing_serves(job: str) -> None:
    assert pod(job)["nodeSelector"] == {"abserve.io/pool": "training"}
    (toleration,) = pod(job)["tolerations"]
    assert (toleration["key"], toleration["value"]) == ("abserve.io/pool", "training")
    assert toleration["effect"] == "NoSchedule"
    for cloud in ("eks", "gke"):
        text = (ROOT / f"infrastructure/{cloud}/cluster.tf").read_text()
        assert re.search(r'key\s+= "abserve.io/pool"[^}]*"NO_SCHEDULE"', text)


def test_a_night_within_an_experiment_is_no_failure() -> None:
    assert "--if-idle" in container("retrain")["args"]


@pytest.mark.parametrize("job", SCHEDULED)
def test_two_rounds_are_never_at_work_together(job: str) -> None:
    assert parts(job)["CronJob"]["spec"]["concurrencyPolicy"] == "Forbid"


@pytest.mark.parametrize("job", JOBS)
def test_what_is_mounted_is_there(job: str) -> None:
    volumes = {each["name"]: each for each in pod(job)["volumes"]}
    mounts = {each["name"]: Path(each["mountPath"]) for each in container(job)["volumeMounts"]}
    assert set(mounts) == set(volumes)
    for claim in (
        each["persistentVolumeClaim"]
        for each in volumes.values()
        if "persistentVolumeClaim" in each
    ):
        assert claim["claimName"] == parts(job)["PersistentVolumeClaim"]["metadata"]["name"]
    files = [each.partition("=")[2] or each for each in container(job)["args"]]
    for file in (Path(each) for each in files if each.startswith("/")):
        assert any(file.is_relative_to(folder) for folder in mounts.values()), file


@pytest.mark.parametrize("job", JOBS)
def test_its_network_policy_selects_its_pods(job: str) -> None:
    template = job_spec(job)["template"]
    selected = parts(job)["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert selected
    assert selected.items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("job", JOBS)
def test_only_a_job_with_rights_gets_a_token(job: str) -> None:
    with_rights = {"Role", "ClusterRole"} & parts(job).keys()
    assert pod(job)["automountServiceAccountToken"] is bool(with_rights)
    assert parts(job)["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod(job)["serviceAccountName"] == parts(job)["ServiceAccount"]["metadata"]["name"]


@pytest.mark.parametrize("job", SCHEDULED)
def test_its_account_has_its_role(job: str) -> None:
    kind = "ClusterRole" if job == "prune" else "Role"
    binding, role = parts(job)[f"{kind}Binding"], parts(job)[kind]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (
        kind,
        role["metadata"]["name"],
    )
    account = parts(job)["ServiceAccount"]["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]


@pytest.mark.parametrize("job", ["train", "retrain"])
def test_what_publishes_signs(job: str) -> None:
    environment = {each["name"]: each["value"] for each in container(job)["env"]}
    mounts = {each["mountPath"] for each in container(job)["volumeMounts"]}
    assert str(Path(environment["ABSERVE_PRIVATE_KEY"]).parent) in mounts


@pytest.mark.parametrize("job", JOBS)
def test_its_image_is_a_target_of_the_dockerfile_that_holds_the_definitions(job: str) -> None:
    name = container(job)["image"].partition(":")[0]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert name == "abserve/training"
    assert " AS training\n" in dockerfile
    assert "COPY models/" in dockerfile
    assert "COPY model-settings/" in dockerfile


def test_the_experiment_is_the_one_that_is_shipped() -> None:
    (volume,) = [each for each in pod("retrain")["volumes"] if "configMap" in each]
    made = [each for each in rendered(MANIFESTS / "base/iris") if each["kind"] == "ConfigMap"]
    assert [each["metadata"]["name"] for each in made] == [volume["configMap"]["name"]]


# Rights.


@pytest.fixture
def recorded(api: LocalApi, server: Server) -> RecordedRequests:
    """What is asked of the API from now on."""
    api.create(NAMESPACE, namespace("shop"))
    assert server.app is not None
    recorder = RecordedRequests(server.app)
    server.app = recorder
    return recorder


def test_retraining_may_do_what_it_does_and_nothing_else(
    api: LocalApi, recorded: RecordedRequests, on_cluster: Run, tmp_path: Path
) -> None:
    repository = Repository(f"file://{tmp_path}/repository")
    for version in ("v1", "v2"):
        repository.publish("iris", version, seal({"metadata.json": b"{}"}))
    retrain = ("retrain", "iris", "--repository", repository.url, "--published", "v2")
    assert on_cluster(*retrain).code == 1  # there is none: all names are asked for
    api.apply(document(predictor("baseline", "v1", traffic=100)))
    api.operator = lambda _store, _changed: None  # so that it has to wait
    ended = on_cluster(*retrain, "--timeout", "1")
    assert "after 1 s" in ended.err
    granted = rights_of(parts("retrain")["Role"])
    # The gateway's address is shown if it may be read.
    shown = {Right("get", "", "configmaps", "abserve-gateway")}
    assert not_granted(recorded.needed - shown, granted) == set()
    assert not_needed(recorded.needed, granted) == set()


def test_retention_asks_for_the_seldondeployments_of_all_namespaces() -> None:
    assert rights_of(parts("prune")["ClusterRole"]) == {
        Right("list", "machinelearning.seldon.io", "seldondeployments", "")
    }


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_an_environment_has_its_own_repository_and_images(environment: str) -> None:
    found = rendered(MANIFESTS / "overlays" / environment / "jobs")
    scoped = [each for each in found if not each["kind"].startswith("ClusterRole")]
    assert {each["metadata"]["namespace"] for each in scoped} == {"models"}
    specs = [each["spec"] for each in found if each["kind"] in {"Job", "CronJob"}]
    pods = [each.get("jobTemplate", {}).get("spec", each)["template"]["spec"] for each in specs]
    containers = [container for each in pods for container in each["containers"]]
    assert len(containers) == 3
    for each in containers:
        assert each["image"].startswith("ghcr.io/abserve/training@sha256:")
        assert each["env"][0]["value"] == f"s3://abserve-models-{environment}"
    for binding in (each for each in found if each["kind"].endswith("RoleBinding")):
        assert [each["namespace"] for each in binding["subjects"]] == ["models"]
