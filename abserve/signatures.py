"""Who published a version: the signature of its files, and whether it is one that we trust.

Checksums tell a damaged copy; whoever can write to the model repository can write checksums too. A
signature takes a private key that the repository never sees. It lies in the version's folder as
``signature.json``, a Sigstore bundle as OpenSSF's model-signing makes it, and covers every other
file of the folder, the checksums included::

    training    files ──> seal ──> signed ──> publish
    serving     copy ──> verify_signature ──> read, import and load what is in the folder

Nothing of a folder may be read before it is verified: model settings name the code that runs.

The stock tool, ``model_signing``, makes and verifies the same signatures, and signs a version that
is published already by adding the one file; `docs/signing.md` shows how.

A signature does not say which version was asked for: an older one, signed with the same key, is
accepted in the place of a newer.
"""

import json
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from abserve.artifacts import CHECKSUMS, SIGNATURE, verify
from abserve.errors import ArtifactError
from abserve.keys import (
    PrivateKey,
    PublicKey,
    import_for_signing,
    parse_private_key,
    read_private_key,
    read_public_keys,
)

PRIVATE_KEY_VARIABLE = "ABSERVE_PRIVATE_KEY"
PRIVATE_KEY_TEXT_VARIABLE = "ABSERVE_PRIVATE_KEY_PEM"
PUBLIC_KEY_VARIABLE = "ABSERVE_PUBLIC_KEY"


def private_key_from_environment() -> PrivateKey | None:
    """Return the key to sign with, or None if the environment has none.

    ``ABSERVE_PRIVATE_KEY`` names its PEM file, or ``ABSERVE_PRIVATE_KEY_PEM`` holds the PEM itself,
    for CI, which keeps secrets in variables.

    Raises
    ------
    ArtifactError
        If both are set, or the one that is holds or names no key that can sign.
    """
    path = os.environ.get(PRIVATE_KEY_VARIABLE)
    text = os.environ.get(PRIVATE_KEY_TEXT_VARIABLE)
    if path is not None and text is not None:
        raise ArtifactError(
            f"{PRIVATE_KEY_VARIABLE} and {PRIVATE_KEY_TEXT_VARIABLE} are both set; set the one "
            "that names a file or the one that holds the key, so that it is clear who signs"
        )
    if text is not None:
        return parse_private_key(text.encode(), PRIVATE_KEY_TEXT_VARIABLE)
    if path is not None:
        if not Path(path).is_file():
            raise ArtifactError(
                f"{PRIVATE_KEY_VARIABLE} is {path!r}, which is no file; name the PEM file of the "
                "private key, or unset it to publish versions without a signature"
            )
        return read_private_key(Path(path))
    return None


def public_key_from_environment() -> Path | None:
    """Return the file of public keys that ``ABSERVE_PUBLIC_KEY`` names, or None if it is not set.

    Raises
    ------
    ArtifactError
        If it is set and names no file, or is empty.
    """
    given = os.environ.get(PUBLIC_KEY_VARIABLE)
    if given is None:
        return None
    if not Path(given).is_file():
        raise ArtifactError(
            f"{PUBLIC_KEY_VARIABLE} is {given!r}, which is no file; name the PEM file of the "
            "public key, or unset it to serve versions that nobody signed"
        )
    return Path(given)


def signed(files: Mapping[str, bytes], private_key: PrivateKey | Path) -> dict[str, bytes]:
    """Return sealed `files` with their signature added, in front of the checksums.

    Parameters
    ----------
    files : mapping of str to bytes
        File name to content, as `abserve.artifacts.seal` returns them: checksums last.
    private_key : PrivateKey or Path
        The key, or its PEM file.

    Returns
    -------
    dict of str to bytes
        What `abserve.repository.Repository.publish` takes: checksums last.

    Raises
    ------
    ArtifactError
        If `files` are not sealed or already signed, the key cannot be used, or the extra
        ``signing`` is not installed.
    """
    if list(files)[-1:] != [CHECKSUMS] or SIGNATURE in files:
        raise ArtifactError(
            f"{', '.join(files) or 'no files'} cannot be signed; expected the files of a version "
            f"with {CHECKSUMS} last and without {SIGNATURE}: seal them first, and sign them once"
        )
    key = private_key if isinstance(private_key, PrivateKey) else read_private_key(private_key)
    library = _model_signing()
    signing = library.signing.Config().set_hashing_config(_every_file(library))
    with _as_file(key.pem) as path:
        signing.use_elliptic_key_signer(private_key=path)
    # model-signing reads what it signs from a disk.
    with TemporaryDirectory() as temporary:
        # The signature names the folder, and nothing follows from that name.
        folder = Path(temporary) / "version"
        folder.mkdir()
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        signing.sign(folder, folder / SIGNATURE)
        signature = (folder / SIGNATURE).read_bytes()
    return {
        **{name: content for name, content in files.items() if name != CHECKSUMS},
        SIGNATURE: signature,
        CHECKSUMS: files[CHECKSUMS],
    }


def verify_signature(folder: Path, public_key: Path) -> PublicKey:
    """Check that every file in `folder` was signed with the private key of `public_key`.

    Parameters
    ----------
    folder : Path
        A version's folder on this machine. It may itself be a symbolic link, but hold none.
    public_key : Path
        PEM file of the public keys that are trusted: one, or several, each as good as another.

    Returns
    -------
    PublicKey
        The one whose private key has signed.

    Raises
    ------
    ArtifactError
        If the folder is not signed, or with another key; if a file is missing, superfluous,
        altered or not a plain file; if a key cannot be used, or the extra ``signing`` is not
        installed.
    """
    keys = read_public_keys(public_key)
    library = _model_signing()
    folder = folder.resolve()
    _check_all_plain(folder)
    if not (folder / SIGNATURE).is_file():
        raise ArtifactError(
            f"{folder} holds no {SIGNATURE}; expected a version signed with the private key of "
            f"{public_key}: sign it, or serve one that is signed"
        )
    reasons = []
    for key in keys:
        verifying = library.verifying.Config().set_hashing_config(_every_file(library))
        with _as_file(key.pem) as path:
            verifying.use_elliptic_key_verifier(public_key=path)
        try:
            verifying.verify(folder, folder / SIGNATURE)
            _check_as_written(folder / SIGNATURE)
        except Exception as error:  # noqa: BLE001  # whatever a damaged signature makes of it
            reasons.append(error)
        else:
            return key
    raise _refusal(folder, public_key, reasons) from reasons[0]


def _check_as_written(signature: Path) -> None:
    """Raise if bits were changed that base64 leaves unread, and that leave the signature good."""
    envelope = json.loads(signature.read_bytes())["dsseEnvelope"]
    for text in (envelope["payload"], *(each["sig"] for each in envelope["signatures"])):
        if b64encode(b64decode(text)).decode() != text:
            raise ValueError("its base64 is not as it was written")


def _refusal(folder: Path, public_key: Path, reasons: Sequence[Exception]) -> ArtifactError:
    checked = (folder / CHECKSUMS).is_file()
    if checked:
        # Unless they were changed as well, the checksums say which file it is.
        verify(folder)
    if any(str(reason).startswith("Signature mismatch") for reason in reasons):
        and_yet = "though its checksums are right" if checked else f"and holds no {CHECKSUMS}"
        return ArtifactError(
            f"{folder} is not what was signed, {and_yet}: {SIGNATURE} is that of another version, "
            "or somebody replaced files and checksums; do not serve it, and find out which"
        )
    said = dict.fromkeys(
        f"{type(reason).__name__}: {str(reason).partition(chr(10))[0]}".rstrip(": ")
        for reason in reasons
    )
    return ArtifactError(
        f"{folder / SIGNATURE} is no signature made with the private key of {public_key} "
        f"({'; '.join(said)}); serve a version signed with that key, or copy this one again"
    )


def _check_all_plain(folder: Path) -> None:
    """Raise if `folder` holds what no signature covers, or what cannot be looked at."""
    try:
        for parent, folders, files in os.walk(folder, onerror=_raise):
            if not (folders or files):
                raise ArtifactError(
                    f"{parent} is an empty folder; a signed version holds what was published and "
                    "nothing else: copy it again"
                )
            for path in (Path(parent, name) for name in (*folders, *files)):
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise ArtifactError(
                        f"{path} is neither a file nor a folder but a link or a device; a signed "
                        "version holds what was published and nothing else: copy it again"
                    )
    except OSError as error:
        raise ArtifactError(
            f"{error.filename} cannot be read ({error.strerror}); expected the folder of a "
            "published version"
        ) from error


def _raise(error: OSError) -> None:
    raise error


def _every_file(library: Any) -> Any:
    class EveryFile(library.hashing.Config):  # type: ignore[misc]  # imported when needed
        # A signature can say that files were left out of it, as the stock tool leaves out .git
        # and the like. Nobody would then notice what is put there.
        def add_ignored_paths(self, **_: Any) -> None:
            pass

    return EveryFile().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _model_signing() -> Any:
    # Imported when needed: it takes a third of a second and most of Sigstore, and need not be
    # installed where no key is configured.
    return import_for_signing("model_signing")


@contextmanager
def _as_file(pem: bytes) -> Iterator[Path]:
    """Give a key to a library that wants the name of a file, without writing it to a disk."""
    read, write = os.pipe()
    try:
        # A key is far smaller than what a pipe holds, so this does not wait for the reader.
        with os.fdopen(write, "wb") as file:
            file.write(pem)
        yield Path(f"/dev/fd/{read}")
    finally:
        os.close(read)
