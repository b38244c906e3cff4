import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from abserve.artifacts import read_metadata, seal, to_json, verify
from abserve.errors import ArtifactError
from abserve.metadata import Distribution, Metadata, Parity
from abserve.schema import Feature, Schema

METADATA = Metadata(
    model="iris",
    version="v1",
    trained_at=datetime(2024, 5, 1, 12, tzinfo=UTC),
    git_commit=None,
    git_dirty=None,
    libraries={"numpy": "2.0"},
    estimator="sklearn.tree.DecisionTreeClassifier",
    parameters={"max_depth": 2},
    seed=7,
    n_fitted=105,
    n_held_out=45,
    evaluation={"accuracy": 0.9},
    parity=Parity(n_rows=45, n_different_labels=0, largest_difference=1e-8),
    schema=Schema(features=(Feature(name="width_cm"),), classes=("a", "b")),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version's folder as it was published."""
    metadata = to_json(METADATA.model_dump(mode="json", by_alias=True))
    for name, content in seal({"model.onnx": b"model", "metadata.json": metadata}).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_json_is_the_same_whatever_the_order() -> None:
    assert to_json({"b": 1, "a": 2}) == to_json({"a": 2, "b": 1}) == b'{\n  "a": 2,\n  "b": 1\n}\n'


def test_checksums_come_last() -> None:
    assert list(seal({"z": b"1", "a": b"2"})) == ["z", "a", "checksums.json"]


def test_checksums_are_sha256_of_each_file() -> None:
    sums = json.loads(seal({"a": b"content"})["checksums.json"])
    assert sums == {"sha256": {"a": hashlib.sha256(b"content").hexdigest()}}


def test_sealing_leaves_what_it_was_given_alone() -> None:
    files = {"a": b"1"}
    seal(files)
    assert files == {"a": b"1"}


def test_an_untouched_folder_is_accepted(folder: Path) -> None:
    verify(folder)


def test_a_changed_file_is_noticed(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"Model")
    with pytest.raises(ArtifactError, match=r"model\.onnx has SHA-256 .*; the file was changed"):
        verify(folder)


def test_a_missing_file_is_noticed(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"lacks model\.onnx, .*; copy it again"):
        verify(folder)


def test_a_file_that_was_added_is_noticed(folder: Path) -> None:
    (folder / "module.py").write_text("import os\n")
    with pytest.raises(ArtifactError, match=r"holds module\.py, which checksums\.json does not"):
        verify(folder)


def test_a_file_added_in_a_folder_below_is_noticed(folder: Path) -> None:
    (folder / "below").mkdir()
    (folder / "below" / "module.py").write_text("import os\n")
    with pytest.raises(ArtifactError, match=r"holds below/module\.py"):
        verify(folder)


def test_a_folder_without_checksums_is_no_version(folder: Path) -> None:
    (folder / "checksums.json").unlink()
    with pytest.raises(
        ArtifactError, match=r"cannot be read .*; expected the folder of a published"
    ):
        verify(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": []}', "\x00"])
def test_damaged_checksums_are_told_apart_from_damaged_files(folder: Path, content: str) -> None:
    (folder / "checksums.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"checksums\.json is damaged; copy the version again"):
        verify(folder)


def test_metadata_are_read_as_they_were_written(folder: Path) -> None:
    assert read_metadata(folder) == METADATA


def test_metadata_call_the_schema_by_its_name() -> None:
    written = METADATA.model_dump(mode="json", by_alias=True)
    assert written["schema"]["classes"] == ["a", "b"]
    assert written["trained_at"] == "2024-05-01T12:00:00Z"


def test_metadata_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        METADATA.model = "rose"


def test_missing_metadata_are_named(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    with pytest.raises(ArtifactError, match=r"metadata\.json cannot be read \(No such file"):
        read_metadata(folder)


def test_metadata_that_say_something_else_are_refused(folder: Path) -> None:
    written = METADATA.model_dump(mode="json", by_alias=True)
    (folder / "metadata.json").write_bytes(to_json({**written, "seed": "seven"}))
    with pytest.raises(ArtifactError, match=r"is not a version's metadata: seed: "):
        read_metadata(folder)


def with_reference(**reference: object) -> bytes:
    written = METADATA.model_dump(mode="json", by_alias=True)
    return to_json({**written, "reference": reference})


def test_metadata_of_older_versions_have_no_reference(folder: Path) -> None:
    written = METADATA.model_dump(mode="json", by_alias=True)
    del written["reference"]
    (folder / "metadata.json").write_bytes(to_json(written))
    assert read_metadata(folder).reference == {}


def test_a_reference_is_read_as_it_was_written(folder: Path) -> None:
    edge = 0.10000000149011612  # 0.1 in FP32
    content = with_reference(width_cm={"edges": [edge, 2], "shares": [0.5, 0.25, 0.25]})
    (folder / "metadata.json").write_bytes(content)
    assert read_metadata(folder).reference == {
        "width_cm": Distribution(edges=(edge, 2.0), shares=(0.5, 0.25, 0.25))
    }


def test_a_reference_describes_features_only(folder: Path) -> None:
    content = with_reference(height_cm={"edges": [1], "shares": [0.5, 0.5]})
    (folder / "metadata.json").write_bytes(content)
    with pytest.raises(ArtifactError, match="the reference describes 'height_cm', which is no"):
        read_metadata(folder)


@pytest.mark.parametrize(
    ("edges", "shares", "missing"),
    [
        ((1.0,), (0.5, 0.5), None),
        ((1.0,), (0.5, 0.5), 0.0),
        ((1.0,), (0.25, 0.25), 0.5),
        ((), (0.0,), 1.0),
        ((1.0, 2.0), (1 / 3, 1 / 3, 1 / 3), None),
        ((1.0,), (0.5, 0.5000009), None),
    ],
)
def test_shares_of_all_bins_sum_to_one(
    edges: tuple[float, ...], shares: tuple[float, ...], missing: float | None
) -> None:
    assert Distribution(edges=edges, shares=shares, missing=missing).shares == shares


@pytest.mark.parametrize(
    ("edges", "shares", "missing", "error"),
    [
        ((1.0,), (0.5, 0.4), None, "the shares sum to 0.9, not 1"),
        ((1.0,), (0.5, 0.5), 0.1, "the shares sum to 1.1, not 1"),
        ((1.0,), (0.5, 0.500002), None, "the shares sum to"),
        ((1.0,), (1.5, -0.5), None, "less than or equal to 1"),
        ((1.0,), (1.0,), None, "there are 1 shares and 1 edges, expected one more"),
        ((), (0.5, 0.5), None, "there are 2 shares and 0 edges"),
        ((), (1.0,), None, "one bin only, which everything fits"),
        ((2.0, 1.0), (0.5, 0.5, 0.0), None, "edge 2.0 is not below the next, 1.0"),
        ((1.0, 1.0), (0.5, 0.5, 0.0), None, "edge 1.0 is not below the next"),
        ((float("nan"),), (0.5, 0.5), None, "finite number"),
        ((float("inf"),), (0.5, 0.5), None, "finite number"),
        ((1.0,), (0.5, float("nan")), None, "less than or equal to 1"),
    ],
)
def test_a_distribution_that_is_none_is_refused(
    edges: tuple[float, ...], shares: tuple[float, ...], missing: float | None, error: str
) -> None:
    with pytest.raises(ValidationError, match=error):
        Distribution(edges=edges, shares=shares, missing=missing)
