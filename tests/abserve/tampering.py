"""What may be done to the folder of a signed version; each of these has to be noticed."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from abserve.artifacts import CHECKSUMS, SIGNATURE, seal
from abserve.keys import PrivateKey, new_private_key, write_key_pair
from abserve.signatures import signed


class Keys:
    """Our key pair, in files, and the private key of somebody whom nobody trusts."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.theirs = new_private_key(), new_private_key()
        self.private, self.public = folder / "private.pem", folder / "public.pem"
        write_key_pair(self.ours, self.private, self.public)


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def flip(folder: Path, name: str, position: float = 0.5) -> None:
    """Flip a bit of the byte that stands at a position from 0 to 1."""
    content = bytearray((folder / name).read_bytes())
    content[int(position * (len(content) - 1))] ^= 1
    (folder / name).write_bytes(content)


def remove(folder: Path, name: str) -> None:
    (folder / name).unlink()


def add(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("import os\n")


def seal_anew(folder: Path, changes: Mapping[str, bytes]) -> None:
    """Replace files, and the checksums to suit, as everyone can who may write to a repository."""
    files = read(folder)
    signature = files.pop(SIGNATURE)
    del files[CHECKSUMS]
    shutil.rmtree(folder)
    write(folder, {**seal({**files, **changes}), SIGNATURE: signature})


def sign_anew(folder: Path, key: PrivateKey) -> None:
    """Sign what is there with a key, in place of whoever has signed it."""
    files = read(folder)
    files.pop(SIGNATURE, None)
    checksums = files.pop(CHECKSUMS)
    shutil.rmtree(folder)
    write(folder, signed({**files, CHECKSUMS: checksums}, key))
