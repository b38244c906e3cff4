import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from abserve.artifacts import seal
from abserve.errors import ArtifactError
from abserve.keys import (
    PrivateKey,
    new_private_key,
    parse_private_key,
    read_private_key,
    read_public_keys,
    write_key_pair,
)
from abserve.signatures import signed


def pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    protection: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, protection or NoEncryption())


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return new_private_key()


def test_no_key_is_made_twice() -> None:
    assert new_private_key() != new_private_key()


def test_a_key_is_read_as_it_was_written(tmp_path: Path, key: PrivateKey) -> None:
    private, public = tmp_path / "keys" / "private.pem", tmp_path / "public.pem"
    write_key_pair(key, private, public)
    assert read_private_key(private) == key
    assert read_public_keys(public) == (key.public,)


def test_only_its_owner_can_read_a_private_key(tmp_path: Path, key: PrivateKey) -> None:
    private = tmp_path / "private.pem"
    write_key_pair(key, private, tmp_path / "public.pem")
    assert oct(private.stat().st_mode) == "0o100600"


def test_a_private_key_does_not_show_itself(key: PrivateKey) -> None:
    secret = key.pem.splitlines()[1].decode()
    assert secret not in f"{key!r} {key}"
    assert "PRIVATE" not in f"{key!r} {key}"


@pytest.mark.parametrize("name", ["private.pem", "public.pem"])
def test_no_file_is_overwritten(tmp_path: Path, key: PrivateKey, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ArtifactError, match=f"{name} exists, and .*; name another file"):
        write_key_pair(key, tmp_path / "private.pem", tmp_path / "public.pem")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path, key: PrivateKey) -> None:
    (tmp_path / "private.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"private\.pem exists"):
        write_key_pair(key, tmp_path / "private.pem", tmp_path / "public.pem")
    assert not (tmp_path / "elsewhere").exists()


def test_one_file_cannot_hold_both(tmp_path: Path, key: PrivateKey) -> None:
    with pytest.raises(ArtifactError, match=r"key\.pem cannot be written \(File exists\)"):
        write_key_pair(key, tmp_path / "key.pem", tmp_path / "key.pem")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, key: PrivateKey) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ArtifactError, match=r"private\.pem cannot be written \(File exists\); name"
    ):
        write_key_pair(key, tmp_path / "file" / "private.pem", tmp_path / "public.pem")
    assert not (tmp_path / "public.pem").exists()


def test_the_fingerprint_is_what_sha256sum_says(tmp_path: Path, key: PrivateKey) -> None:
    write_key_pair(key, tmp_path / "private.pem", tmp_path / "public.pem")
    assert key.public.fingerprint == sha256((tmp_path / "public.pem").read_bytes()).hexdigest()


def test_a_signature_names_the_fingerprint(key: PrivateKey) -> None:
    bundle = json.loads(signed(seal({"model.onnx": b"model"}), key)["signature.json"])
    named = bundle["verificationMaterial"]["publicKey"]["hint"]
    assert named == key.public.fingerprint


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_what_openssl_writes_is_read(form: PrivateFormat) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    assert parse_private_key(pem(key, form), "x").pem == pem(key)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"secret",
        b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
        new_private_key().public.pem,
        pem(rsa.generate_private_key(65537, 2048)),
        pem(ec.generate_private_key(ec.SECP256K1())),
        pem(
            ec.generate_private_key(ec.SECP256R1()),
            protection=BestAvailableEncryption(b"password"),
        ),
    ],
    ids=["empty", "text", "damaged", "public", "rsa", "secp256k1", "password"],
)
def test_what_is_no_private_key_of_ours_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"^CI is no private key .*; expected PEM, without a"):
        parse_private_key(content, "CI")


def test_a_file_may_hold_several_public_keys_and_words(tmp_path: Path, key: PrivateKey) -> None:
    other = new_private_key()
    (tmp_path / "keys.pem").write_bytes(
        b"until June:\n" + key.public.pem + b"\n# from May on\n" + other.public.pem + b"\n"
    )
    assert read_public_keys(tmp_path / "keys.pem") == (key.public, other.public)


@pytest.mark.parametrize("end", [-1, -30, -100])
def test_a_second_key_that_is_damaged_is_not_left_out(
    tmp_path: Path, key: PrivateKey, end: int
) -> None:
    both = key.public.pem + new_private_key().public.pem.rstrip()
    (tmp_path / "keys.pem").write_bytes(both[:end])
    with pytest.raises(ArtifactError, match=r"keys\.pem is no public key"):
        read_public_keys(tmp_path / "keys.pem")


def test_a_private_key_beside_a_public_one_is_refused(tmp_path: Path, key: PrivateKey) -> None:
    (tmp_path / "keys.pem").write_bytes(key.public.pem + key.pem)
    with pytest.raises(ArtifactError, match=r"keys\.pem is no public key"):
        read_public_keys(tmp_path / "keys.pem")


def test_without_the_package_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(
        ArtifactError, match=r"package cryptography, .* install 'abserve\[signing\]'"
    ):
        new_private_key()


def test_the_package_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, abserve.keys; print('cryptography' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
