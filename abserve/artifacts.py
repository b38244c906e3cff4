"""The files of one version, and how we know that they are all there and unchanged.

::

    iris/v3/
    ├── model.onnx            what is served
    ├── model.skops           the fitted scikit-learn pipeline, for audit
    ├── model-settings.json   how MLServer loads this folder
    ├── settings.json         how MLServer serves it
    ├── metadata.json         lineage, evaluation, schema, reference distribution
    ├── signature.json        who published it, if it is signed: covers every other file
    └── checksums.json        SHA-256 of each file above but the signature; written last, it makes
                              the version
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from abserve.errors import ArtifactError
from abserve.schema import Schema, Value

MODEL_ONNX = "model.onnx"
MODEL_SKOPS = "model.skops"
MODEL_SETTINGS = "model-settings.json"
SETTINGS = "settings.json"
METADATA = "metadata.json"
SIGNATURE = "signature.json"
CHECKSUMS = "checksums.json"

# Beyond the first so many features of a schema, nothing is described and nothing is watched: a
# picture has thousands, and neither a file nor a dashboard of them would be read.
MAX_REFERENCE_FEATURES = 50

_SUM_TOLERANCE = 1e-6


class Parity(Value):
    """How closely the exported model repeats the fitted one on held-out rows."""

    n_rows: int
    n_different_labels: int
    largest_probability_difference: float


_Share = Annotated[float, Field(ge=0, le=1)]


class Distribution(Value):
    """What one feature was like in the rows a version was fitted on: the share of rows per bin.

    `edges` lie between the bins, ascending: a bin holds the values above the edge before it, up to
    and with the edge after it; the first and the last bin are open. `shares` are one more than the
    edges. Where values may be missing, the rows without one are a bin of their own, `missing`.
    """

    edges: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    shares: tuple[_Share, ...]
    missing: _Share | None = None

    @model_validator(mode="after")
    def _edges_in_order(self) -> Self:
        for lower, upper in pairwise(self.edges):
            if lower >= upper:
                raise ValueError(f"edge {lower} is not below the next, {upper}")
        return self

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError(
                f"there are {len(self.shares)} shares and {len(self.edges)} edges, "
                "expected one more share than edges"
            )
        if not self.edges and self.missing is None:
            raise ValueError("there is one bin only, which everything fits; expected two or more")
        total = sum(self.shares) + (self.missing or 0.0)
        if abs(total - 1) > _SUM_TOLERANCE:
            raise ValueError(f"the shares sum to {total}, not 1")
        return self


class Metadata(Value):
    """What a version says of itself; the content of ``metadata.json``.

    `evaluation` holds metrics by name, measured on the `n_held_out` rows the estimator never saw.
    `reference` describes the rows it was fitted on, by feature, for at most the first
    `MAX_REFERENCE_FEATURES`; versions published before there was one have none.
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
    reference: Mapping[str, Distribution] = {}

    @model_validator(mode="after")
    def _reference_names_features(self) -> Self:
        if unknown := sorted(self.reference.keys() - set(self.schema_.feature_names)):
            raise ValueError(f"the reference describes {unknown[0]!r}, which is no feature")
        return self


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
