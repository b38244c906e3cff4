"""Keys that sign versions and verify signatures: made, read and recognised.

A private key stays where versions are published; the public key goes to everyone who serves them.
Both are PEM files. A key is known by its fingerprint, the SHA-256 of its public half's PEM file,
which ``sha256sum public.pem`` prints too, and which every signature names.

A file of public keys may hold several: while one key replaces another, signatures of both are good.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from abserve.errors import ArtifactError

# Those that model-signing takes.
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_EXPECTED = (
    "expected PEM, without a password, of a key on the curve P-256, P-384 or P-521, such as "
    "'abserve keys new' makes"
)
_BEGIN = b"-----BEGIN "


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Verifies what the private key of the same pair has signed."""

    pem: bytes

    @property
    def fingerprint(self) -> str:
        return sha256(self.pem).hexdigest()


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Signs versions. It is shown by its public half alone."""

    pem: bytes = field(repr=False)
    public: PublicKey


def new_private_key() -> PrivateKey:
    """Return a private key that nobody has had before, on the curve P-256.

    Raises
    ------
    ArtifactError
        If the extra ``signing`` is not installed.
    """
    curves = import_for_signing("cryptography.hazmat.primitives.asymmetric.ec")
    return _private_key(curves.generate_private_key(curves.SECP256R1()))


def parse_private_key(pem: bytes, source: str) -> PrivateKey:
    """Return the private key in `pem`.

    Parameters
    ----------
    pem : bytes
        PKCS 8 or SEC 1, in PEM, as OpenSSL and `write_key_pair` write it.
    source : str
        Where it was found, for messages, which never show the key itself.

    Raises
    ------
    ArtifactError
        If it is no private key that can sign, or has a password, or the extra ``signing`` is not
        installed.
    """
    load = import_for_signing("cryptography.hazmat.primitives.serialization").load_pem_private_key
    return _private_key(_load(partial(load, pem, None), "private", source))


def read_private_key(path: Path) -> PrivateKey:
    """Return the private key in a PEM file.

    Raises
    ------
    ArtifactError
        As `parse_private_key`, and if the file cannot be read.
    """
    return parse_private_key(_read(path, "private"), str(path))


def read_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """Return the public keys in a PEM file, one after the other; there is at least one.

    Raises
    ------
    ArtifactError
        If the file cannot be read, or holds none, or anything else in PEM; or the extra
        ``signing`` is not installed.
    """
    load = import_for_signing("cryptography.hazmat.primitives.serialization").load_pem_public_key
    # What stands before the first is a comment; without a first, let it be refused as it is.
    comment, *blocks = _read(path, "public").split(_BEGIN)
    return tuple(
        _public_key(_load(partial(load, pem), "public", str(path)))
        for pem in ([_BEGIN + block for block in blocks] or [comment])
    )


def write_key_pair(key: PrivateKey, private: Path, public: Path) -> None:
    """Write both halves of a key into files of their own, the private one readable by its owner.

    Raises
    ------
    ArtifactError
        If one of the files exists, or cannot be written; neither is written then.
    """
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise ArtifactError(
                f"{path} exists, and what was signed with a key is worth nothing once the key is "
                "lost; name another file, or move this one away"
            )
    _create(public, key.public.pem, 0o644)
    try:
        _create(private, key.pem, 0o600)
    except ArtifactError:
        public.unlink()
        raise


def import_for_signing(module: str) -> Any:
    """Import what signatures need, and nothing else does.

    Raises
    ------
    ArtifactError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise ArtifactError(
            f"signatures need the package {package}, which cannot be imported ({error}); "
            "install it: pip install 'abserve[signing]'"
        ) from error


def _private_key(key: Any) -> PrivateKey:
    forms = import_for_signing("cryptography.hazmat.primitives.serialization")
    pem = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    return PrivateKey(pem, _public_key(key.public_key()))


def _public_key(key: Any) -> PublicKey:
    forms = import_for_signing("cryptography.hazmat.primitives.serialization")
    return PublicKey(key.public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo))


def _load(load: Callable[[], Any], kind: str, source: str) -> Any:
    unsupported = import_for_signing("cryptography.exceptions").UnsupportedAlgorithm
    try:
        key = load()
    except (ValueError, TypeError, unsupported) as error:
        raise ArtifactError(
            f"{source} is no {kind} key that signatures take ({error}); {_EXPECTED}"
        ) from error
    if getattr(getattr(key, "curve", None), "name", None) not in _CURVES:
        raise ArtifactError(
            f"{source} is no {kind} key that signatures take (of another kind); {_EXPECTED}"
        )
    return key


def _read(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{kind} key {path} cannot be read ({error.strerror}); name a PEM file"
        ) from error


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be written ({error.strerror}); name a file in a folder of yours"
        ) from error
