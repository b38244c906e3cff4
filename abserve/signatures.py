"""Who published a version: the signature of its files, and whether it is one that we trust.

Checksums tell a damaged copy; whoever can write to the model repository can write checksums too. A
signature takes a private key that the repository never sees. It lies in the version's folder as
``signature.json``, a Sigstore bundle as OpenSSF's model-signing makes it, and covers every other
file of the folder, the checksums included::

    training    files ──> seal ──> signed ──> publish
    serving     copy ──> verify_signature ──> read, import and load what is in the folder

Nothing of a folder may be read before it is verified: model settings name the code that runs.

The stock tool makes and verifies the same signatures. It signs a version that is published already
by adding the one file::

    openssl ecparam -name prime256v1 -genkey -noout -out private.pem
    openssl ec -in private.pem -pubout -out public.pem
    cd v3
    model_signing sign key . --no-ignore-git-paths --signature signature.json --private_key PEM
    model_signing verify key . --no-ignore-git-paths --signature signature.json --public_key PEM

A signature does not say which version was asked for: an older one, signed with the same key, is
accepted in the place of a newer.
"""

import os
import stat
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from abserve.artifacts import CHECKSUMS, SIGNATURE, verify
from abserve.errors import ArtifactError

PUBLIC_KEY_VARIABLE = "ABSERVE_PUBLIC_KEY"


def public_key_from_environment() -> Path | None:
    """Return the public key that ``ABSERVE_PUBLIC_KEY`` names, or None if that is not set.

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


def signed(files: Mapping[str, bytes], private_key: Path) -> dict[str, bytes]:
    """Return sealed `files` with their signature added, in front of the checksums.

    Parameters
    ----------
    files : mapping of str to bytes
        File name to content, as `abserve.artifacts.seal` returns them: checksums last.
    private_key : Path
        PEM file of a private key on the curve P-256, P-384 or P-521, without a password.

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
    library = _model_signing()
    signing = _with_key(
        library.signing.Config().use_elliptic_key_signer, "private", private_key
    ).set_hashing_config(_every_file(library))
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


def verify_signature(folder: Path, public_key: Path) -> None:
    """Check that every file in `folder` was signed with the private key of `public_key`.

    Parameters
    ----------
    folder : Path
        A version's folder on this machine. It may itself be a symbolic link, but hold none.
    public_key : Path
        PEM file of a public key on the curve P-256, P-384 or P-521.

    Raises
    ------
    ArtifactError
        If the folder is not signed, or with another key; if a file is missing, superfluous,
        altered or not a plain file; if the key cannot be used, or the extra ``signing`` is not
        installed.
    """
    library = _model_signing()
    verifying = _with_key(
        library.verifying.Config().use_elliptic_key_verifier, "public", public_key
    ).set_hashing_config(_every_file(library))
    folder = folder.resolve()
    _check_all_plain(folder)
    if not (folder / SIGNATURE).is_file():
        raise ArtifactError(
            f"{folder} holds no {SIGNATURE}; expected a version signed with the private key of "
            f"{public_key}: sign it, or serve one that is signed"
        )
    try:
        verifying.verify(folder, folder / SIGNATURE)
    except Exception as error:  # whatever a damaged signature makes of it
        # Unless they were changed as well, the checksums say which file it is.
        verify(folder)
        raise _refusal(folder, public_key, error) from error


def _refusal(folder: Path, public_key: Path, error: Exception) -> ArtifactError:
    if str(error).startswith("Signature mismatch"):
        return ArtifactError(
            f"{folder} is not what was signed, though its checksums are right: {SIGNATURE} is that "
            "of another version, or somebody replaced files and checksums; do not serve it, and "
            "find out which"
        )
    first_line = str(error).partition("\n")[0]
    reason = f"{type(error).__name__}: {first_line}".rstrip(": ")
    return ArtifactError(
        f"{folder / SIGNATURE} is no signature made with the private key of {public_key} "
        f"({reason}); serve a version signed with that key, or copy this one again"
    )


def _check_all_plain(folder: Path) -> None:
    """Raise if a link would lead out of `folder`, or something in it cannot be looked at."""
    try:
        for parent, folders, files in os.walk(folder, onerror=_raise):
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
    # Imported here because it takes a third of a second and most of Sigstore, and need not be
    # installed where no key is configured.
    try:
        return import_module("model_signing")
    except ImportError as error:
        raise ArtifactError(
            f"signatures need the package model-signing, which cannot be imported ({error}); "
            "install it: pip install 'abserve[signing]'"
        ) from error


def _with_key(configure: Callable[..., Any], kind: str, path: Path) -> Any:
    try:
        return configure(**{f"{kind}_key": path})
    except OSError as error:
        raise ArtifactError(
            f"{kind} key {path} cannot be read ({error.strerror}); name a PEM file"
        ) from error
    except Exception as error:  # each kind of key that is not wanted fails in its own way
        raise ArtifactError(
            f"{path} is no {kind} key that signatures take ({error}); expected PEM, without a "
            "password, of a key on the curve P-256, P-384 or P-521, such as openssl ecparam "
            "-name prime256v1 -genkey makes"
        ) from error
