import base64
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from abserve.errors import KubernetesError
from abserve.promotion import connection
from abserve.promotion.connection import connect
from abserve.promotion.kubernetes import Kubernetes
from tests.abserve.promotion.local_api import TOKEN, LocalApi


@pytest.fixture
def pod(api: LocalApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process in a pod of the cluster; returned is the folder of its service account."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    cluster = yaml.safe_load(api.kubeconfig.read_text())["clusters"][0]["cluster"]
    (folder / "token").write_text(TOKEN)
    (folder / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    (folder / "namespace").write_text("shop\n")
    parts = urlsplit(api.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(parts.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(parts.port))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(connection, "SERVICE_ACCOUNT", folder)
    return folder


def test_a_pod_talks_to_its_cluster_in_its_namespace(pod: Path, api: LocalApi) -> None:
    api.apply()
    cluster = Kubernetes(None, None)
    assert (cluster.server, cluster.namespace) == (api.url, "shop")
    assert cluster.names() == ["iris"]


def test_a_pod_may_be_told_of_another_namespace(pod: Path) -> None:
    assert Kubernetes(None, "other").namespace == "other"


def test_a_kubeconfig_that_is_named_comes_before_the_pods_cluster(pod: Path, api: LocalApi) -> None:
    assert not connect(api.kubeconfig).inside
    assert connect(None).inside


def test_kubectls_own_kubeconfig_comes_before_the_pods_cluster(
    pod: Path, api: LocalApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    assert not connect(None).inside


def test_a_pod_without_a_token_is_told_to_mount_it(pod: Path) -> None:
    (pod / "token").unlink()
    with pytest.raises(KubernetesError, match=f"no cluster is known .* in {pod}: mount it"):
        connect(None)


@pytest.mark.parametrize("name", ["token", "ca.crt", "namespace"])
def test_a_file_of_the_service_account_that_is_empty_is_told(name: str, pod: Path) -> None:
    (pod / name).write_text("")
    with pytest.raises(KubernetesError, match=f"{name}, of this pod's service account, is empty"):
        connect(None)


@pytest.mark.parametrize("name", ["namespace", "ca.crt"])
def test_a_file_of_the_service_account_that_is_missing_is_told(name: str, pod: Path) -> None:
    (pod / name).unlink()
    with pytest.raises(KubernetesError, match="the service account of this pod cannot be read"):
        connect(None)


def test_a_token_that_was_replaced_is_read_anew(pod: Path) -> None:
    (pod / "token").write_text("one that has run out")
    cluster = Kubernetes(None, None)
    with pytest.raises(KubernetesError, match=r"refused \(401\)"):
        cluster.names()
    (pod / "token").write_text(TOKEN)
    assert cluster.names() == []


def test_a_token_that_is_gone_is_told(pod: Path) -> None:
    cluster = Kubernetes(None, None)
    (pod / "token").unlink()
    with pytest.raises(KubernetesError, match="the service account of this pod cannot be read"):
        cluster.names()


def test_a_pod_is_not_told_to_start_a_local_cluster(
    pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(KubernetesError, match=r"does not answer .* network policies"):
        Kubernetes(None, None).names()
