import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from abserve.artifacts import MODEL_ONNX, MODEL_SKOPS
from abserve.errors import TrainingError
from abserve.schema import Feature, Schema
from abserve.skops_file import load_estimator
from tests.training.fitted import Case, case_of, diabetes, iris, mixed, pipeline_of
from training.dataset import Parts
from training.definition import Bar
from training.edges import edge_rows
from training.export import Exported, export
from training.onnx_graph import to_onnx
from training.parity import compare
from training.served import open_onnx

BAR = Bar(at_most=1e-5)
CLASSIFIERS = [
    ("linear_model.LogisticRegression", {"max_iter": 1000}),
    ("tree.DecisionTreeClassifier", {}),
    ("ensemble.RandomForestClassifier", {"n_estimators": 10}),
    ("ensemble.HistGradientBoostingClassifier", {"max_iter": 10}),
    ("neural_network.MLPClassifier", {"hidden_layer_sizes": [4], "max_iter": 3000}),
    ("neighbors.KNeighborsClassifier", {}),
    ("naive_bayes.GaussianNB", {}),
]
REGRESSORS = [
    ("linear_model.Ridge", {}),
    ("ensemble.RandomForestRegressor", {"n_estimators": 10}),
    ("ensemble.GradientBoostingRegressor", {"n_estimators": 10}),
    ("ensemble.HistGradientBoostingRegressor", {"max_iter": 10}),
]


def exported(case: Case, estimator: str, *, scale: bool = False, **parameters: object) -> Exported:
    pipeline = pipeline_of(case, estimator, scale=scale, **parameters)
    return export(pipeline, case.schema, case.parts, 7, BAR)


def assert_repeats(found: Exported) -> None:
    assert found.served == "onnx"
    assert found.notes == ()
    assert found.parity.n_different_labels == 0
    assert found.parity.largest_difference <= 1e-5


@pytest.mark.parametrize(("estimator", "parameters"), CLASSIFIERS)
def test_classifiers_answer_as_they_were_fitted(
    estimator: str, parameters: dict[str, object]
) -> None:
    trees = estimator.startswith(("tree", "ensemble"))
    assert_repeats(exported(iris(), estimator, scale=not trees, **parameters))
    assert_repeats(exported(mixed(), estimator, scale=not trees, **parameters))


@pytest.mark.parametrize(("estimator", "parameters"), REGRESSORS)
def test_regressors_answer_as_they_were_fitted(
    estimator: str, parameters: dict[str, object]
) -> None:
    assert_repeats(exported(diabetes(), estimator, **parameters))
    assert_repeats(exported(mixed(regression=True), estimator, **parameters))


def test_support_vector_machines_answer_as_they_were_fitted() -> None:
    assert_repeats(exported(iris(), "calibration.CalibratedClassifierCV", scale=True))
    assert_repeats(exported(diabetes(), "svm.SVR", scale=True))


@pytest.mark.parametrize(
    ("regression", "estimator"),
    [
        (False, "ensemble.HistGradientBoostingClassifier"),
        (True, "ensemble.HistGradientBoostingRegressor"),
    ],
)
def test_values_may_be_missing(regression: bool, estimator: str) -> None:
    assert_repeats(exported(mixed(regression=regression, missing=True), estimator, max_iter=10))


def test_a_category_may_be_missing() -> None:
    chance = np.random.default_rng(1)
    rows = np.column_stack([chance.normal(50, 10, 300), chance.integers(0, 3, 300)])
    rows[::10, 1] = np.nan
    features = (
        Feature(name="weight", minimum=0, maximum=120),
        Feature(
            name="colour", type="category", categories=("red", "green", "blue"), missing="allow"
        ),
    )
    heavy = (rows[:, 0] + 10 * (rows[:, 1] == 1) > 52).astype(np.int64)
    case = case_of(features, ("light", "heavy"), rows, heavy)
    assert_repeats(exported(case, "linear_model.LogisticRegression", scale=True))


def test_a_scaled_tree_decides_as_it_was_fitted() -> None:
    """A value at a threshold, as whole numbers often are, needs the last digit of float64."""
    assert_repeats(exported(diabetes(), "tree.DecisionTreeRegressor", scale=True))
    assert_repeats(exported(mixed(), "tree.DecisionTreeClassifier", scale=True))


def test_what_onnx_cannot_express_is_served_from_the_skops_file_and_says_so() -> None:
    found = exported(iris(), "semi_supervised.LabelPropagation")
    assert found.served == "skops"
    assert set(found.files) == {MODEL_SKOPS}
    (note,) = found.notes
    assert note.startswith(
        "ONNX cannot express LabelPropagation, so the scikit-learn runtime serves model.skops, "
        "which takes longer to answer. The reason was MissingShapeCalculator: Unable to find"
    )
    assert found.parity.largest_difference < 1e-6
    assert found.size_bytes == len(found.files[MODEL_SKOPS])


def test_a_regressor_that_onnx_cannot_express_is_served_from_the_skops_file() -> None:
    found = exported(diabetes(), "kernel_ridge.KernelRidge", scale=True)
    assert found.served == "skops"
    assert found.predict(diabetes().parts.held_out_rows).probability is None


def test_a_graph_that_answers_in_the_wrong_shape_is_not_served() -> None:
    found = exported(iris(), "discriminant_analysis.QuadraticDiscriminantAnalysis")
    assert found.served == "skops"
    assert "answers 1 rows with shape (1, 1), expected (1,)" in found.notes[0]


def test_what_no_runtime_would_load_is_refused() -> None:
    with pytest.raises(
        TrainingError,
        match=r"nothing can serve this: ONNX cannot express it \(NotImplementedError: .*\), and "
        r"model\.skops is made of sklearn\.metrics\._dist_metrics\.CanberraDistance64, which may",
    ):
        exported(iris(), "neighbors.KNeighborsClassifier", metric="canberra", algorithm="ball_tree")


def test_splits_by_category_that_the_converter_takes_for_thresholds_are_noticed() -> None:
    case = mixed()
    categories = Schema(features=case.schema.features[3:], classes=case.schema.classes)
    rows = Parts(
        case.parts.fitted_rows[:, 3:],
        case.parts.fitted_targets,
        case.parts.held_out_rows[:, 3:],
        case.parts.held_out_targets,
    )
    by_category = HistGradientBoostingClassifier(categorical_features=[0, 1], max_iter=5)
    pipeline = Pipeline([("estimator", by_category)])
    pipeline.fit(rows.fitted_rows, rows.fitted_targets)
    assert export(pipeline, categories, rows, 7, BAR).parity.n_different_labels > 0


def test_rows_that_the_schema_allows_and_the_model_cannot_answer_are_refused() -> None:
    with pytest.raises(
        TrainingError, match=r"cannot answer rows that the schema allows: No neighbors found"
    ):
        exported(iris(), "neighbors.RadiusNeighborsClassifier")


def test_the_graph_has_the_tensors_that_runtimes_build_on() -> None:
    for case, estimator, expected in (
        (
            iris(),
            "linear_model.LogisticRegression",
            {"class_index": ("tensor(int64)", []), "probability": ("tensor(float)", [3])},
        ),
        (diabetes(), "linear_model.Ridge", {"prediction": ("tensor(float)", [1])}),
    ):
        content = exported(case, estimator, scale=True).files[MODEL_ONNX]
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        assert (taken.name, taken.type) == ("input", "tensor(float)")
        assert taken.shape[1] == len(case.schema.features)
        outputs = {each.name: (each.type, each.shape[1:]) for each in session.get_outputs()}
        assert outputs == expected


def test_each_operator_set_is_named_once() -> None:
    model = onnx.load_from_string(
        exported(iris(), "linear_model.LogisticRegression", scale=True).files[MODEL_ONNX]
    )
    domains = [opset.domain for opset in model.opset_import]
    assert domains == sorted(set(domains))


_PRINT_CHECKSUMS = """
from tests.training.test_export import checksums
print(checksums())
"""


def checksums() -> list[int]:
    """Train every estimator, and return a checksum of each graph."""
    return [
        zlib.crc32(to_onnx(pipeline_of(case, estimator, **parameters), case.schema))
        for case, estimators in ((mixed(), CLASSIFIERS), (mixed(regression=True), REGRESSORS))
        for estimator, parameters in estimators
    ]


def test_two_trainings_in_two_processes_give_the_same_bytes() -> None:
    """Two, because names of objects and the order of sets differ between processes."""
    elsewhere = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PRINT_CHECKSUMS],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert elsewhere == f"{checksums()}\n"


def test_the_export_of_another_model_is_seen_in_the_numbers() -> None:
    case = iris()
    tree = pipeline_of(case, "tree.DecisionTreeClassifier", max_depth=2)
    linear = pipeline_of(case, "linear_model.LogisticRegression", scale=True)
    rows = case.parts.held_out_rows
    edges = edge_rows(case.schema, case.parts.fitted_rows, 7)
    both = np.concatenate([rows, edges])
    parity = compare(
        open_onnx(to_onnx(tree, case.schema), case.schema), linear, case.parts, edges, 1e-5
    )
    assert parity.n_rows == len(rows)
    assert parity.n_edge_rows == len(edges)
    assert parity.n_different_labels == np.count_nonzero(tree.predict(both) != linear.predict(both))
    largest = np.abs(tree.predict_proba(both) - linear.predict_proba(both)).max()
    assert parity.largest_difference == pytest.approx(largest, abs=1e-6)


def test_labels_that_are_as_probable_as_each_other_may_change_places() -> None:
    """A bar says what is as good as equal, so that rounding decides between two halves."""
    rows = np.array([[0.0], [1.0]])
    pipeline = Pipeline([("estimator", LogisticRegression())]).fit(rows, [0, 1])
    nearly = Pipeline([("estimator", LogisticRegression())]).fit(rows, [0, 1])
    nearly.named_steps["estimator"].intercept_ += 4e-6
    schema = Schema(features=(Feature(name="a", minimum=0, maximum=1),), classes=("no", "yes"))
    tied = -pipeline.named_steps["estimator"].intercept_ / pipeline.named_steps["estimator"].coef_
    parts = Parts(rows, np.array([0, 1]), tied - 1e-6, np.array([0]))
    served = open_onnx(to_onnx(nearly, schema), schema)
    assert served(parts.held_out_rows).values != pipeline.predict(parts.held_out_rows)
    assert compare(served, pipeline, parts, rows, 1e-5).n_different_labels == 0
    assert compare(served, pipeline, parts, rows, 1e-9).n_different_labels == 1


def test_features_too_fine_for_float32_are_noticed() -> None:
    """Next to 1e8 float32 steps by 8, and these two classes differ by 1."""
    rows = 1e8 + np.tile([[0.0], [1.0]], (20, 1))
    targets = np.tile([0, 1], 20)
    pipeline = Pipeline([("scale", StandardScaler()), ("estimator", LogisticRegression())])
    schema = Schema(features=(Feature(name="a"),), classes=("even", "odd"))
    found = export(pipeline.fit(rows, targets), schema, Parts(rows, targets, rows, targets), 7, BAR)
    assert found.parity.n_different_labels == 20


def test_a_fitted_model_whose_answers_are_no_numbers_is_refused() -> None:
    case = diabetes()
    pipeline = pipeline_of(case, "linear_model.Ridge")
    pipeline.named_steps["estimator"].coef_[:] = np.nan
    with pytest.raises(TrainingError, match="that the schema allows: what it answers is no number"):
        export(pipeline, case.schema, case.parts, 7, BAR)


def test_a_served_model_whose_answers_are_no_numbers_differs_by_what_is_none() -> None:
    case = diabetes()
    fitted, served = (pipeline_of(case, "linear_model.Ridge") for _ in range(2))
    served.named_steps["estimator"].coef_[:] = np.nan
    answers = open_onnx(to_onnx(served, case.schema), case.schema)
    parity = compare(answers, fitted, case.parts, case.parts.held_out_rows, 1e-5)
    assert np.isnan(parity.largest_difference)


def test_many_rows_are_answered_in_blocks() -> None:
    case = iris()
    found = exported(case, "tree.DecisionTreeClassifier")
    rows = np.tile(case.parts.held_out_rows, (500, 1))
    assert np.array_equal(
        found.predict(rows).values, np.tile(found.predict(case.parts.held_out_rows).values, 500)
    )


def test_the_skops_file_is_there_for_audit_and_answers_alike() -> None:
    case = iris()
    found = exported(case, "ensemble.RandomForestClassifier", n_estimators=5)
    loaded = load_estimator(found.files[MODEL_SKOPS], MODEL_SKOPS)
    rows = case.parts.held_out_rows
    assert np.allclose(loaded.predict_proba(rows), found.predict(rows).probability, atol=1e-6)
