"""Whatever stands in the files, the check ends, and says which file is wrong."""

from pathlib import Path
from typing import Any

import pytest

from abserve.errors import ManifestError
from tests.abserve.manifests.trees import checked, found, kustomization, thing

OBJECT = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"
TEN = ", ".join(["{}"] * 10)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{TEN.format(*[f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- a", "cannot unmarshal array"),
        ("resources: a.yaml", "cannot unmarshal string"),
        ("resources: 5", "cannot unmarshal number"),
        ("{resources: [a.yaml], patches: nonsense}", "cannot unmarshal string"),
        ("{resources: [a.yaml], patchesStrategicMerge: 5}", "cannot unmarshal number"),
        (f"resources: {'[' * 20000}{']' * 20000}", "max depth"),
        ("resources: [.]", "cycle detected"),
        ('resources: ["\\0"]', "resource"),
        (BOMB, "its aliases spell out 1.2e+09 values"),
    ],
    ids=lambda each: each[:30],
)
def test_a_kustomization_of_nonsense_is_told(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(content)
    (tmp_path / "a.yaml").write_text(OBJECT)
    (finding,) = found(tmp_path, "render")
    assert finding.file == str(tmp_path / "kustomization.yaml")
    assert said in finding.message


def test_a_circle_of_kustomizations_is_told(tmp_path: Path) -> None:
    kustomization(tmp_path / "a", resources=["../b"])
    kustomization(tmp_path / "b", resources=["../a"])
    with pytest.raises(ManifestError, match="or included by another"):
        checked(tmp_path)


def test_a_circle_of_links_is_told(tmp_path: Path) -> None:
    kustomization(tmp_path, resources=["one.yaml"])
    (tmp_path / "one.yaml").symlink_to("two.yaml")
    (tmp_path / "two.yaml").symlink_to("one.yaml")
    (finding,) = found(tmp_path, "render")
    assert "one.yaml" in finding.message


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    kustomization(tmp_path, resources=["a.yaml"])
    (tmp_path / "a.yaml").write_bytes(bytes(range(256)))
    (finding,) = found(tmp_path, "render")
    assert "a.yaml" in finding.message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB, "its aliases spell out 1.2e+09 values"),
        (f"# {'x' * 9 * 2**20}\n{OBJECT}", "has 9 MiB, more than could be applied"),
    ],
    ids=["aliases", "size"],
)
def test_kubectl_is_spared_what_it_would_choke_on(content: str, said: str, tmp_path: Path) -> None:
    top = kustomization(tmp_path / "top", resources=["../base"])
    kustomization(tmp_path / "base", resources=["a.yaml"])
    (tmp_path / "base/a.yaml").write_text(content)
    (finding,) = found(top, "render")
    assert finding.message.startswith(f"{tmp_path / 'base/a.yaml'}: {said}")


NONSENSE: dict[str, Any] = {
    "chart": 5,
    "dataFrom": 4,
    "dependsOn": [1],
    "egress": "x",
    "gateways": 7,
    "healthChecks": [{"kind": "HelmRelease"}],
    "ingress": [5],
    "issuerRef": {"group": []},
    "jobTemplate": [],
    "namespaceSelector": {"matchNames": 5},
    "podMetricsEndpoints": 4,
    "podSelector": [],
    "ports": [1],
    "predictors": [5, None, {"name": 3, "graph": []}],
    "provider": [1],
    "scaleTargetRef": "x",
    "secretTargetRef": {},
    "selector": [],
    "servers": 5,
    "sourceRef": [],
    "targetNamespace": 5,
    "template": [],
    "triggers": "x",
    "workloadSelector": {"labels": 4},
}
KINDS = [
    "AuthorizationPolicy",
    "Certificate",
    "CronJob",
    "EnvoyFilter",
    "ExternalSecret",
    "Gateway",
    "HelmRelease",
    "Job",
    "Kustomization",
    "NetworkPolicy",
    "PodMonitor",
    "RoleBinding",
    "ScaledObject",
    "SecretStore",
    "SeldonDeployment",
    "Service",
    "TriggerAuthentication",
    "VirtualService",
]


# Told from kustomize's own by its group.
API_VERSIONS = {"Kustomization": "kustomize.toolkit.fluxcd.io/v1"}


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_nonsense_do_not_end_the_check(kind: str, tmp_path: Path) -> None:
    made = thing(
        kind, "a", API_VERSIONS.get(kind, "example.com/v1"), spec=NONSENSE, roleRef=5,
        subjects=[1, {"kind": "ServiceAccount"}],
    )  # fmt: skip
    assert checked(kustomization(tmp_path, made)).n_documents == 1
