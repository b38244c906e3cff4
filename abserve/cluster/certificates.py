"""The certificate of the local Kubernetes API.

kubectl sends its token over TLS only, so the API speaks TLS even on the loopback address. Key and
certificate are kept from one start to the next, so that a kubeconfig stays good, and are trusted
by nobody but the kubeconfig that carries them.
"""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from abserve.cluster.home import write_atomically

_LIFETIME = datetime.timedelta(days=365)
_RENEWAL = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a self-signed certificate for 127.0.0.1 and localhost."""

    certificate: Path
    key: Path


def kept_certificate(folder: Path, now: datetime.datetime) -> Certificate:
    """Return the certificate in `folder`; make a new one if it has not a month left."""
    files = _files(folder)
    try:
        found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    except (FileNotFoundError, ValueError):
        return make_certificate(folder, now)
    lasts = found.not_valid_before_utc <= now <= found.not_valid_after_utc - _RENEWAL
    return files if lasts and files.key.exists() else make_certificate(folder, now)


def make_certificate(folder: Path, now: datetime.datetime) -> Certificate:
    """Write a new key and certificate into `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "abserve local cluster")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that was set back a little must not make the certificate one of the future.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = _files(folder)
    write_atomically(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))
    write_atomically(
        files.key,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    return files


def _files(folder: Path) -> Certificate:
    return Certificate(certificate=folder / "api.crt", key=folder / "api.key")
