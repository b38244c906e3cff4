"""Pods choose nodes that the OpenTofu modules make, and tolerate their taints."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.manifests.models import CLUSTERS, MODELS, deployment, documents, pods
from tests.manifests.rendering import ROOT

LABEL = "abserve.io/pool"
# What the clouds' interfaces and Kubernetes call the same.
EFFECTS = {"NO_SCHEDULE": "NoSchedule"}

Document = dict[str, Any]


@dataclass(frozen=True)
class Pool:
    """Nodes that are alike: their label, and what keeps pods away from them."""

    label: str
    taints: tuple[tuple[str, str, str], ...] = ()

    def takes(self, pod: Document) -> bool:
        """Return whether the scheduler would put a pod there."""
        wanted = pod.get("nodeSelector", {})
        return wanted.items() <= {LABEL: self.label}.items() and all(
            any(tolerates(each, taint) for each in pod.get("tolerations", ()))
            for taint in self.taints
        )


def tolerates(toleration: Document, taint: tuple[str, str, str]) -> bool:
    key, value, effect = taint
    return (
        toleration.get("key") == key
        and toleration.get("effect") in {None, effect}
        and (toleration.get("operator") == "Exists" or toleration.get("value") == value)
    )


def of_eks(text: str) -> Iterator[Pool]:
    groups = text.partition("eks_managed_node_groups = {")[2]
    for block in re.findall(r"merge\(local\.nodes, \{\n(.*?)\n    \}\)", groups, re.DOTALL):
        labels = re.findall(rf'labels += \{{ "{LABEL}" = "(\w+)" \}}', block)
        taints = re.findall(r'\{ key = "([^"]+)", value = "(\w+)", effect = "(\w+)" \}', block)
        yield Pool(labels[0], tuple((key, value, EFFECTS[each]) for key, value, each in taints))


def of_gke(text: str) -> Iterator[Pool]:
    # A pool's key is its label, and of those that are tainted the taint's value.
    assert f'labels          = {{ "{LABEL}" = each.key }}' in text
    names = re.findall(
        r"^    (\w+) += ", text.partition("\n  pools = {")[2].partition("\n  }")[0], re.MULTILINE
    )
    ((tainted, key, effect),) = re.findall(
        r'for_each = each\.key == "(\w+)" \? \["\1"\] : \[\]\s+content \{\s+key += "([^"]+)"'
        r'\s+value += taint\.value\s+effect += "(\w+)"',
        text,
    )
    for name in names:
        yield Pool(name, ((key, name, EFFECTS[effect]),) if name == tainted else ())


def pools(module: str) -> dict[str, Pool]:
    written = (ROOT / "infrastructure" / module / "cluster.tf").read_text()
    text = re.sub(r"^\s*#.*\n", "", written, flags=re.MULTILINE)
    found = list(of_eks(text) if module == "eks" else of_gke(text))
    return {each.label: each for each in found}


every_module = pytest.mark.parametrize("module", ["eks", "gke"])
every_cluster = pytest.mark.parametrize("environment", CLUSTERS)


@every_module
def test_only_the_pool_of_trainings_keeps_others_away(module: str) -> None:
    assert pools(module) == {
        "system": Pool("system"),
        "serving": Pool("serving"),
        "training": Pool("training", ((LABEL, "training", "NoSchedule"),)),
    }


@every_module
@every_cluster
@pytest.mark.parametrize("model", MODELS)
def test_versions_run_on_nodes_for_serving_and_nowhere_else(
    environment: str, model: str, module: str
) -> None:
    for pod in pods(deployment(environment, model)):
        assert [name for name, pool in pools(module).items() if pool.takes(pod)] == ["serving"]


def test_one_machine_has_no_pools() -> None:
    for pod in pods(deployment("local", "iris")):
        assert "nodeSelector" not in pod


@every_module
@every_cluster
@pytest.mark.parametrize("folder", ["jobs", "rollout"])
def test_there_are_nodes_for_whatever_else_we_run(
    environment: str, folder: str, module: str
) -> None:
    templates = [
        each["spec"].get("jobTemplate", each)["spec"]["template"]["spec"]
        for each in documents(f"overlays/{environment}/{folder}")
        if each["kind"] in {"CronJob", "Deployment", "Job"}
    ]
    assert templates
    for pod in templates:
        assert any(pool.takes(pod) for pool in pools(module).values()), pod


def test_a_pod_goes_where_it_asks_to_and_is_let_in() -> None:
    tainted = Pool("training", ((LABEL, "training", "NoSchedule"),))
    wanted = {"nodeSelector": {LABEL: "training"}}
    toleration = {"key": LABEL, "value": "training", "effect": "NoSchedule"}
    assert not tainted.takes(wanted)
    assert tainted.takes({**wanted, "tolerations": [toleration]})
    assert not Pool("serving").takes({**wanted, "tolerations": [toleration]})
