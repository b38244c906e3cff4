"""The files of one version, and how we know that they are all there and unchanged.

::

    iris/v3/
    ├── model.onnx            what is served
    ├── model.skops           the fitted scikit-learn pipeline, for audit
    ├── model-settings.json   how MLServer loads this folder
    ├── settings.json         how MLServer serves it
    ├── metadata.json         lineage, evaluation, schema, reference distribution
    ├── card.html             the same for a person, with plots and an example request
    ├── signature.json        who published it, if it is signed: covers every other file
    └── checksums.json        SHA-256 of each file above but the signature; written last, it makes
                              the version
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from abserve.errors import ArtifactError
from abserve.metadata import Metadata

MODEL_ONNX = "model.onnx"
MODEL_SKOPS = "model.skops"
MODEL_SETTINGS = "model-settings.json"
SETTINGS = "settings.json"
METADATA = "metadata.json"
CARD = "card.html"
SIGNATURE = "signature.json"
CHECKSUMS = "checksums.json"


def to_json(value: Any) -> bytes:
    """Return `value` as the indented, sorted, newline-ended JSON that every artifact file uses."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def seal(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return `files` with the checksums of all of them added, last.

    The order matters: a repository writes in this order, and what lacks the checksums is no
    version.
    """
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return {**files, CHECKSUMS: to_json({"sha256": sums})}


def verify(folder: Path) -> None:
    """Check that `folder` holds exactly the files it was published with.

    A signature may have been added since: it covers the checksums, and is no part of them.

    Parameters
    ----------
    folder : Path
        A version's folder on this machine, as copied from the repository.

    Raises
    ------
    ArtifactError
        If the checksums are missing or unreadable, or a file is missing, superfluous or altered.
    """
    sums = _read_checksums(folder)
    found = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {CHECKSUMS, SIGNATURE}
    if missing := sorted(sums.keys() - found):
        raise ArtifactError(f"{folder} lacks {missing[0]}, which {CHECKSUMS} names; copy it again")
    if extra := sorted(found - sums.keys()):
        raise ArtifactError(
            f"{folder} holds {extra[0]}, which {CHECKSUMS} does not name; "
            "a version holds what was published and nothing else"
        )
    for name, expected in sums.items():
        with (folder / name).open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != expected:
            raise ArtifactError(
                f"{folder / name} has SHA-256 {actual}, published was {expected}; "
                "the file was changed or the copy is damaged: copy it again"
            )


def parse_checksums(content: bytes, where: str) -> dict[str, str]:
    """Return the SHA-256 of each file that the checksums name.

    Raises
    ------
    ArtifactError
        If `content`, which was read from `where`, is not what `seal` adds.
    """
    try:
        sums = json.loads(content)["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{where} is damaged; copy the version again") from error
    if not isinstance(sums, dict):
        raise ArtifactError(f"{where} is damaged; copy the version again")
    return {str(name): str(digest) for name, digest in sums.items()}


def read_metadata(folder: Path) -> Metadata:
    """Return what the version in `folder` says of itself.

    Raises
    ------
    ArtifactError
        If ``metadata.json`` is missing or is not what training writes.
    """
    path = folder / METADATA
    try:
        return parse_metadata(path.read_bytes(), str(path))
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read ({error.strerror}); expected the folder of a published version"
        ) from error


def parse_metadata(content: bytes, where: str) -> Metadata:
    """Return what a version says of itself.

    Raises
    ------
    ArtifactError
        If `content`, which was read from `where`, is not what training writes.
    """
    try:
        return Metadata.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ArtifactError(
            f"{where} is not a version's metadata: {field}: {first['msg']}"
        ) from error


def _read_checksums(folder: Path) -> dict[str, str]:
    path = folder / CHECKSUMS
    try:
        return parse_checksums(path.read_bytes(), str(path))
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read ({error.strerror}); expected the folder of a published version"
        ) from error
