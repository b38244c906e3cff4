import contextlib
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from abserve.cluster.certificates import Certificate, kept_certificate, make_certificate


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, datetime.now(UTC))


def shake_hands(shown: Certificate, trusted: Certificate, name: str) -> None:
    """Let a client that trusts one certificate connect to a server that shows one, in memory."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(shown.certificate, shown.key)
    client = ssl.create_default_context(cafile=trusted.certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                ends.remove(end)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_client_that_trusts_the_certificate_connects(certificate: Certificate, name: str) -> None:
    shake_hands(certificate, certificate, name)


@pytest.mark.parametrize("name", ["127.0.0.2", "evil.example"])
def test_the_certificate_is_for_this_machine_only(certificate: Certificate, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(certificate, certificate, name)


def test_another_cluster_is_not_trusted(certificate: Certificate, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other", datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        shake_hands(certificate, other, "localhost")


def test_the_key_is_for_the_owner_only(certificate: Certificate) -> None:
    assert stat.S_IMODE(certificate.key.stat().st_mode) == 0o600


def test_the_certificate_outlives_a_clock_set_back_and_a_long_run(tmp_path: Path) -> None:
    now = datetime(2024, 5, 1, 12, tzinfo=UTC)
    made = make_certificate(tmp_path, now)
    read = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert read.not_valid_before_utc == now - timedelta(hours=1)
    assert read.not_valid_after_utc == now + timedelta(days=365)


def test_each_start_makes_a_new_key(tmp_path: Path) -> None:
    first = make_certificate(tmp_path, datetime.now(UTC)).key.read_bytes()
    assert make_certificate(tmp_path, datetime.now(UTC)).key.read_bytes() != first


def test_a_certificate_is_kept_while_it_is_good(certificate: Certificate, tmp_path: Path) -> None:
    before = certificate.certificate.read_bytes()
    assert kept_certificate(tmp_path, datetime.now(UTC)) == certificate
    assert certificate.certificate.read_bytes() == before


@pytest.mark.parametrize("days", [-2, 340, 400])
def test_a_certificate_that_is_not_good_for_a_month_is_made_anew(
    certificate: Certificate, tmp_path: Path, days: int
) -> None:
    before = certificate.certificate.read_bytes()
    kept_certificate(tmp_path, datetime.now(UTC) + timedelta(days=days))
    assert certificate.certificate.read_bytes() != before


@pytest.mark.parametrize("damaged", ["api.crt", "api.key"])
def test_a_certificate_that_lost_a_file_is_made_anew(
    certificate: Certificate, tmp_path: Path, damaged: str
) -> None:
    (tmp_path / damaged).unlink()
    shake_hands(kept_certificate(tmp_path, datetime.now(UTC)), certificate, "localhost")
