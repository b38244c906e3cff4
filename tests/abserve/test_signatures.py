import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from abserve.artifacts import seal, verify
from abserve.errors import ArtifactError
from abserve.keys import new_private_key, read_private_key, read_public_keys
from abserve.repository import Repository
from abserve.signatures import (
    private_key_from_environment,
    public_key_from_environment,
    signed,
    verify_signature,
)
from tests.abserve.tampering import flip, seal_anew, sign_anew, write

SEALED = seal(
    {
        "model.onnx": b"model",
        "model.skops": b"pipeline",
        "model-settings.json": b"{}",
        "settings.json": b'{"debug": false}',
        "metadata.json": b'{"a": 1}',
        "card.html": b"<!doctype html>",
    }
)
ALL = [*SEALED, "signature.json"]
STOCK_TOOL = Path(sys.executable).with_name("model_signing")


class KeyPair:
    """PEM files of a private key and of its public key."""

    def __init__(self, folder: Path, curve: ec.EllipticCurve | None = None) -> None:
        key = ec.generate_private_key(curve or ec.SECP256R1())
        self.private, self.public = folder / "private.pem", folder / "public.pem"
        self.private.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        self.public.write_bytes(_public_pem(key))


def _public_pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _stock_tool(verb: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [STOCK_TOOL, verb, "key", ".", "--signature", "signature.json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return KeyPair(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return KeyPair(tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def files(ours: KeyPair) -> dict[str, bytes]:
    return signed(SEALED, ours.private)


@pytest.fixture
def folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """The folder of a version that we signed."""
    return write(tmp_path / "v1", files)


def test_files_in_folders_are_signed_too(tmp_path: Path) -> None:
    keys = KeyPair(tmp_path)
    nested = {
        f"members/a/{name}": content for name, content in signed(SEALED, keys.private).items()
    }
    url = Repository(f"file://{tmp_path}/models").publish(
        "iris", "v1", signed(seal(nested), keys.private)
    )
    folder = Path(url.removeprefix("file://"))
    verify_signature(folder, keys.public)
    verify(folder)
    (folder / "members" / "a" / "model.onnx").write_bytes(b"another")
    with pytest.raises(ArtifactError, match=r"model\.onnx has SHA-256"):
        verify_signature(folder, keys.public)


def test_a_signed_version_is_accepted(folder: Path, ours: KeyPair) -> None:
    verify_signature(folder, ours.public)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_longer_keys_sign_as_well(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    keys = KeyPair(tmp_path, curve)
    verify_signature(write(tmp_path / "v1", signed(SEALED, keys.private)), keys.public)


def test_a_folder_may_be_reached_through_a_link(folder: Path, ours: KeyPair) -> None:
    link = folder.with_name("models")
    link.symlink_to(folder)
    verify_signature(link, ours.public)


def test_the_signature_stands_in_front_of_the_checksums(files: dict[str, bytes]) -> None:
    assert list(files) == [
        "model.onnx",
        "model.skops",
        "model-settings.json",
        "settings.json",
        "metadata.json",
        "card.html",
        "signature.json",
        "checksums.json",
    ]


def test_signing_leaves_the_other_files_alone(files: dict[str, bytes]) -> None:
    assert {name: files[name] for name in SEALED} == SEALED


def test_a_signed_version_can_be_published(
    tmp_path: Path, files: dict[str, bytes], ours: KeyPair
) -> None:
    Repository(tmp_path.as_uri()).publish("iris", "v1", files)
    verify_signature(tmp_path / "iris" / "v1", ours.public)
    verify(tmp_path / "iris" / "v1")


def test_checksums_hold_for_a_version_that_was_signed_later(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    folder = write(tmp_path / "v1", SEALED)
    verify(folder)
    (folder / "signature.json").write_bytes(files["signature.json"])
    verify(folder)


@pytest.mark.parametrize("name", ["signature.json", "checksums.json"])
def test_only_the_folder_itself_has_files_that_no_checksum_covers(folder: Path, name: str) -> None:
    (folder / "below").mkdir()
    (folder / "below" / name).write_text("{}")
    with pytest.raises(ArtifactError, match=f"holds below/{name}, which"):
        verify(folder)


def test_files_are_signed_after_they_are_sealed(ours: KeyPair) -> None:
    with pytest.raises(ArtifactError, match=r"model\.onnx cannot be signed; .*: seal them first"):
        signed({"model.onnx": b"model"}, ours.private)


def test_files_are_signed_once(files: dict[str, bytes], ours: KeyPair) -> None:
    with pytest.raises(ArtifactError, match=r"and without signature\.json: .* sign them once"):
        signed(files, ours.private)


@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ALL)
def test_one_flipped_bit_in_any_file_is_noticed(
    folder: Path, ours: KeyPair, name: str, position: float
) -> None:
    flip(folder, name, position)
    with pytest.raises(ArtifactError):
        verify_signature(folder, ours.public)


@pytest.mark.parametrize("per_cent", range(0, 100, 4))
def test_one_flipped_bit_anywhere_in_a_signature_is_noticed(
    folder: Path, ours: KeyPair, per_cent: int
) -> None:
    flip(folder, "signature.json", per_cent / 100)
    with pytest.raises(ArtifactError, match=r"signature\.json is no signature made with"):
        verify_signature(folder, ours.public)


def test_bits_that_base64_does_not_read_are_noticed_too(tmp_path: Path, ours: KeyPair) -> None:
    files = signed(
        seal({"model.onnx": b"x", "metadata.json": b"x", "card.html": b"x"}), ours.private
    )
    # The end of a JSON object, and two bits more.
    assert files["signature.json"].count(b'Cn0="') == 1
    files["signature.json"] = files["signature.json"].replace(b'Cn0="', b'Cn1="')
    folder = write(tmp_path / "v1", files)
    with pytest.raises(ArtifactError, match="its base64 is not as it was written"):
        verify_signature(folder, ours.public)


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file_is_named(folder: Path, ours: KeyPair, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        verify_signature(folder, ours.public)


@pytest.mark.parametrize(
    "name",
    [
        "module.py",
        ".hidden",
        ".gitattributes",
        ".git/hooks/post-checkout",
        "below/module.py",
        "below/signature.json",
        "signature.json.py",
    ],
)
def test_a_file_that_was_added_is_named(folder: Path, ours: KeyPair, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("import os\n")
    with pytest.raises(ArtifactError, match=f"holds {name}, which checksums.json does not name"):
        verify_signature(folder, ours.public)


@pytest.mark.parametrize("name", ["below", ".git", "below/again", "below/.hidden"])
def test_an_empty_folder_that_was_added_is_refused(folder: Path, ours: KeyPair, name: str) -> None:
    (folder / name).mkdir(parents=True)
    with pytest.raises(ArtifactError, match=f"{name} is an empty folder; a signed version holds"):
        verify_signature(folder, ours.public)


@pytest.mark.parametrize("name", ["model.onnx", "metadata.json", "module.py"])
def test_new_checksums_do_not_make_up_for_new_files(folder: Path, ours: KeyPair, name: str) -> None:
    seal_anew(folder, {name: b"theirs"})
    verify(folder)
    with pytest.raises(ArtifactError, match="or somebody replaced files and checksums"):
        verify_signature(folder, ours.public)


def test_the_signature_of_another_version_is_refused(
    tmp_path: Path, folder: Path, ours: KeyPair
) -> None:
    other = signed(seal({"model.onnx": b"other"}), ours.private)
    (folder / "signature.json").write_bytes(other["signature.json"])
    with pytest.raises(ArtifactError, match=r"not what was signed, .* is that of another version"):
        verify_signature(folder, ours.public)


def test_a_version_without_a_signature_is_refused(folder: Path, ours: KeyPair) -> None:
    (folder / "signature.json").unlink()
    with pytest.raises(ArtifactError, match=r"holds no signature\.json; expected a version signed"):
        verify_signature(folder, ours.public)


def test_a_signature_made_with_another_key_is_refused(folder: Path, theirs: KeyPair) -> None:
    with pytest.raises(ArtifactError, match=r"no signature made with the .* \(.*Key mismatch"):
        verify_signature(folder, theirs.public)


def test_a_version_that_somebody_else_signed_anew_is_refused(folder: Path, ours: KeyPair) -> None:
    sign_anew(folder, new_private_key())
    with pytest.raises(ArtifactError, match=r"no signature made with the .* \(.*Key mismatch"):
        verify_signature(folder, ours.public)


def test_it_is_told_which_key_has_signed(folder: Path, ours: KeyPair) -> None:
    assert verify_signature(folder, ours.public) == read_private_key(ours.private).public


@pytest.mark.parametrize("ours_first", [True, False])
def test_each_of_several_keys_is_as_good_as_another(
    tmp_path: Path, folder: Path, ours: KeyPair, theirs: KeyPair, ours_first: bool
) -> None:
    both = tmp_path / "both.pem"
    pair = [ours.public.read_bytes(), theirs.public.read_bytes()]
    both.write_bytes(b"since May:\n".join(pair if ours_first else pair[::-1]))
    assert verify_signature(folder, both) == read_public_keys(ours.public)[0]
    sign_anew(folder, read_private_key(theirs.private))
    assert verify_signature(folder, both) == read_public_keys(theirs.public)[0]


def test_none_of_several_keys_is_none(tmp_path: Path, folder: Path, theirs: KeyPair) -> None:
    several = tmp_path / "several.pem"
    several.write_bytes(theirs.public.read_bytes() + new_private_key().public.pem)
    with pytest.raises(ArtifactError, match=r"several\.pem \(ValueError: Key mismatch: [^;]*\); "):
        verify_signature(folder, several)


def test_several_keys_do_not_hide_that_a_file_was_changed(
    tmp_path: Path, folder: Path, ours: KeyPair, theirs: KeyPair
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(ours.public.read_bytes() + theirs.public.read_bytes())
    seal_anew(folder, {"model.onnx": b"theirs"})
    with pytest.raises(ArtifactError, match=r"is not what was signed, though its checksums"):
        verify_signature(folder, both)


def test_what_nobody_published_may_be_signed_as_well(tmp_path: Path, ours: KeyPair) -> None:
    folder = write(tmp_path / "v1", {"model.joblib": b"pickled"})
    options = ("--no-ignore-git-paths", "--private_key", str(ours.private))
    assert _stock_tool("sign", folder, *options).returncode == 0
    verify_signature(folder, ours.public)
    flip(folder, "model.joblib")
    with pytest.raises(ArtifactError, match=r"not what was signed, and holds no checksums\.json"):
        verify_signature(folder, ours.public)


def test_a_signature_that_names_another_key_than_made_it_is_refused(
    tmp_path: Path, files: dict[str, bytes], ours: KeyPair, theirs: KeyPair
) -> None:
    forged = signed(SEALED, theirs.private)
    bundle = json.loads(forged["signature.json"])
    bundle["verificationMaterial"] = json.loads(files["signature.json"])["verificationMaterial"]
    forged["signature.json"] = json.dumps(bundle).encode()
    with pytest.raises(ArtifactError, match=r"no signature made with .* \(InvalidSignature\)"):
        verify_signature(write(tmp_path / "v1", forged), ours.public)


def test_a_signature_that_names_no_key_still_has_to_be_ours(
    tmp_path: Path, ours: KeyPair, theirs: KeyPair
) -> None:
    forged = signed(SEALED, theirs.private)
    bundle = json.loads(forged["signature.json"])
    del bundle["verificationMaterial"]["publicKey"]["hint"]
    forged["signature.json"] = json.dumps(bundle).encode()
    with pytest.raises(ArtifactError, match=r"no signature made with .* \(InvalidSignature\)"):
        verify_signature(write(tmp_path / "v1", forged), ours.public)


def test_what_was_signed_cannot_be_rewritten(
    folder: Path, files: dict[str, bytes], ours: KeyPair
) -> None:
    mine = json.loads(files["signature.json"])
    other = json.loads(signed(seal({"model.onnx": b"other"}), ours.private)["signature.json"])
    mine["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    (folder / "signature.json").write_text(json.dumps(mine))
    with pytest.raises(ArtifactError, match=r"no signature made with .* \(InvalidSignature\)"):
        verify_signature(folder, ours.public)


@pytest.mark.parametrize("size", [0, 1, 100, 500, -1])
def test_a_truncated_signature_is_refused(folder: Path, ours: KeyPair, size: int) -> None:
    path = folder / "signature.json"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ArtifactError, match=r"signature\.json is no signature .* copy this one"):
        verify_signature(folder, ours.public)


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\xff",
        b"[]",
        b"{}",
        b"null",
        b'{"verificationMaterial": {}}',
        b'{"verificationMaterial": null}',
        b"[" * 100_000,
    ],
    ids=["binary", "list", "empty", "null", "no material", "null material", "deep"],
)
def test_what_is_no_signature_is_refused(folder: Path, ours: KeyPair, content: bytes) -> None:
    (folder / "signature.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"signature\.json is no signature made with"):
        verify_signature(folder, ours.public)


def test_an_envelope_without_signatures_is_refused(
    folder: Path, files: dict[str, bytes], ours: KeyPair
) -> None:
    bundle = json.loads(files["signature.json"])
    bundle["dsseEnvelope"]["signatures"] = []
    (folder / "signature.json").write_text(json.dumps(bundle))
    with pytest.raises(ArtifactError, match=r"signature\.json is no signature made with"):
        verify_signature(folder, ours.public)


def test_a_link_in_place_of_a_file_is_refused_even_to_the_same_content(
    folder: Path, ours: KeyPair
) -> None:
    outside = folder.with_name("outside.onnx")
    (folder / "model.onnx").rename(outside)
    (folder / "model.onnx").symlink_to(outside)
    with pytest.raises(ArtifactError, match=r"model\.onnx is neither a file nor a folder"):
        verify_signature(folder, ours.public)


@pytest.mark.parametrize("target", ["/usr", "model.onnx", "nowhere", "."])
def test_a_link_that_was_added_is_refused(folder: Path, ours: KeyPair, target: str) -> None:
    (folder / "below").mkdir()
    (folder / "below" / "link").symlink_to(target)
    with pytest.raises(ArtifactError, match="below/link is neither a file nor a folder"):
        verify_signature(folder, ours.public)


def test_a_signature_that_is_a_link_is_refused(folder: Path, ours: KeyPair) -> None:
    outside = folder.with_name("signature.json")
    (folder / "signature.json").rename(outside)
    (folder / "signature.json").symlink_to(outside)
    with pytest.raises(ArtifactError, match=r"signature\.json is neither a file nor a folder"):
        verify_signature(folder, ours.public)


def test_a_named_pipe_is_refused_and_not_read(folder: Path, ours: KeyPair) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(ArtifactError, match="pipe is neither a file nor a folder"):
        verify_signature(folder, ours.public)


def test_a_folder_in_place_of_the_signature_is_refused(folder: Path, ours: KeyPair) -> None:
    (folder / "signature.json").unlink()
    (folder / "signature.json").mkdir()
    (folder / "signature.json" / "module.py").write_text("import os\n")
    with pytest.raises(ArtifactError, match=r"holds no signature\.json"):
        verify_signature(folder, ours.public)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, ours: KeyPair) -> None:
    with pytest.raises(ArtifactError, match=r"v1 cannot be read \(No such file"):
        verify_signature(tmp_path / "v1", ours.public)


def test_a_public_key_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"public key .*none\.pem cannot be read \(No such"):
        verify_signature(folder, folder.with_name("none.pem"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        b"-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n",
        _public_pem(rsa.generate_private_key(65537, 2048)),
        _public_pem(ed25519.Ed25519PrivateKey.generate()),
        _public_pem(ec.generate_private_key(ec.SECP256K1())),
    ],
    ids=["empty", "text", "damaged", "rsa", "ed25519", "secp256k1"],
)
def test_what_is_no_public_key_of_ours_is_refused(folder: Path, content: bytes) -> None:
    key = folder.with_name("key.pem")
    key.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"key\.pem is no public key .*; expected PEM, without"):
        verify_signature(folder, key)


def test_a_private_key_is_no_public_key(folder: Path, ours: KeyPair) -> None:
    with pytest.raises(ArtifactError, match=r"private\.pem is no public key"):
        verify_signature(folder, ours.private)


def test_a_private_key_with_a_password_is_refused(tmp_path: Path) -> None:
    protected = tmp_path / "protected.pem"
    protected.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
        )
    )
    with pytest.raises(ArtifactError, match=r"is no private key .*; expected PEM, without a passw"):
        signed(SEALED, protected)


def test_nothing_is_verified_without_the_package(
    folder: Path, ours: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(ArtifactError, match=r"cannot be imported .* install 'abserve\[signing\]'"):
        verify_signature(folder, ours.public)


def test_the_package_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, abserve.signatures; print('model_signing' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_the_stock_tool_verifies_what_we_sign(folder: Path, ours: KeyPair) -> None:
    options = ("--no-ignore-git-paths", "--public_key", str(ours.public))
    answer = _stock_tool("verify", folder, *options)
    assert (answer.returncode, answer.stdout) == (0, "Verification succeeded\n")


@pytest.mark.parametrize("name", [".hidden", ".gitattributes"])
def test_the_stock_tool_refuses_a_file_that_was_added(
    folder: Path, ours: KeyPair, name: str
) -> None:
    (folder / name).write_text("")
    options = ("--no-ignore-git-paths", "--public_key", str(ours.public))
    answer = _stock_tool("verify", folder, *options)
    assert answer.returncode == 1
    assert f"Extra files found in model 'v1': {name}" in answer.stderr


def test_we_verify_what_the_stock_tool_signs(tmp_path: Path, ours: KeyPair) -> None:
    folder = write(tmp_path / "v1", SEALED)
    options = ("--no-ignore-git-paths", "--private_key", str(ours.private))
    assert _stock_tool("sign", folder, *options).returncode == 0
    verify_signature(folder, ours.public)
    verify(folder)


@pytest.mark.parametrize("name", [".gitattributes", ".git/config", ".github/x"])
def test_what_the_stock_tool_leaves_out_by_itself_is_not_left_out_here(
    tmp_path: Path, ours: KeyPair, name: str
) -> None:
    folder = write(tmp_path / "v1", SEALED)
    assert _stock_tool("sign", folder, "--private_key", str(ours.private)).returncode == 0
    verify_signature(folder, ours.public)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    with pytest.raises(ArtifactError, match=f"holds {name}, which"):
        verify_signature(folder, ours.public)


def test_no_file_can_be_signed_away(tmp_path: Path, ours: KeyPair) -> None:
    folder = write(tmp_path / "v1", SEALED)
    options = ("--ignore-paths", "model.onnx", "--private_key", str(ours.private))
    assert _stock_tool("sign", folder, *options).returncode == 0
    with pytest.raises(ArtifactError, match="is not what was signed"):
        verify_signature(folder, ours.public)


def test_no_key_is_asked_for_unless_one_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABSERVE_PUBLIC_KEY", raising=False)
    assert public_key_from_environment() is None


def test_the_environment_names_the_key(monkeypatch: pytest.MonkeyPatch, ours: KeyPair) -> None:
    monkeypatch.setenv("ABSERVE_PUBLIC_KEY", str(ours.public))
    assert public_key_from_environment() == ours.public


@pytest.mark.parametrize("given", ["", "/nowhere/public.pem", "/usr"])
def test_a_key_that_is_configured_must_be_there(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("ABSERVE_PUBLIC_KEY", given)
    with pytest.raises(ArtifactError, match=f"is '{given}', which is no file; name the PEM"):
        public_key_from_environment()


@pytest.fixture
def no_private_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABSERVE_PRIVATE_KEY", raising=False)
    monkeypatch.delenv("ABSERVE_PRIVATE_KEY_PEM", raising=False)


@pytest.mark.usefixtures("no_private_key")
def test_nothing_is_signed_unless_a_key_is_configured() -> None:
    assert private_key_from_environment() is None


@pytest.mark.usefixtures("no_private_key")
def test_the_environment_names_the_private_key(
    folder: Path, ours: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABSERVE_PRIVATE_KEY", str(ours.private))
    key = private_key_from_environment()
    assert key == read_private_key(ours.private)


@pytest.mark.usefixtures("no_private_key")
def test_the_environment_holds_the_private_key(
    tmp_path: Path, ours: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABSERVE_PRIVATE_KEY_PEM", ours.private.read_text())
    key = private_key_from_environment()
    assert key is not None
    verify_signature(write(tmp_path / "v1", signed(SEALED, key)), ours.public)


@pytest.mark.usefixtures("no_private_key")
def test_two_private_keys_are_one_too_many(ours: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSERVE_PRIVATE_KEY", str(ours.private))
    monkeypatch.setenv("ABSERVE_PRIVATE_KEY_PEM", ours.private.read_text())
    with pytest.raises(ArtifactError, match="ABSERVE_PRIVATE_KEY_PEM are both set; set the one"):
        private_key_from_environment()


@pytest.mark.usefixtures("no_private_key")
@pytest.mark.parametrize("given", ["", "/nowhere/private.pem", "/usr"])
def test_a_private_key_that_is_configured_must_be_there(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("ABSERVE_PRIVATE_KEY", given)
    with pytest.raises(ArtifactError, match=f"is '{given}', which is no file; name the PEM"):
        private_key_from_environment()


@pytest.mark.usefixtures("no_private_key")
@pytest.mark.parametrize("given", ["", "secret", "-----BEGIN PRIVATE KEY-----\nsecret\n"])
def test_a_text_that_is_no_private_key_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("ABSERVE_PRIVATE_KEY_PEM", given)
    with pytest.raises(ArtifactError, match=r"^ABSERVE_PRIVATE_KEY_PEM is no private key") as told:
        private_key_from_environment()
    assert "secret" not in str(told.value)


def test_signing_and_verifying_leave_no_file_open(folder: Path, ours: KeyPair) -> None:
    before = psutil.Process().num_fds()
    signed(SEALED, ours.private)
    verify_signature(folder, ours.public)
    assert psutil.Process().num_fds() == before
