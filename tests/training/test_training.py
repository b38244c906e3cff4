import os
from pathlib import Path

import numpy as np
import pytest

from abserve.artifacts import read_metadata, seal, verify
from abserve.errors import DefinitionError, RepositoryError, TrainingError, VersionExistsError
from abserve.repository import Repository
from training import Definition, Order, read_definition, train

ROOT = Path(__file__).parents[2]


def silent(_step: str, _what: str) -> None:
    pass


def with_v1(definition: Definition, estimator: str, **parameters: object) -> Definition:
    """The iris definition with another estimator for v1."""
    content = definition.model_dump()
    content["versions"]["v1"] = {"estimator": estimator, "scale": False, "parameters": parameters}
    return Definition.model_validate(content)


def test_a_training_publishes_a_whole_version(
    definition: Definition, repository: Repository, settings_folder: Path, tmp_path: Path
) -> None:
    published = train(Order(definition, "v1", "v1"), repository, settings_folder, silent)
    assert published.url == f"file://{tmp_path}/repository/iris/v1"
    assert repository.versions("iris") == ("v1",)
    folder = tmp_path / "repository" / "iris" / "v1"
    verify(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.html",
        "checksums.json",
        "metadata.json",
        "model-settings.json",
        "model.onnx",
        "model.skops",
        "settings.json",
    ]
    assert read_metadata(folder) == published.metadata


def test_the_metadata_say_how_the_version_came_about(
    definition: Definition, repository: Repository, settings_folder: Path
) -> None:
    metadata = train(Order(definition, "v2", "v2"), repository, settings_folder, silent).metadata
    assert (metadata.model, metadata.version) == ("iris", "v2")
    assert metadata.estimator == "sklearn.linear_model.LogisticRegression"
    assert metadata.parameters == {"scale": True, "C": 10.0, "random_state": 7}
    assert (metadata.seed, metadata.n_fitted, metadata.n_held_out) == (7, 105, 45)
    assert metadata.evaluation["accuracy"].value == 44 / 45
    assert metadata.parity.n_different_labels == 0
    assert metadata.schema_.classes == ("setosa", "versicolor", "virginica")
    assert metadata.schema_.features == definition.features
    assert metadata.trained_at.tzinfo is not None


def test_the_metadata_describe_the_rows_it_was_fitted_on(
    definition: Definition, repository: Repository, settings_folder: Path
) -> None:
    metadata = train(Order(definition, "v2", "v2"), repository, settings_folder, silent).metadata
    assert tuple(metadata.reference) == metadata.schema_.feature_names
    petal_width = metadata.reference["petal_width_cm"]
    assert len(petal_width.shares) == 5
    assert petal_width.edges[1:] == (float(np.float32(1.1)), 1.5, 2)


def test_each_step_is_reported_before_it_is_taken(
    definition: Definition, repository: Repository, settings_folder: Path
) -> None:
    reported: list[tuple[str, str]] = []
    train(
        Order(definition, "v1", "v1"),
        repository,
        settings_folder,
        lambda step, what: reported.append((step, what)),
    )
    assert list(dict.fromkeys(step for step, _ in reported)) == [
        "load",
        "validate",
        "split",
        "build",
        "fit",
        "evaluate",
        "export",
        "judge",
        "explain",
        "publish",
    ]
    assert ("fit", "fitting DecisionTreeClassifier on 105 rows") in reported
    assert reported[-1] == ("publish", f"publishing to {repository.url}")


MODELS = [path.stem for path in sorted((ROOT / "models").glob("*.yaml"))]


@pytest.mark.parametrize("model", MODELS)
def test_two_trainings_publish_the_same_model_with_the_same_metrics(
    model: str, settings_folder: Path, tmp_path: Path
) -> None:
    definition = read_definition(ROOT / "models", model)
    for version in definition.versions:
        one, two = (
            train(
                Order(definition, version, version),
                Repository(f"file://{tmp_path}/{name}"),
                settings_folder,
                silent,
            )
            for name in ("one", "two")
        )
        assert one.files["model.onnx"] == two.files["model.onnx"]
        assert one.metadata.evaluation == two.metadata.evaluation
        assert one.metadata.class_recall == two.metadata.class_recall
        assert one.metadata.search == two.metadata.search
        assert one.metadata.data == two.metadata.data


def test_a_published_version_is_refused_before_anything_is_fitted(
    definition: Definition, repository: Repository, settings_folder: Path
) -> None:
    train(Order(definition, "v1", "v1"), repository, settings_folder, silent)
    steps: list[str] = []

    def note(step: str, _what: str) -> None:
        steps.append(step)

    with pytest.raises(
        VersionExistsError, match=r"iris v1 is already in file://.*; describe the change as a new"
    ):
        train(Order(definition, "v1", "v1"), repository, settings_folder, note)
    assert steps == []


def test_a_version_published_meanwhile_is_not_replaced(
    definition: Definition, repository: Repository, settings_folder: Path, tmp_path: Path
) -> None:
    def publish_first(step: str, _what: str) -> None:
        if step == "publish":
            repository.publish("iris", "v1", seal({"model.onnx": b"theirs"}))

    with pytest.raises(VersionExistsError, match="publish the next one, v2"):
        train(Order(definition, "v1", "v1"), repository, settings_folder, publish_first)
    folder = tmp_path / "repository" / "iris" / "v1"
    assert (folder / "model.onnx").read_bytes() == b"theirs"


def test_a_full_disk_leaves_no_version_and_no_debris(
    definition: Definition,
    repository: Repository,
    settings_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(RepositoryError, match=r"cannot be written: .*No space left on device"):
        train(Order(definition, "v1", "v1"), repository, settings_folder, silent)
    assert repository.versions("iris") == ()
    assert list((tmp_path / "repository").rglob("*")) == []


def test_an_interruption_leaves_no_version_and_no_debris(
    definition: Definition,
    repository: Repository,
    settings_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(Order(definition, "v1", "v1"), repository, settings_folder, silent)
    monkeypatch.undo()
    assert list((tmp_path / "repository").rglob("*")) == []
    train(Order(definition, "v1", "v1"), repository, settings_folder, silent)
    assert repository.versions("iris") == ("v1",)


FAILURES = {
    "a refused parameter": (
        ("sklearn.tree.DecisionTreeClassifier", {"max_depth": -1}),
        r"iris v1 failed while fitting DecisionTreeClassifier on 105 rows: "
        r"DecisionTreeClassifier cannot be fitted .The 'max_depth' parameter",
    ),
    "no convergence": (
        ("sklearn.linear_model.LogisticRegression", {"max_iter": 1}),
        r"iris v1 failed while fitting LogisticRegression on 105 rows: .*did not converge",
    ),
}


@pytest.mark.parametrize(("estimator", "expected"), FAILURES.values(), ids=FAILURES)
def test_a_failing_step_is_named_and_publishes_nothing(
    definition: Definition,
    repository: Repository,
    settings_folder: Path,
    estimator: tuple[str, dict[str, object]],
    expected: str,
) -> None:
    path, parameters = estimator
    with pytest.raises(TrainingError, match=expected):
        train(
            Order(with_v1(definition, path, **parameters), "v1", "v1"),
            repository,
            settings_folder,
            silent,
        )
    assert repository.versions("iris") == ()


def test_an_unknown_version_is_refused_before_anything_else(
    definition: Definition, repository: Repository, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError, match="describes v1, v2, not 'v7'"):
        train(Order(definition, "v7", "v7"), repository, tmp_path, silent)


def test_missing_model_settings_are_noticed_before_anything_is_fitted(
    definition: Definition, repository: Repository, tmp_path: Path
) -> None:
    steps: list[str] = []

    def note(step: str, _what: str) -> None:
        steps.append(step)

    with pytest.raises(DefinitionError, match=r"iris\.json cannot be read"):
        train(Order(definition, "v1", "v1"), repository, tmp_path, note)
    assert steps == []


def test_another_data_set_trains_just_as_well(
    repository: Repository, settings_folder: Path, tmp_path: Path
) -> None:
    """Two classes and thirty features: nothing in training is made for iris alone."""
    names = [
        "radius",
        "texture",
        "perimeter",
        "area",
        "smoothness",
        "compactness",
        "concavity",
        "concave_points",
        "symmetry",
        "fractal_dimension",
    ]
    definition = Definition.model_validate(
        {
            "model": "cancer",
            "description": "Tells malignant from benign.",
            "data": {"source": "sklearn", "name": "breast_cancer"},
            "features": [
                *({"name": f"mean_{name}"} for name in names),
                *({"name": f"{name}_error"} for name in names),
                *({"name": f"worst_{name}"} for name in names),
            ],
            "target": {"name": "diagnosis"},
            "split": {"held_out": 0.25, "seed": 1},
            "versions": {
                "v1": {"estimator": "sklearn.linear_model.LogisticRegression", "scale": True}
            },
        }
    )
    (tmp_path / "cancer.json").write_text(
        '{"name": "cancer", "implementation": "runtimes.tabular.TabularClassifier"}'
    )
    (tmp_path / "settings.json").write_bytes((settings_folder / "settings.json").read_bytes())
    metadata = train(Order(definition, "v1", "v1"), repository, tmp_path, silent).metadata
    assert metadata.schema_.classes == ("malignant", "benign")
    assert metadata.evaluation["accuracy"].value > 0.95
