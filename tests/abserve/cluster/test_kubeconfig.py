from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from abserve.cluster.kubeconfig import kubeconfig

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\n"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_bytes(kubeconfig("https://127.0.0.1:7443", CERTIFICATE, "secret-token"))
    return path


@pytest.fixture
def read(written: Path) -> Any:
    """What the official client makes of it."""
    configuration = client.Configuration()
    config.load_kube_config(str(written), client_configuration=configuration)
    return configuration


def test_the_official_client_finds_the_api(read: Any) -> None:
    assert read.host == "https://127.0.0.1:7443"
    assert read.verify_ssl


def test_the_official_client_sends_the_token(read: Any) -> None:
    assert read.auth_settings()["BearerToken"]["value"] == "Bearer secret-token"


def test_the_official_client_trusts_the_certificate(read: Any) -> None:
    assert Path(read.ssl_ca_cert).read_bytes() == CERTIFICATE


def test_commands_without_a_namespace_mean_the_default_one(written: Path) -> None:
    _, active = config.list_kube_config_contexts(str(written))
    assert active["context"]["namespace"] == "default"


def test_it_names_itself_as_kubectl_expects() -> None:
    content = yaml.safe_load(kubeconfig("https://127.0.0.1:7443", CERTIFICATE, "t"))
    assert (content["apiVersion"], content["kind"]) == ("v1", "Config")
