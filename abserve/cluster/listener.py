"""What a user gives the gateway to start with, checked before anything starts.

Envoy would find most of this out only once it runs, and of a key set that holds no key it would
just refuse every token.
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from abserve.cluster.certificates import kept_certificate
from abserve.errors import ClusterError
from abserve.gateway import Jwt, Tls

_CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
_SMALLEST_RSA_BITS = 2048


def own_tls(folder: Path, now: datetime) -> Tls:
    """Return the local cluster's own certificate, which `folder` keeps."""
    own = kept_certificate(folder, now)
    return Tls(own.certificate, own.key)


def given_tls(certificate: Path, key: Path, now: datetime) -> Tls:
    """Return a certificate that somebody else made.

    Raises
    ------
    ClusterError
        If a file cannot be read, they do not belong together, the certificate is not valid now, or
        its key is of a kind that Envoy does not take.
    """
    try:
        shown = x509.load_pem_x509_certificates(_read(certificate))[0]
    except ValueError as error:
        raise ClusterError(
            f"{certificate} holds no certificate, expected one in PEM form, then the rest of its "
            "chain; name another file with --tls-cert"
        ) from error
    try:
        private = serialization.load_pem_private_key(_read(key), password=None)
    except TypeError as error:
        raise ClusterError(
            f"{key} needs a password, and nobody will be there to type it; write the key without: "
            "openssl pkey -in <file> -out <new file>"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ClusterError(
            f"{key} holds no private key, expected one in PEM form; name another file with "
            "--tls-key"
        ) from error
    public = shown.public_key()
    if _encoded(public) != _encoded(private.public_key()):
        raise ClusterError(
            f"{key} is not the key of {certificate}; name the two that were made together"
        )
    _check_kind(public, certificate)
    first, last = shown.not_valid_before_utc, shown.not_valid_after_utc
    if not first <= now <= last:
        raise ClusterError(
            f"{certificate} is valid from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, "
            "which is not now; renew it, or use --tls for one of our own"
        )
    return Tls(certificate.absolute(), key.absolute())


def given_jwt(issuer: str, audience: str, jwks: Path) -> Jwt:
    """Return whose tokens are taken, with the keys in the file `jwks`.

    Raises
    ------
    ClusterError
        If the file cannot be read, or holds no key that a token could be checked with.
    """
    expected = 'expected a JSON Web Key Set, {"keys": [...]}; name another file with --jwks'
    try:
        text = _read(jwks).decode()
        found = json.loads(text)
    except ValueError as error:
        raise ClusterError(f"{jwks} holds no JSON, {expected}") from error
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise ClusterError(f"{jwks} holds no keys, {expected}")
    faults = [fault for key in keys if (fault := _key_fault(key))]
    if len(faults) == len(keys):
        raise ClusterError(
            f"{jwks} holds no key that can check a token ({'; '.join(faults) or 'it is empty'}), "
            "expected one of kind RSA, EC (P-256, P-384, P-521), OKP (Ed25519) or oct; name "
            "another file with --jwks"
        )
    return Jwt(issuer, audience, text)


def _key_fault(key: object) -> str:
    """Return why a key of a key set cannot be used, or nothing."""
    if not isinstance(key, dict):
        return "a key that is no JSON object"
    name = f"key {key.get('kid') or key.get('kty')!r}"
    try:
        _load(key)
    except KeyError as error:
        return f"{name} lacks {error}"
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return f"{name}: {error}"
    return ""


def _load(key: Mapping[str, Any]) -> None:
    match key["kty"]:
        case "RSA":
            rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
        case "EC":
            curve = _CURVES[key["crv"]]()
            ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), curve).public_key()
        case "OKP":
            ed25519.Ed25519PublicKey.from_public_bytes(_bytes(key["x"]))
        case "oct":
            _bytes(key["k"])
        case kind:
            raise ValueError(f"its kind is {kind!r}")


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text))


def _bytes(text: str) -> bytes:
    """Return what unpadded base64url stands for (RFC 7515)."""
    found = base64.b64decode(f"{text}{'=' * (-len(text) % 4)}", altchars=b"-_", validate=True)
    if not found:
        raise ValueError("a part of it is empty")
    return found


def _check_kind(key: PublicKeyTypes, certificate: Path) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        fits = key.key_size >= _SMALLEST_RSA_BITS
    else:
        fits = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
            key.curve, tuple(_CURVES.values())
        )
    if not fits:
        raise ClusterError(
            f"{certificate} has a key that Envoy does not take, expected RSA of "
            f"{_SMALLEST_RSA_BITS} bits or more, or an elliptic curve of {', '.join(_CURVES)}; "
            "make it with such a key"
        )


def _encoded(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClusterError(
            f"{path} cannot be read ({error.strerror}); name another file"
        ) from error
