"""The files of one version, and how we know that they are all there and unchanged.

::

    iris/v3/
    ├── model.onnx            what is served
    ├── model.skops           the fitted scikit-learn pipeline, for audit
    ├── model-settings.json   how MLServer loads this folder
    ├── settings.json         how MLServer serves it
    ├── metadata.json         lineage, evaluation, schema
    └── checksums.json        SHA-256 of each file above; written last, it makes the version
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from abserve.errors import ArtifactError
from abserve.schema import Schema, Value

MODEL_ONNX = "model.onnx"
MODEL_SKOPS = "model.skops"
MODEL_SETTINGS = "model-settings.json"
SETTINGS = "settings.json"
METADATA = "metadata.json"
CHECKSUMS = "checksums.json"


class Parity(Value):
    """How closely the exported model repeats the fitted one on held-out rows."""

    n_rows: int
    n_different_labels: int
    largest_probability_difference: float


class Metadata(Value):
    """What a version says of itself; the content of ``metadata.json``.

    `evaluation` holds metrics by name, measured on the `n_held_out` rows the estimator never saw.
    """

    model: str
    version: str
    trained_at: datetime
    git_commit: str | None
    git_dirty: bool | None
    libraries: Mapping[str, str]
    estimator: str
    parameters: Mapping[str, Any]
    seed: int
    n_fitted: int
    n_held_out: int
    evaluation: Mapping[str, float]
    parity: Parity
    schema_: Schema = Field(alias="schema")


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
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != CHECKSUMS
    }
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


def read_metadata(folder: Path) -> Metadata:
    """Return what the version in `folder` says of itself.

    Raises
    ------
    ArtifactError
        If ``metadata.json`` is missing or is not what training writes.
    """
    path = folder / METADATA
    try:
        return Metadata.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read ({error.strerror}); expected the folder of a published version"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(
            f"{path} is not a version's metadata: {where}: {first['msg']}"
        ) from error


def _read_checksums(folder: Path) -> dict[str, str]:
    path = folder / CHECKSUMS
    try:
        sums = json.loads(path.read_bytes())["sha256"]
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read ({error.strerror}); expected the folder of a published version"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged; copy the version again") from error
    if not isinstance(sums, dict):
        raise ArtifactError(f"{path} is damaged; copy the version again")
    return {str(name): str(digest) for name, digest in sums.items()}
