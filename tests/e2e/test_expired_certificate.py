"""docs/runbook/expired-certificate.md, walked: callers see that it expired, then a new one."""

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.debian import needs
from tests.e2e.local_cluster import (
    SETOSA,
    LocalCluster,
    copy_repository,
    running_cluster,
    wait_until,
)
from tests.e2e.on_call import on_call

pytestmark = [pytest.mark.e2e, needs("jq"), needs("openssl")]

DAY = dt.timedelta(days=1)


def write_certificate(folder: Path, *, ends: dt.datetime) -> None:
    """Write a certificate of ten days for localhost, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - 10 * DAY)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "new.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "new.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.fixture
def cluster(repository: Path, tmp_path: Path) -> Iterator[LocalCluster]:
    """A cluster whose certificate expired while it ran, as Envoy sees it once it starts anew."""
    copy_repository(repository, tmp_path / "home")
    write_certificate(tmp_path, ends=dt.datetime.now(dt.UTC) + DAY)
    files = ("--tls-cert", str(tmp_path / "new.pem"), "--tls-key", str(tmp_path / "new.key"))
    with running_cluster(tmp_path / "home", *files) as running:
        running.apply_iris()
        write_certificate(tmp_path, ends=dt.datetime.now(dt.UTC) - DAY)
        psutil.Process(running.pid_of("envoy")).kill()
        yield running


def ask(url: str, trusted: Path) -> str:
    """Return the version that answers, or what the caller is told of the certificate."""
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}
    try:
        answer = requests.post(url, json={"inputs": [tensor]}, verify=str(trusted), timeout=10)
    except requests.ConnectionError as error:
        return str(error)
    return str(answer.json()["model_version"])


def test_an_expired_certificate_is_seen_and_replaced(cluster: LocalCluster, tmp_path: Path) -> None:
    url, trusted = cluster.url(), tmp_path / "new.pem"
    wait_until(lambda: "certificate has expired" in ask(url, trusted), lambda: ask(url, trusted))
    shutil.copy(trusted, tmp_path / "old.pem")
    shutil.copy(tmp_path / "new.key", tmp_path / "old.key")
    refused = cluster.abserve(
        *("--home", str(tmp_path / "other"), "up", "--detach"),
        *("--tls-cert", str(tmp_path / "old.pem"), "--tls-key", str(tmp_path / "old.key")),
    )
    assert refused.returncode == 1
    assert "which is not now; renew it" in refused.stderr

    with on_call("expired-certificate", tmp_path, cluster) as person:
        ended = f"{dt.datetime.now(dt.UTC) - DAY:%b %e}"
        assert f"notAfter={ended}" in person.types("gateway=$(abserve status")
        person.types("openssl req -x509")
    # Under the same address, and the caller trusts the new one.
    assert cluster.url() == url
    assert ask(url, trusted) in {"v1", "v2"}
