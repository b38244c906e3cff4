import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import get_default_algorithms

from abserve.cluster.listener import given_jwt, given_tls, own_tls
from abserve.errors import ClusterError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ISSUER = "https://issuer.example"
RSA = rsa.generate_private_key(65537, 2048)


def write_key(folder: Path, key: Any, password: bytes | None = None, name: str = "tls.key") -> Path:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    file = folder / name
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return file


def write_certificate(folder: Path, key: Any, begins: datetime = NOW) -> Path:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway.example")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=1))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    file = folder / "tls.crt"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return file


def tls_refusal(certificate: Path, key: Path) -> str:
    with pytest.raises(ClusterError) as refused:
        given_tls(certificate, key, NOW)
    return str(refused.value)


@pytest.mark.parametrize(
    "key", [RSA, *(ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1))]
)
def test_a_certificate_and_its_key_are_taken(key: Any, tmp_path: Path) -> None:
    certificate, private = write_certificate(tmp_path, key), write_key(tmp_path, key)
    tls = given_tls(certificate, private, NOW + timedelta(hours=1))
    assert (tls.certificate, tls.key) == (certificate, private)


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_certificate(tmp_path, RSA), write_key(tmp_path, RSA)
    monkeypatch.chdir(tmp_path)
    assert given_tls(Path("tls.crt"), Path("tls.key"), NOW).key == tmp_path / "tls.key"


def test_our_own_certificate_is_kept(tmp_path: Path) -> None:
    first = own_tls(tmp_path, NOW)
    content = first.certificate.read_bytes()
    assert own_tls(tmp_path, NOW + timedelta(days=7)) == first
    assert first.certificate.read_bytes() == content


def test_the_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path, RSA)
    other = write_key(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    assert "is not the key of" in tls_refusal(certificate, other)


@pytest.mark.parametrize("begins", [NOW - timedelta(days=2), NOW + timedelta(days=2)])
def test_a_certificate_of_another_time_is_refused(begins: datetime, tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path, RSA, begins)
    words = tls_refusal(certificate, write_key(tmp_path, RSA))
    assert f"valid from {begins:%Y-%m-%d %H:%M}" in words
    assert "renew it" in words


def test_a_key_that_needs_a_password_is_refused(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path, RSA)
    assert "needs a password" in tls_refusal(certificate, write_key(tmp_path, RSA, b"secret"))


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 1024), ed25519.Ed25519PrivateKey.generate()]
)
def test_a_kind_of_key_that_envoy_does_not_take_is_refused(key: Any, tmp_path: Path) -> None:
    words = tls_refusal(write_certificate(tmp_path, key), write_key(tmp_path, key))
    assert "expected RSA of 2048 bits or more" in words


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_what_is_no_pem_is_refused(content: bytes, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, RSA), write_key(tmp_path, RSA)
    other = tmp_path / "other"
    other.write_bytes(content)
    assert "holds no certificate" in tls_refusal(other, key)
    assert "holds no private key" in tls_refusal(certificate, other)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert tls_refusal(missing, missing).startswith(f"{missing} cannot be read (No such file")


def public(algorithm: str, key: Any) -> dict[str, Any]:
    return dict(get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True))


GOOD_KEYS = [
    public("RS256", RSA),
    public("ES256", ec.generate_private_key(ec.SECP256R1())),
    public("ES384", ec.generate_private_key(ec.SECP384R1())),
    public("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    {"kty": "oct", "k": "c2VjcmV0"},
]


def write_keys(folder: Path, content: object) -> Path:
    file = folder / "jwks.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.mark.parametrize("key", GOOD_KEYS, ids=lambda key: key["kty"])
def test_a_key_set_is_taken_with_all_it_says(key: dict[str, Any], tmp_path: Path) -> None:
    file = write_keys(tmp_path, {"keys": [key]})
    jwt = given_jwt(ISSUER, "abserve", file)
    assert (jwt.issuer, jwt.audience, jwt.jwks) == (ISSUER, "abserve", file.read_text())


def test_one_good_key_is_enough(tmp_path: Path) -> None:
    keys = [{"kty": "future"}, GOOD_KEYS[0], "nonsense"]
    assert given_jwt(ISSUER, "abserve", write_keys(tmp_path, {"keys": keys})).jwks


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no JSON"),
        ("{", "holds no JSON"),
        ("[]", "holds no keys"),
        ({"keys": {}}, "holds no keys"),
        ({"keys": []}, "it is empty"),
        ({"keys": ["x"]}, "a key that is no JSON object"),
        ({"keys": [{"kid": "a"}]}, "key 'a' lacks 'kty'"),
        ({"keys": [{"kty": "RSA", "e": "AQAB"}]}, "key 'RSA' lacks 'n'"),
        ({"keys": [{"kty": "RSA", "e": "AQAB", "n": "!"}]}, "key 'RSA': "),
        ({"keys": [{**GOOD_KEYS[1], "x": "AAAA"}]}, "key 'EC': "),
        ({"keys": [{**GOOD_KEYS[1], "crv": "P-1"}]}, "key 'EC' lacks 'P-1'"),
        ({"keys": [{"kty": "OKP", "x": 7}]}, "key 'OKP': "),
        ({"keys": [{"kty": "oct", "k": ""}]}, "key 'oct': a part of it is empty"),
        ({"keys": [{"kty": "DSA"}]}, "key 'DSA': its kind is 'DSA'"),
    ],
)
def test_what_holds_no_usable_key_is_refused(content: object, words: str, tmp_path: Path) -> None:
    file = write_keys(tmp_path, content)
    with pytest.raises(ClusterError) as refused:
        given_jwt(ISSUER, "abserve", file)
    assert str(refused.value).startswith(str(file))
    assert words in str(refused.value)
    assert "--jwks" in str(refused.value)
