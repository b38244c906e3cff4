"""JSON Web Tokens: good ones, and what somebody without the issuer's key would try."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

ISSUER, AUDIENCE = "https://issuer.example", "abserve"
KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
STRANGER = rsa.generate_private_key(65537, 2048)


def key_set() -> str:
    """Return the issuer's public keys, each named like its algorithm."""
    keys = [{**_public(name, key), "kid": name, "alg": name} for name, key in KEYS.items()]
    return json.dumps({"keys": keys})


def token(
    algorithm: str = "RS256", key: Any = None, header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """Return a token; a claim that is None is left out, and so is a field of its header."""
    fields = {"kid": algorithm, **(header or {})}
    return jwt.encode(
        _said(claims),
        key or KEYS[algorithm],
        algorithm,
        {name: value for name, value in fields.items() if value is not None},
    )


def forged(**claims: Any) -> dict[str, str]:
    """Return tokens that nobody with the issuer's key has signed, by what is wrong with them."""
    head, body, signature = token(**claims).split(".")
    others_body = _part(_said({**claims, "sub": "somebody-else"}))
    public = KEYS["RS256"].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    own_key = _public("RS256", STRANGER)
    return {
        "of no algorithm": f"{_part({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "of no algorithm, spelled otherwise": f"{_part({'alg': 'nOnE', 'kid': 'RS256'})}.{body}.",
        "of no algorithm, with a signature": f"{_part({'alg': 'none'})}.{body}.{signature}",
        "without its signature": f"{head}.{body}.",
        "of two parts": f"{head}.{body}",
        "of other claims under its signature": f"{head}.{others_body}.{signature}",
        "signed with the public key as a secret, PEM": _hs256({"kid": "RS256"}, pem, claims),
        "signed with the public key as a secret, DER": _hs256({"kid": "RS256"}, der, claims),
        "signed with the public key as a secret, no name": _hs256({}, pem, claims),
        "of a stranger": token(key=STRANGER, **claims),
        "of a stranger, naming no key": token(key=STRANGER, header={"kid": None}, **claims),
        "of a stranger who brings the key": token(
            key=STRANGER, header={"jwk": own_key, "kid": None}, **claims
        ),
        "of a stranger who says where the key is": token(
            key=STRANGER, header={"jku": "http://127.0.0.1:1/keys", "kid": None}, **claims
        ),
        "of one key under another's name": token("ES256", header={"kid": "RS256"}, **claims),
        "of a name that no key has": token(header={"kid": "../../dev/null"}, **claims),
    }


def _said(claims: dict[str, Any]) -> dict[str, Any]:
    said = {
        "iss": ISSUER,
        "sub": "shop",
        "aud": AUDIENCE,
        # Some are made when the tests are collected, long before they are sent.
        "exp": int((datetime.now(UTC) + timedelta(hours=6)).timestamp()),
        **claims,
    }
    return {name: value for name, value in said.items() if value is not None}


def _public(algorithm: str, key: Any) -> dict[str, Any]:
    described: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(
        key.public_key(), as_dict=True
    )
    return described


def _hs256(header: dict[str, str], secret: bytes, claims: dict[str, Any]) -> str:
    """Return a token of a secret that PyJWT refuses, because it is a public key."""
    signed = f"{_part({'alg': 'HS256', **header})}.{_part(_said(claims))}"
    return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _part(content: dict[str, Any]) -> str:
    return _encoded(json.dumps(content).encode())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
