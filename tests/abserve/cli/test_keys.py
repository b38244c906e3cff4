import json
from pathlib import Path

from abserve.artifacts import seal
from abserve.keys import read_private_key, read_public_keys
from abserve.signatures import signed, verify_signature
from tests.abserve.cli.conftest import Run
from tests.abserve.tampering import write


def test_a_new_pair_signs_and_verifies(abserve: Run, home: Path, tmp_path: Path) -> None:
    assert abserve("keys", "new").code == 0
    files = signed(seal({"model.onnx": b"model"}), home / "keys/private.pem")
    verify_signature(write(tmp_path / "v1", files), home / "keys/public.pem")


def test_it_is_told_what_to_do_next(abserve: Run, home: Path) -> None:
    said = abserve("keys", "new").out
    assert f"export ABSERVE_PRIVATE_KEY={home}/keys/private.pem\n" in said
    assert f"export ABSERVE_PUBLIC_KEY={home}/keys/public.pem\n" in said
    assert "ABSERVE_PRIVATE_KEY_PEM" in said
    assert read_private_key(home / "keys/private.pem").public.fingerprint in said


def test_the_private_key_is_not_printed(abserve: Run, home: Path) -> None:
    ended = abserve("keys", "new")
    secret = (home / "keys/private.pem").read_text().splitlines()[1]
    assert secret not in ended.out + ended.err


def test_files_can_be_named(abserve: Run, home: Path, tmp_path: Path) -> None:
    private, public = tmp_path / "a.pem", tmp_path / "b.pem"
    ended = abserve("keys", "new", "--private", private, "--public", public, "--json")
    assert json.loads(ended.out) == {
        "private": str(private),
        "public": str(public),
        "fingerprint": read_public_keys(public)[0].fingerprint,
    }
    assert not home.exists()


def test_a_second_pair_does_not_replace_the_first(abserve: Run, home: Path) -> None:
    abserve("keys", "new")
    first = (home / "keys/private.pem").read_bytes()
    ended = abserve("keys", "new")
    assert (ended.code, ended.out) == (1, "")
    assert "private.pem exists, and what was signed" in ended.err
    assert (home / "keys/private.pem").read_bytes() == first


def test_fingerprints_of_public_keys_are_shown(abserve: Run, home: Path, tmp_path: Path) -> None:
    abserve("keys", "new")
    abserve("keys", "new", "--private", tmp_path / "a", "--public", tmp_path / "b")
    both = tmp_path / "both.pem"
    both.write_bytes((home / "keys/public.pem").read_bytes() + (tmp_path / "b").read_bytes())
    fingerprints = [key.fingerprint for key in read_public_keys(both)]
    assert abserve("keys", "show", both).out.splitlines() == fingerprints
    assert json.loads(abserve("keys", "show", both, "--json").out) == fingerprints


def test_a_private_key_is_not_shown(abserve: Run, home: Path) -> None:
    abserve("keys", "new")
    ended = abserve("keys", "show", home / "keys/private.pem")
    assert (ended.code, ended.out) == (1, "")
    assert "is no public key that signatures take" in ended.err
