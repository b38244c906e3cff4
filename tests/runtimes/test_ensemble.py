import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlserver.errors import MLServerError
from mlserver.repository.load import load_model_settings
from mlserver.types import InferenceRequest
from prometheus_client import generate_latest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from abserve.artifacts import METADATA, MODEL_SETTINGS, MODEL_SKOPS
from abserve.errors import ArtifactError
from runtimes.ensemble import Ensemble
from runtimes.ensemble.combining import mean_prediction, mean_probability, vote
from runtimes.inference import Classified, Regressed
from tests.runtimes.contract import RuntimeContract
from tests.runtimes.ensemble_versions import (
    ensemble_files,
    named,
    predicting,
    saying,
    with_schema,
    write_ensemble,
)
from tests.runtimes.skops_versions import fit, iris, skops_files
from tests.runtimes.versions import (
    CLASSES,
    COLUMNS,
    SETOSA,
    VIRGINICA,
    change_json,
    version_files,
)


def make_runtime(folder: Path) -> Ensemble:
    return Ensemble(load_model_settings(str(folder / MODEL_SETTINGS)))


def load(folder: Path, files: dict[str, bytes]) -> Ensemble:
    runtime = make_runtime(write_ensemble(folder / "v1", files))
    runtime.ready = asyncio.run(runtime.load())
    return runtime


def answer(runtime: Ensemble, rows: Any) -> dict[str, Any]:
    tensor = {"name": "features", "datatype": "FP32", "shape": np.shape(rows)}
    tensor["data"] = np.ravel(rows).tolist()
    request = InferenceRequest.model_validate({"inputs": [tensor]})
    response = asyncio.run(runtime.predict(request))
    return {output.name: np.reshape(output.data.root, output.shape) for output in response.outputs}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    """An ensemble of a model in ONNX and a forest of scikit-learn."""
    forest = fit(RandomForestClassifier(10, random_state=0))
    members = {
        "forest": named(skops_files(forest), "forest"),
        "regression": named(version_files(), "regression"),
    }
    return load(tmp_path_factory.mktemp("ensemble"), ensemble_files(members))


class TestContract(RuntimeContract):
    pass


def classified(indices: list[int], probability: list[list[float]]) -> Classified:
    return Classified(np.array(indices), np.array(probability, np.float32))


# How answers are made one, by hand


def test_the_mean_of_probabilities_decides() -> None:
    """(0.6 + 0.1) / 2 = 0.35 and (0.4 + 0.9) / 2 = 0.65."""
    found = mean_probability([classified([0], [[0.6, 0.4]]), classified([1], [[0.1, 0.9]])])
    assert found.probability[0] == pytest.approx([0.35, 0.65])
    assert found.indices.tolist() == [1]
    assert (found.indices.dtype, found.probability.dtype) == (np.int64, np.float32)


def test_of_equal_means_the_first_class_is_taken() -> None:
    found = mean_probability([classified([0], [[0.6, 0.4]]), classified([1], [[0.4, 0.6]])])
    assert found.probability[0] == pytest.approx([0.5, 0.5])
    assert found.indices.tolist() == [0]


def test_most_votes_decide_whatever_is_more_probable() -> None:
    """Two of three say b, if narrowly, though a is more probable on the whole."""
    found = vote(
        [
            classified([0], [[0.95, 0.05]]),
            classified([1], [[0.45, 0.55]]),
            classified([1], [[0.45, 0.55]]),
        ]
    )
    assert found.indices.tolist() == [1]
    assert found.probability[0] == pytest.approx([1 / 3, 2 / 3])
    assert (found.indices.dtype, found.probability.dtype) == (np.int64, np.float32)


def test_of_as_many_votes_the_larger_mean_probability_decides() -> None:
    """One vote each: the means are 0.45 and 0.55 for them, and c is not in question."""
    found = vote([classified([0], [[0.5, 0.3, 0.2]]), classified([1], [[0.2, 0.6, 0.2]])])
    assert found.indices.tolist() == [1]
    assert found.probability[0] == pytest.approx([0.5, 0.5, 0])


def test_a_class_without_votes_is_not_taken_however_probable() -> None:
    """c has the largest mean, 0.4, and no vote: thresholds of their own made the members say so."""
    found = vote([classified([0], [[0.35, 0.25, 0.4]]), classified([1], [[0.25, 0.35, 0.4]])])
    assert found.indices.tolist() == [0]
    assert found.probability[0] == pytest.approx([0.5, 0.5, 0])


def test_of_as_many_votes_and_equal_means_the_first_class_is_taken() -> None:
    found = vote([classified([1], [[0.4, 0.6]]), classified([0], [[0.6, 0.4]])])
    assert found.indices.tolist() == [0]


def test_a_vote_counts_what_members_say_not_what_they_find_probable() -> None:
    found = vote([classified([1], [[0.9, 0.1]])] * 2)
    assert found.indices.tolist() == [1]
    assert found.probability[0] == pytest.approx([0, 1])


def test_every_row_has_a_vote_of_its_own() -> None:
    found = vote(
        [
            classified([0, 1, 2], np.eye(3).tolist()),
            classified([0, 2, 2], np.eye(3)[[0, 2, 2]].tolist()),
            classified([1, 2, 2], np.eye(3)[[1, 2, 2]].tolist()),
        ]
    )
    assert found.indices.tolist() == [0, 2, 2]
    assert found.probability == pytest.approx(
        np.array([[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3], [0, 0, 1]])
    )


def test_the_mean_of_predictions_is_answered() -> None:
    first = Regressed(np.array([1.0, -2.0], np.float32))
    second = Regressed(np.array([2.0, 4.0], np.float32))
    found = mean_prediction([first, second])
    assert found.prediction.tolist() == [1.5, 1.0]
    assert found.prediction.dtype == np.float32


# Whole ensembles


def test_members_of_different_runtimes_answer_together(runtime: Ensemble) -> None:
    features, classes = iris()
    pipeline = fit(make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)))
    forest = fit(RandomForestClassifier(10, random_state=0))
    expected = (pipeline.predict_proba(features) + forest.predict_proba(features)) / 2
    found = answer(runtime, features)
    assert found["probability"] == pytest.approx(expected, abs=1e-5)
    assert np.mean(found["class_index"].ravel() == classes) > 0.95


def test_answers_with_the_mean_of_its_members(tmp_path: Path) -> None:
    """Versicolor: (0.3 + 0.5 + 0.4) / 3 = 0.4, though only one member finds it most probable."""
    members = {"x": saying(6, 3, 1), "y": saying(2, 5, 3), "z": saying(1, 4, 5)}
    found = answer(load(tmp_path, ensemble_files(members)), [SETOSA, VIRGINICA])
    assert found["probability"] == pytest.approx(np.array([[0.3, 0.4, 0.3]] * 2))
    assert found["label"].ravel().tolist() == [b"versicolor"] * 2


def test_answers_with_the_votes_of_its_members(tmp_path: Path) -> None:
    """One vote each: versicolor has the larger mean."""
    members = {"x": saying(6, 3, 1), "y": saying(2, 5, 3), "z": saying(1, 4, 5)}
    found = answer(load(tmp_path, ensemble_files(members, "vote")), [SETOSA])
    assert found["probability"][0] == pytest.approx([1 / 3] * 3)
    assert found["label"].item() == b"versicolor"


def test_regressors_answer_with_their_mean(tmp_path: Path) -> None:
    members = {"x": predicting(1.0), "y": predicting(2.5)}
    found = answer(load(tmp_path, ensemble_files(members, classes=None)), [SETOSA, VIRGINICA])
    assert found["prediction"].tolist() == [[1.75], [1.75]]


def test_what_one_member_refuses_is_refused(runtime: Ensemble) -> None:
    with pytest.raises(MLServerError, match="too large for the model") as caught:
        answer(runtime, [[3e38, -3e38, 3e38, 3e38]])
    assert caught.value.status_code == 400


def test_an_ensemble_may_be_a_member(tmp_path: Path) -> None:
    inner = named(ensemble_files({"x": saying(6, 3, 1), "y": saying(2, 7, 1)}), "inner")
    found = answer(load(tmp_path, ensemble_files({"i": inner, "z": saying(1, 1, 8)})), [SETOSA])
    assert found["probability"][0] == pytest.approx([0.25, 0.3, 0.45])


def test_members_are_not_counted_as_versions_of_their_own(runtime: Ensemble) -> None:
    answer(runtime, [SETOSA])
    text = generate_latest().decode()
    assert 'model="iris"' in text
    assert 'model="forest"' not in text


def test_reading_the_settings_again_gives_the_same_class(tmp_path: Path) -> None:
    folder = write_ensemble(tmp_path / "v1", ensemble_files(TWO))
    settings = make_runtime(folder).settings
    assert settings.implementation is settings.implementation is Ensemble


# What is refused when it is loaded


TWO = {"x": saying(6, 3, 1), "y": saying(2, 5, 3)}


@pytest.mark.parametrize(
    ("members", "found"),
    [({}, 0), ({"x": saying(6, 3, 1)}, 1), ({f"m{n}": saying(1, 1, 1) for n in range(33)}, 33)],
)
def test_an_ensemble_has_2_to_32_members(
    tmp_path: Path, members: dict[str, Any], found: int
) -> None:
    with pytest.raises(ArtifactError, match=f"members has {found} members, expected 2 to 32"):
        load(tmp_path, ensemble_files(members))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "parameters.extra {}; expected 'method' alone, 'mean' or 'vote' for a classifier"),
        ({"extra": {"method": "median"}}, "extra {'method': 'median'}; expected"),
        ({"extra": {"method": ["mean"]}}, "extra {'method': .'mean'.}; expected"),
        ({"extra": {"method": "mean", "weights": [1, 2]}}, "expected 'method' alone"),
    ],
)
def test_another_method_is_refused(
    tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    given = {"uri": ".", "version": "v1", **parameters}
    files = change_json(ensemble_files(TWO), MODEL_SETTINGS, parameters=given)
    with pytest.raises(ArtifactError, match=message):
        load(tmp_path, files)


def test_regressors_have_no_vote(tmp_path: Path) -> None:
    members = {"x": predicting(1.0), "y": predicting(2.5)}
    with pytest.raises(ArtifactError, match="expected 'method' alone, 'mean' for a regressor"):
        load(tmp_path, ensemble_files(members, "vote", classes=None))


def test_an_ensemble_of_pictures_is_refused(tmp_path: Path) -> None:
    picture = {"width": 2, "height": 2, "channels": "grey"}
    with pytest.raises(ArtifactError, match="an ensemble reads tables only"):
        load(tmp_path, ensemble_files(TWO, picture=picture))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            {"features": [{"name": name} for name in COLUMNS[::-1]]},
            r"member 'y' \(says \(2, 5, 3\) v1\) has the features petal_width, petal_length, "
            r".*, the ensemble sepal_length, sepal_width",
        ),
        (
            {"classes": CLASSES[::-1]},
            "has the classes virginica, versicolor, setosa, the ensemble the classes setosa",
        ),
        ({"classes": None}, "has no classes, the ensemble the classes setosa"),
        (
            {"picture": {"width": 2, "height": 2, "channels": "grey"}},
            "takes pictures, which an ensemble does not read",
        ),
        (
            {
                "features": [
                    *({"name": name} for name in COLUMNS[:3]),
                    {"name": COLUMNS[3], "minimum": 0, "maximum": 4, "outside": "refuse"},
                ]
            },
            r"refuses a petal_width outside \[0.0, 4.0\], which the ensemble does not",
        ),
    ],
)
def test_a_member_that_differs_is_refused(
    tmp_path: Path, schema: dict[str, Any], message: str
) -> None:
    members = {"x": saying(6, 3, 1), "y": with_schema(saying(2, 5, 3), **schema)}
    with pytest.raises(ArtifactError, match=message):
        load(tmp_path, ensemble_files(members))


def test_a_member_that_takes_no_missing_value_is_refused(tmp_path: Path) -> None:
    features = [{"name": name, "missing": "allow"} for name in COLUMNS]
    message = "member 'x' .* refuses a missing sepal_length, which the ensemble allows"
    with pytest.raises(ArtifactError, match=message):
        load(tmp_path, ensemble_files(TWO, features=features))


def test_bounds_that_only_count_may_differ(tmp_path: Path) -> None:
    features = [{"name": name, "minimum": -1, "maximum": 99} for name in COLUMNS]
    members = {"x": saying(6, 3, 1), "y": with_schema(saying(2, 5, 3), features=features)}
    assert answer(load(tmp_path, ensemble_files(members)), [SETOSA])["class_index"].item() == 0


@pytest.mark.parametrize(
    ("implementation", "message"),
    [
        (
            "mlserver_sklearn.SKLearnModel",
            "names the runtime mlserver_sklearn.SKLearnModel, which ",
        ),
        ("os.getcwd", "names the runtime os.getcwd, which is none of abserve's"),
        ("runtimes.tabular.Nope", "names the runtime runtimes.tabular.Nope, which cannot be"),
        ("nope.Nope", "names the runtime nope.Nope, which cannot be imported"),
    ],
)
def test_a_member_of_another_runtime_is_refused(
    tmp_path: Path, implementation: str, message: str
) -> None:
    other = change_json(saying(2, 5, 3), MODEL_SETTINGS, implementation=implementation)
    with pytest.raises(ArtifactError, match=message):
        load(tmp_path, ensemble_files({"x": saying(6, 3, 1), "y": other}))


def test_a_module_that_a_member_brings_is_not_run(tmp_path: Path) -> None:
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()"
    other = change_json(saying(2, 5, 3), MODEL_SETTINGS, implementation="brought.Runtime")
    members = {"x": saying(6, 3, 1), "y": {**other, "brought.py": code.encode()}}
    with pytest.raises(ArtifactError, match=r"brought\.Runtime, which cannot be imported"):
        load(tmp_path, ensemble_files(members))
    assert not (tmp_path / "ran").exists()


def test_a_member_that_its_runtime_cannot_open_is_refused(tmp_path: Path) -> None:
    members = {"x": saying(6, 3, 1), "y": {**saying(2, 5, 3), MODEL_SKOPS: b"not a model"}}
    with pytest.raises(ArtifactError, match=r"members/y/model\.skops is no skops file"):
        load(tmp_path, ensemble_files(members))


def test_a_member_by_the_name_of_the_ensemble_is_refused(tmp_path: Path) -> None:
    members = {"x": saying(6, 3, 1), "y": version_files()}
    with pytest.raises(ArtifactError, match="member 'y' calls itself iris v1, as the ensemble"):
        load(tmp_path, ensemble_files(members))


def test_a_member_that_is_another_version_than_it_says_is_refused(tmp_path: Path) -> None:
    members = {"x": saying(6, 3, 1), "y": change_json(saying(2, 5, 3), METADATA, version="v2")}
    with pytest.raises(ArtifactError, match="but its model settings say"):
        load(tmp_path, ensemble_files(members))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (b"{", "cannot be read as JSON settings"),
        (b"[]", "cannot be read as JSON settings"),
        (b"{}", "is no settings file: implementation"),
    ],
)
def test_a_member_whose_settings_cannot_be_read_is_refused(
    tmp_path: Path, settings: bytes, message: str
) -> None:
    members = {"x": saying(6, 3, 1), "y": {**saying(2, 5, 3), MODEL_SETTINGS: settings}}
    with pytest.raises(ArtifactError, match=message):
        load(tmp_path, ensemble_files(members))


def test_a_member_without_settings_is_refused(tmp_path: Path) -> None:
    other = saying(2, 5, 3)
    del other[MODEL_SETTINGS]
    with pytest.raises(ArtifactError, match="a member is a whole version"):
        load(tmp_path, ensemble_files({"x": saying(6, 3, 1), "y": other}))


@pytest.mark.parametrize("name", ["members/x/model.skops", "members/x/checksums.json"])
def test_an_altered_file_of_a_member_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_ensemble(tmp_path / "v1", ensemble_files(TWO))
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match=rf"{name} has SHA-256"):
        asyncio.run(make_runtime(folder).load())


def test_a_member_added_later_is_refused(tmp_path: Path) -> None:
    folder = write_ensemble(tmp_path / "v1", ensemble_files(TWO))
    write_ensemble(folder / "members" / "z", saying(1, 1, 8))
    with pytest.raises(ArtifactError, match=r"which checksums\.json does not name"):
        asyncio.run(make_runtime(folder).load())
