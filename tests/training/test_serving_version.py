from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn

from abserve.artifacts import METADATA, MODEL_ONNX, seal, to_json
from abserve.errors import ArtifactError, RepositoryError, TrainingError
from abserve.repository import Repository
from abserve.schema import Feature, Schema
from tests.training.fitted import Case, diabetes, iris, pipeline_of
from training.definition import Bar
from training.export import Exported, export
from training.serving_version import open_version


def published(
    repository: Repository,
    case: Case,
    estimator: str,
    changes: dict[str, bytes] | None = None,
    **said: Any,
) -> Exported:
    """Publish an estimator as iris v1; `said` goes into its metadata, `changes` are other files."""
    found = export(pipeline_of(case, estimator), case.schema, case.parts, 7, Bar(at_most=1e-5))
    metadata = {
        "model": "iris",
        "version": "v1",
        "trained_at": "2025-01-02T03:04:05+00:00",
        "git_commit": None,
        "git_dirty": None,
        "libraries": {"scikit-learn": sklearn.__version__},
        "estimator": f"sklearn.{estimator}",
        "parameters": {},
        "seed": 7,
        "n_fitted": len(case.parts.fitted_rows),
        "n_held_out": len(case.parts.held_out_rows),
        "evaluation": {},
        "served": found.served,
        "parity": None,
        "schema": case.schema.model_dump(mode="json"),
        **said,
    }
    files = {**found.files, METADATA: to_json(metadata), **(changes or {})}
    repository.publish("iris", "v1", seal(files))
    return found


@pytest.mark.parametrize(
    ("case", "estimator"),
    [
        (iris(), "tree.DecisionTreeClassifier"),
        (diabetes(), "linear_model.Ridge"),
        (iris(), "semi_supervised.LabelPropagation"),
        (diabetes(), "kernel_ridge.KernelRidge"),
    ],
)
def test_a_published_version_answers_as_it_is_served(
    repository: Repository, case: Case, estimator: str
) -> None:
    found = published(repository, case, estimator)
    opened = open_version(repository, "iris", "v1")
    assert opened.metadata.served == found.served
    expected = found.predict(case.parts.held_out_rows)
    answered = opened.predict(case.parts.held_out_rows)
    assert np.array_equal(answered.values, expected.values)
    assert np.array_equal(answered.probability, expected.probability)


def test_a_version_that_is_not_published_cannot_be_opened(repository: Repository) -> None:
    with pytest.raises(RepositoryError, match="v1"):
        open_version(repository, "iris", "v1")


def test_a_file_that_was_changed_is_not_opened(repository: Repository, tmp_path: Path) -> None:
    published(repository, iris(), "tree.DecisionTreeClassifier")
    path = tmp_path / "repository" / "iris" / "v1" / MODEL_ONNX
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=MODEL_ONNX):
        open_version(repository, "iris", "v1")


def test_a_file_that_is_no_model_says_so(repository: Repository) -> None:
    published(repository, iris(), "tree.DecisionTreeClassifier", {MODEL_ONNX: b"none"})
    with pytest.raises(ArtifactError, match=r"model\.onnx of iris v1 is no model that can be"):
        open_version(repository, "iris", "v1")


def test_metadata_that_is_none_names_the_field(repository: Repository) -> None:
    published(repository, iris(), "tree.DecisionTreeClassifier", seed="seven")
    with pytest.raises(ArtifactError, match=r"of iris v1 is not a version's metadata: seed: "):
        open_version(repository, "iris", "v1")


def test_a_fitted_estimator_of_another_release_is_not_compared_with(repository: Repository) -> None:
    libraries = {"scikit-learn": "0.1.2"}
    published(repository, iris(), "semi_supervised.LabelPropagation", libraries=libraries)
    with pytest.raises(TrainingError, match=r"trained with scikit-learn 0\.1\.2, .* install 0\.1 "):
        open_version(repository, "iris", "v1")


def test_a_graph_does_not_depend_on_the_release(repository: Repository) -> None:
    libraries = {"scikit-learn": "0.1.2"}
    published(repository, iris(), "tree.DecisionTreeClassifier", libraries=libraries)
    assert open_version(repository, "iris", "v1").metadata.version == "v1"


def test_other_bounds_can_be_compared(repository: Repository) -> None:
    case = iris()
    published(repository, case, "tree.DecisionTreeClassifier")
    wider = tuple(each.model_copy(update={"maximum": 99.0}) for each in case.schema.features)
    open_version(repository, "iris", "v1").check_comparable(
        case.schema.model_copy(update={"features": wider})
    )


def changed(schema: Schema, *, feature: Feature | None = None, **changes: Any) -> Schema:
    if feature is not None:
        changes["features"] = (feature, *schema.features[1:])
    return schema.model_copy(update=changes)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            changed(iris().schema, feature=Feature(name="width")),
            r"has the columns column_0, .*, not width, column_1",
        ),
        (
            changed(
                iris().schema,
                feature=Feature(name="column_0", type="category", categories=("s", "m")),
            ),
            r"takes column_0 as numbers, not as one of s, m",
        ),
        (
            changed(iris().schema, classes=("setosa", "virginica")),
            r"answers with one of setosa, versicolor, virginica, not with one of setosa, virginica",
        ),
        (changed(iris().schema, classes=None), r"answers with one of .*, not with a number"),
    ],
)
def test_another_schema_leaves_nothing_to_compare(
    repository: Repository, schema: Schema, message: str
) -> None:
    published(repository, iris(), "tree.DecisionTreeClassifier")
    with pytest.raises(TrainingError, match=rf"iris v1, which serves now, {message}.*leave out"):
        open_version(repository, "iris", "v1").check_comparable(schema)
