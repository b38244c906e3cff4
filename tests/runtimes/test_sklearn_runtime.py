import asyncio
import io
import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from mlserver.errors import MLServerError
from mlserver.repository.load import load_model_settings
from mlserver.types import InferenceRequest, RequestInput
from mlserver_sklearn import SKLearnModel
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestCentroid,
    RadiusNeighborsClassifier,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.semi_supervised import LabelPropagation
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_info

from abserve.artifacts import MODEL_SETTINGS, MODEL_SKOPS
from abserve.errors import ArtifactError
from runtimes.scikit_learn import SklearnRuntime
from tests.runtimes.contract import RuntimeContract
from tests.runtimes.skops_versions import (
    diabetes,
    fit,
    iris,
    skops_files,
    tampered,
)
from tests.runtimes.versions import CLASSES, COLUMNS, SETOSA, change_json, write_version


def regression() -> LogisticRegression:
    return LogisticRegression(max_iter=500)


def forest() -> RandomForestClassifier:
    return RandomForestClassifier(10, random_state=0)


CLASSIFIERS = {
    "LogisticRegression": make_pipeline(StandardScaler(), regression()),
    "SGDClassifier": SGDClassifier(loss="modified_huber", random_state=0),
    "LinearDiscriminantAnalysis": LinearDiscriminantAnalysis(),
    "QuadraticDiscriminantAnalysis": QuadraticDiscriminantAnalysis(),
    "GaussianNB": GaussianNB(),
    "NearestCentroid": NearestCentroid(),
    "KNeighborsClassifier": KNeighborsClassifier(),
    "KNeighborsClassifier, ball tree": KNeighborsClassifier(
        algorithm="ball_tree", metric="manhattan", weights="distance", leaf_size=3
    ),
    "KNeighborsClassifier, one row per leaf": KNeighborsClassifier(
        algorithm="kd_tree", metric="chebyshev", leaf_size=1
    ),
    "LabelPropagation": LabelPropagation(),
    "GaussianProcessClassifier": GaussianProcessClassifier(1.0 * Matern() + WhiteKernel()),
    "MLPClassifier": MLPClassifier(max_iter=20, random_state=0),
    "CalibratedClassifierCV of SVC": CalibratedClassifierCV(SVC()),
    "CalibratedClassifierCV, isotonic": CalibratedClassifierCV(regression(), method="isotonic"),
    "CalibratedClassifierCV, temperature": CalibratedClassifierCV(
        regression(), method="temperature"
    ),
    "DecisionTreeClassifier": DecisionTreeClassifier(random_state=0),
    "DecisionTreeClassifier, pruned": DecisionTreeClassifier(
        ccp_alpha=0.02, max_leaf_nodes=5, random_state=0
    ),
    "RandomForestClassifier": forest(),
    "ExtraTreesClassifier": ExtraTreesClassifier(10, random_state=0),
    "GradientBoostingClassifier": GradientBoostingClassifier(n_estimators=5, random_state=0),
    "HistGradientBoostingClassifier": HistGradientBoostingClassifier(max_iter=5),
    "AdaBoostClassifier": AdaBoostClassifier(n_estimators=5, random_state=0),
    "BaggingClassifier": BaggingClassifier(KNeighborsClassifier(), max_features=2, random_state=0),
    "VotingClassifier": VotingClassifier(
        [("one", regression()), ("other", forest())], voting="soft"
    ),
    "StackingClassifier": StackingClassifier(
        [("one", regression()), ("other", forest())], final_estimator=forest(), passthrough=True
    ),
    "ColumnTransformer": make_pipeline(
        ColumnTransformer([("scale", StandardScaler(), [0, 1])], remainder=MinMaxScaler()), forest()
    ),
    "SelectKBest": make_pipeline(SimpleImputer(), SelectKBest(k=2), KBinsDiscretizer(), forest()),
    "FunctionTransformer": make_pipeline(FunctionTransformer(np.log1p), regression()),
}
REGRESSORS = {
    "Ridge": make_pipeline(PolynomialFeatures(), Ridge()),
    "TweedieRegressor": TweedieRegressor(power=1.5, link="log"),
    "PLSRegression": PLSRegression(),
    "KernelRidge": KernelRidge(kernel="rbf"),
    "SVR": make_pipeline(StandardScaler(), SVR()),
    "KNeighborsRegressor": KNeighborsRegressor(),
    "GaussianProcessRegressor": GaussianProcessRegressor(RBF() + WhiteKernel()),
    "DecisionTreeRegressor": DecisionTreeRegressor(random_state=0),
    "RandomForestRegressor": RandomForestRegressor(10, random_state=0),
    "GradientBoostingRegressor": GradientBoostingRegressor(
        n_estimators=5, loss="huber", random_state=0
    ),
    "HistGradientBoostingRegressor": HistGradientBoostingRegressor(
        max_iter=5, loss="quantile", quantile=0.3
    ),
    "VotingRegressor": VotingRegressor([("one", Ridge()), ("other", DecisionTreeRegressor())]),
    "StackingRegressor": StackingRegressor([("one", Ridge()), ("other", SVR())]),
    "TransformedTargetRegressor": TransformedTargetRegressor(
        Ridge(), func=np.log1p, inverse_func=np.expm1
    ),
    "SelectKBest": make_pipeline(SelectKBest(f_regression, k=1), Ridge()),
}


def make_runtime(folder: Path) -> SklearnRuntime:
    return SklearnRuntime(load_model_settings(str(folder / MODEL_SETTINGS)))


def load(folder: Path, files: dict[str, bytes]) -> SklearnRuntime:
    runtime = make_runtime(write_version(folder / "v1", files))
    runtime.ready = asyncio.run(runtime.load())
    return runtime


def ask(rows: Any) -> InferenceRequest:
    shape = list(np.shape(rows))
    data = [None if value != value else float(value) for value in np.ravel(rows)]  # noqa: PLR0124
    tensor = RequestInput(name="features", datatype="FP32", shape=shape, data=[0.0])
    tensor.data.root = data
    return InferenceRequest(inputs=[tensor])


def answer(runtime: SklearnRuntime, rows: Any) -> dict[str, Any]:
    response = asyncio.run(runtime.predict(ask(rows)))
    return {output.name: np.reshape(output.data.root, output.shape) for output in response.outputs}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> SklearnRuntime:
    return load(tmp_path_factory.mktemp("classifier"), skops_files(fit(forest())))


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> SklearnRuntime:
    files = skops_files(fit(Ridge()), classes=None)
    return load(tmp_path_factory.mktemp("regressor"), files)


class TestClassifierContract(RuntimeContract):
    @pytest.fixture
    def runtime(self, classifier: SklearnRuntime) -> SklearnRuntime:
        return classifier


class TestRegressorContract(RuntimeContract):
    @pytest.fixture
    def runtime(self, regressor: SklearnRuntime) -> SklearnRuntime:
        return regressor

    @pytest.fixture
    def request_(self) -> InferenceRequest:
        return ask(diabetes()[0][:1])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_answers_what_its_pipeline_does(tmp_path: Path, name: str) -> None:
    pipeline = fit(CLASSIFIERS[name])
    rows, _ = iris()
    found = answer(load(tmp_path, skops_files(pipeline)), rows)
    exact = rows.astype(np.float64)
    assert found["class_index"].ravel().tolist() == pipeline.predict(exact).tolist()
    assert found["label"].ravel().tolist() == [
        CLASSES[index].encode() for index in pipeline.predict(exact)
    ]
    assert found["probability"] == pytest.approx(pipeline.predict_proba(exact), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_answers_what_its_pipeline_does(tmp_path: Path, name: str) -> None:
    pipeline = fit(REGRESSORS[name])
    rows, _ = diabetes()
    found = answer(load(tmp_path, skops_files(pipeline, classes=None)), rows)
    expected = pipeline.predict(rows.astype(np.float64))
    assert found["prediction"].ravel() == pytest.approx(expected, rel=1e-6)


def test_the_label_is_what_the_estimator_predicts(tmp_path: Path) -> None:
    """Here every flower that is virginica with more than 0.1 is one, whatever is more probable."""
    features, classes = iris()
    estimator = FixedThresholdClassifier(regression(), threshold=0.1)
    estimator.fit(features[50:].astype(np.float64), classes[50:] - 1)
    runtime = load(tmp_path, skops_files(estimator, classes=["versicolor", "virginica"]))
    found = answer(runtime, features[50:])
    assert found["class_index"].ravel().tolist() == (found["probability"][:, 1] >= 0.1).tolist()
    assert (found["class_index"].ravel() != found["probability"].argmax(axis=1)).any()


def test_of_equally_probable_classes_the_first_is_the_label(tmp_path: Path) -> None:
    tree = DecisionTreeClassifier().fit([[0.0] * 4] * 3, [2, 1, 0])
    found = answer(load(tmp_path, skops_files(tree)), [SETOSA])
    assert found["probability"][0] == pytest.approx([1 / 3] * 3)
    assert found["class_index"].item() == 0


def test_rows_are_computed_in_float64(tmp_path: Path) -> None:
    """In float32 the two rows are the same distance from the mean, and so get one answer."""
    rows = np.array([[16777215.0, 0, 0, 0], [16777214.0, 0, 0, 0]], np.float32)
    scaled = make_pipeline(StandardScaler(), LinearRegression())
    scaled.fit([[16777214.25, 0, 0, 0], [16777214.75, 0, 0, 0]], [0.0, 1.0])
    features = [{"name": name} for name in COLUMNS]
    found = answer(load(tmp_path, skops_files(scaled, None, features)), rows)
    assert found["prediction"].ravel() == pytest.approx([1.5, -0.5])


def test_reading_the_settings_again_gives_the_same_class(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1", skops_files(fit(forest())))
    settings = make_runtime(folder).settings
    assert settings.implementation is settings.implementation is SklearnRuntime


# Pickles


def test_is_a_runtime_of_mlserver_that_reads_no_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a pickle was loaded")

    monkeypatch.setattr(joblib, "load", refuse)
    monkeypatch.setattr("mlserver_sklearn.sklearn.joblib.load", refuse)
    runtime = load(tmp_path, skops_files(fit(forest())))
    assert isinstance(runtime, SKLearnModel)
    assert answer(runtime, [SETOSA])["label"].item() == b"setosa"


@pytest.mark.parametrize("name", ["model.joblib", "model.pickle", "model.pkl"])
def test_a_pickle_is_refused_even_where_it_is_not_asked_for(tmp_path: Path, name: str) -> None:
    files = {**skops_files(fit(forest())), name: b"cos\nsystem\n(S'exit 1'\ntR."}
    with pytest.raises(ArtifactError, match=rf"served from {name}, expected model\.skops"):
        load(tmp_path, files)


@pytest.mark.parametrize("name", ["model.joblib", "weights.bin"])
def test_a_uri_that_names_anything_else_is_refused(tmp_path: Path, name: str) -> None:
    files = {**skops_files(fit(forest())), name: b"cos\nsystem\n(S'exit 1'\ntR."}
    files = change_json(files, MODEL_SETTINGS, parameters={"uri": f"./{name}", "version": "v1"})
    with pytest.raises(ArtifactError, match=rf"served from {name}, expected model\.skops"):
        load(tmp_path, files)


def test_a_pickle_by_the_right_name_is_refused(tmp_path: Path) -> None:
    pickle = io.BytesIO()
    joblib.dump(fit(forest()), pickle)
    with pytest.raises(ArtifactError, match="is no skops file that can be loaded: BadZipFile"):
        load(tmp_path, skops_files(pickle.getvalue()))


# Types


class Mine(BaseEstimator):
    def predict(self, rows: Any) -> Any:
        return rows


def log(rows: Any) -> Any:
    return np.log(rows)


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        (Mine(), r"test_sklearn_runtime\.Mine"),
        (FunctionTransformer(log), r"test_sklearn_runtime\.log"),
        (FunctionTransformer(lambda rows: rows), r"test_sklearn_runtime\.<lambda>"),
        (FunctionTransformer(np.nan_to_num), r"numpy\.nan_to_num"),
        (FunctionTransformer(partial(np.clip, a_min=0)), r"functools\.partial"),
        (fit(GridSearchCV(regression(), {"C": [1]}, cv=2)), "_PassthroughScorer"),
        (
            fit(HistGradientBoostingClassifier(max_iter=2, categorical_features=[3])),
            r"functools\.partial",
        ),
        (fit(KNeighborsClassifier(algorithm="kd_tree", p=3)), "MinkowskiDistance64"),
    ],
)
def test_what_is_not_listed_is_refused_by_its_name(
    tmp_path: Path, estimator: Any, names: str
) -> None:
    with pytest.raises(ArtifactError, match=rf"is made of .*{names}.*, which may not be loaded"):
        load(tmp_path, skops_files(estimator))


def _state(loader: str, module: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"__class__": name, "__module__": module, "__loader__": loader, "__id__": 1, **fields}


def _of(value: Any) -> dict[str, Any]:
    """Return what skops writes of a value, without the ids that tell its objects apart."""
    with ZipFile(io.BytesIO(skops.io.dumps(value))) as file:
        text = file.read("schema.json").decode()
    return dict(json.loads(text.replace('"__id__"', '"former_id"')))


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (
            lambda path: _state(
                "ConstructorFromReduceNode", "os", "system", content=_of((f"touch {path}",))
            ),
            r"os\.system",
        ),
        (
            lambda path: _state(
                "ConstructorFromReduceNode",
                "builtins",
                "eval",
                content=_of((f"open({path!r},'w')",)),
            ),
            r"builtins\.eval",
        ),
        (
            lambda path: _state(
                "ConstructorFromReduceNode",
                "subprocess",
                "Popen",
                content=_of((["touch", path],)),
            ),
            r"subprocess\.Popen",
        ),
        (lambda _: _state("FunctionNode", "os", "system"), r"os\.system"),
        (lambda _: _state("TypeNode", "subprocess", "Popen"), r"subprocess\.Popen"),
        (
            lambda path: _state(
                "LossNode", "os", "mkdir", __reduce__={"args": _of((path,))}, content=_of({})
            ),
            r"os\.mkdir",
        ),
        (
            lambda path: _state(
                "PartialNode",
                "functools",
                "partial",
                content={
                    "func": _state("FunctionNode", "os", "mkdir"),
                    "args": _of((path,)),
                    "kwds": _of({}),
                    "namespace": _of({}),
                },
            ),
            r"functools\.partial, os\.mkdir",
        ),
        (
            lambda path: _state(
                "OperatorFuncNode", "operator", "methodcaller", attrs=_of(("touch", path))
            ),
            r"operator\.methodcaller",
        ),
        (
            lambda path: _state(
                "MethodNode",
                "sklearn.linear_model._logistic",
                "LogisticRegression",
                content={"func": "fit", "obj": _of(LogisticRegression())},
            ),
            r"LogisticRegression\.fit",
        ),
        # Ours, but built in a way that would call them with what the file says.
        (
            lambda _: _state(
                "LossNode",
                "numpy",
                "dtype",
                __reduce__={"args": _of(("f8",))},
                content=_of((4, "|", None, None, None, 8, 1, 0)),
            ),
            r"numpy\.dtype",
        ),
        (
            lambda _: _state(
                "ConstructorFromReduceNode",
                "sklearn.neighbors._kd_tree",
                "KDTree",
                content=_of(([[0.0]],)),
            ),
            r"sklearn\.neighbors\._kd_tree\.KDTree",
        ),
        (lambda _: _state("ObjectNode", "sklearn.tree._tree", "Tree"), r"_tree\.Tree"),
    ],
)
def test_a_file_that_names_code_is_refused_and_nothing_runs(
    tmp_path: Path, state: Any, names: str
) -> None:
    touched = tmp_path / "touched"

    def name_code(each: dict[str, Any]) -> None:
        if each["__loader__"] == "FunctionNode":
            saved = each["__id__"]
            each.clear()
            each.update(state(str(touched)), __id__=saved)

    pipeline = make_pipeline(FunctionTransformer(np.log1p), regression())
    content = tampered(fit(pipeline), name_code)
    with pytest.raises(ArtifactError, match=rf"is made of .*{names}, which may not be loaded"):
        load(tmp_path, skops_files(content))
    assert not touched.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no skops file that can be loaded"),
        (b"not a zip archive", "no skops file that can be loaded: BadZipFile"),
        (skops.io.dumps({"a": 1}), "holds dict, expected a fitted estimator"),
        (
            tampered(LogisticRegression(), lambda each: each.update(__loader__="NoNode")),
            "no skops file that can be loaded: TypeError:  Can't find loader NoNode",
        ),
        (
            tampered(LogisticRegression(), lambda each: each.pop("__class__")),
            "no skops file that can be loaded: KeyError",
        ),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        load(tmp_path, skops_files(content))


def test_a_version_without_its_estimator_is_refused(tmp_path: Path) -> None:
    files = skops_files(fit(forest()))
    del files[MODEL_SKOPS]
    files = change_json(files, MODEL_SETTINGS, parameters={"uri": ".", "version": "v1"})
    with pytest.raises(ArtifactError, match=r"model\.skops cannot be read \(No such file"):
        load(tmp_path, files)


# Indices


def forged_nodes(estimator: Any, column: str, value: int) -> Any:
    tree = estimator.tree_
    state = tree.__getstate__()
    state["nodes"][column][0] = value
    tree.__setstate__(state)
    return estimator


def forged_predictor(column: str, value: int) -> Any:
    estimator = fit(HistGradientBoostingClassifier(max_iter=2))
    estimator._predictors[1][2].nodes[column][0] = value
    return estimator


def forged_neighbours(place: int, value: Any, **parameters: Any) -> Any:
    estimator = fit(KNeighborsClassifier(algorithm="kd_tree", **parameters))
    state = list(estimator._tree.__getstate__())
    state[place] = value(state[place]) if callable(value) else value
    estimator._tree.__setstate__(tuple(state))
    return estimator


def with_fewer_columns(estimator: Any) -> Any:
    estimator.n_features_in_ = 2
    return estimator


@pytest.mark.parametrize(
    "estimator",
    [
        forged_nodes(fit(DecisionTreeClassifier()), "left_child", 10**7),
        forged_nodes(fit(DecisionTreeClassifier()), "right_child", 0),
        forged_nodes(fit(DecisionTreeClassifier()), "right_child", -2),
        forged_nodes(fit(DecisionTreeClassifier()), "feature", 4),
        forged_nodes(fit(DecisionTreeClassifier()), "feature", -3),
        with_fewer_columns(fit(forest())),
        with_fewer_columns(fit(GradientBoostingClassifier(n_estimators=2))),
        forged_predictor("left", 10**6),
        forged_predictor("right", 0),
        forged_predictor("feature_idx", 4),
        forged_predictor("is_categorical", 1),
        forged_neighbours(1, lambda indices: indices + 1),
        forged_neighbours(1, lambda indices: indices[:-1].copy()),
        forged_neighbours(2, lambda nodes: nodes[:-1].copy()),
        forged_neighbours(3, lambda bounds: bounds[:, :-1].copy()),
        forged_neighbours(5, 60),
        forged_neighbours(6, 10**6),
        # Rows, and the nodes that divide them, of more columns than the bounds of those.
        forged_neighbours(0, lambda rows: np.tile(rows, 2)),
    ],
)
def test_indices_that_lead_out_of_a_tree_are_refused(tmp_path: Path, estimator: Any) -> None:
    with pytest.raises(ArtifactError, match="whose indices lead out of it; the file is damaged"):
        load(tmp_path, skops_files(estimator))


# What does not fit the rest of its version


def attribute_set(name: str, value: str) -> Callable[[dict[str, Any]], None]:
    """Return a change that gives each object with an attribute of this name another value."""

    def change(each: dict[str, Any]) -> None:
        held = each.get("content")
        if isinstance(held, dict) and name in held:
            held[name]["content"] = value

    return change


def test_a_patch_release_may_serve_what_another_has_trained(tmp_path: Path) -> None:
    major, minor, *_ = sklearn.__version__.split(".")
    older = tampered(fit(regression()), attribute_set("_sklearn_version", '"1.0"'))
    libraries = {"scikit-learn": f"{major}.{minor}.999"}
    runtime = load(tmp_path, skops_files(older, libraries=libraries))
    assert answer(runtime, [SETOSA])["label"].item() == b"setosa"


@pytest.mark.parametrize("version", ["0.24.2", "1.0.dev0", "2.1"])
def test_another_release_of_scikit_learn_is_refused(tmp_path: Path, version: str) -> None:
    files = skops_files(fit(forest()), libraries={"scikit-learn": version})
    with pytest.raises(ArtifactError, match=rf"trained with scikit-learn {version}, installed is"):
        load(tmp_path, files)


@pytest.mark.parametrize(
    ("estimator", "classes", "message"),
    [
        (fit(forest()), ["a", "b"], r"has the classes .* schema promises 2, numbered from 0"),
        (
            regression().fit(iris()[0], np.take(CLASSES, iris()[1])),
            CLASSES,
            r"has the classes array\(\['setosa'.* promises 3, numbered from 0",
        ),
        (
            regression().fit(iris()[0], iris()[1] + 1),
            CLASSES,
            r"has the classes array\(\[1, 2, 3\]\)",
        ),
        (
            DecisionTreeClassifier().fit(iris()[0], np.stack([iris()[1]] * 2, axis=1)),
            CLASSES,
            r"has the classes \[array",
        ),
        (fit(SVC()), CLASSES, "holds SVC, which gives no probabilities"),
        (
            tampered(
                fit(forest()),
                lambda each: (
                    each["content"].pop("criterion", None) if each["__class__"] == "dict" else None
                ),
            ),
            CLASSES,
            "cannot compute a row: AttributeError",
        ),
        (Ridge().fit(*iris()), CLASSES, "holds Ridge, which gives no probabilities"),
        (forest(), CLASSES, "holds RandomForestClassifier, which was never fitted"),
        (make_pipeline(StandardScaler(), forest()), CLASSES, "which was never fitted"),
        (StandardScaler().fit(diabetes()[0]), None, "holds StandardScaler, which is no regressor"),
        (fit(forest()), None, "takes 4 columns; .* promises 10"),
        (
            Ridge().fit(diabetes()[0], np.stack([diabetes()[1]] * 2, axis=1)),
            None,
            r"answers with shapes \[\(2,\)\]; .* promises \[\(\)\]",
        ),
        (
            make_pipeline(FunctionTransformer(), Ridge())
            .fit(*diabetes())
            .set_params(functiontransformer__func=np.matmul),
            None,
            "cannot compute a row: TypeError",
        ),
    ],
)
def test_an_estimator_that_does_not_fit_its_schema_is_refused(
    tmp_path: Path, estimator: Any, classes: list[str] | None, message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        load(tmp_path, skops_files(estimator, classes))


def test_missing_values_are_answered_by_an_estimator_that_takes_them(tmp_path: Path) -> None:
    features = [{"name": name, "missing": "allow"} for name in COLUMNS]
    pipeline = fit(HistGradientBoostingClassifier(max_iter=5))
    found = answer(load(tmp_path, skops_files(pipeline, features=features)), [[np.nan] * 4])
    assert found["probability"] == pytest.approx(pipeline.predict_proba([[np.nan] * 4]))


def test_an_estimator_that_takes_no_missing_values_must_not_be_promised_to(tmp_path: Path) -> None:
    features = [{"name": name, "missing": "allow"} for name in COLUMNS]
    message = "cannot answer a row with missing values; .* promises that sepal_length, sepal_width"
    with pytest.raises(ArtifactError, match=message):
        load(tmp_path, skops_files(fit(regression()), features=features))


# Rows without an answer


HUGE = [3e38, -3e38, 3e38, 3e38]


@pytest.mark.parametrize(
    "estimator",
    [
        # Infinite between two steps: in float32, which trees compare, and in float64.
        make_pipeline(StandardScaler(), forest()),
        make_pipeline(PolynomialFeatures(9), StandardScaler(), GaussianNB()),
    ],
)
def test_features_that_overflow_the_estimator_are_refused(tmp_path: Path, estimator: Any) -> None:
    runtime = load(tmp_path, skops_files(fit(estimator)))
    with pytest.raises(MLServerError, match="value too large for dtype") as caught:
        answer(runtime, [SETOSA, HUGE])
    assert caught.value.status_code == 400
    assert len(str(caught.value)) < 500


def test_a_prediction_beyond_float32_is_refused(tmp_path: Path) -> None:
    regressor = LinearRegression().fit([[0.0], [1.0]], [0.0, 1e3])
    runtime = load(tmp_path, skops_files(regressor, None, [{"name": "a"}]))
    assert answer(runtime, [[2.0]])["prediction"].item() == pytest.approx(2e3)
    with pytest.raises(MLServerError, match=r"features of row 1 \(from 0\) are too large"):
        answer(runtime, [[0.0], [3e38]])


def test_a_category_that_was_never_seen_is_refused(tmp_path: Path) -> None:
    pipeline = make_pipeline(OneHotEncoder(), regression()).fit([[1.0], [2.0]], [0, 1])
    runtime = load(tmp_path, skops_files(pipeline, ["a", "b"], [{"name": "kind"}]))
    assert answer(runtime, [[2.0]])["label"].item() == b"b"
    with pytest.raises(MLServerError, match="Found unknown categories") as caught:
        answer(runtime, [[3.0]])
    assert caught.value.status_code == 400


def test_a_row_of_no_class_is_refused(tmp_path: Path) -> None:
    neighbours = fit(RadiusNeighborsClassifier(outlier_label=-1))
    runtime = load(tmp_path, skops_files(neighbours))
    with pytest.raises(MLServerError, match=r"row 1 \(from 0\) is of none of the classes"):
        answer(runtime, [SETOSA, [100.0] * 4])


# Threads and noise


def test_every_part_computes_on_one_thread_and_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    voting = VotingClassifier([("one", forest()), ("other", forest())], voting="soft")
    columns = ColumnTransformer([("all", "passthrough", [0, 1, 2, 3])])
    pipeline = fit(make_pipeline(columns, voting))
    for each in (*pipeline, *pipeline[-1].estimators_):
        each.set_params(n_jobs=2, verbose=2)
    runtime = load(tmp_path, skops_files(pipeline))
    capfd.readouterr()
    assert answer(runtime, [SETOSA])["label"].item() == b"setosa"
    assert capfd.readouterr() == ("", "")
    served = runtime._opened.parts.estimator._estimator
    assert {each.n_jobs for each in (*served, *served[-1].estimators_)} == {1}


def test_gradient_boosting_computes_on_one_thread(tmp_path: Path) -> None:
    runtime = load(tmp_path, skops_files(fit(HistGradientBoostingClassifier(max_iter=2))))
    seen = []

    def answer_and_look() -> None:
        answer(runtime, [SETOSA])
        seen.extend(each["num_threads"] for each in threadpool_info())

    thread = threading.Thread(target=answer_and_look)
    thread.start()
    thread.join()
    assert set(seen) == {1}


def test_what_was_fitted_on_a_frame_does_not_warn_of_its_columns(tmp_path: Path) -> None:
    """Every warning is an error in these tests."""
    features, classes = iris()
    scaled = make_pipeline(StandardScaler(), regression())
    scaled.fit(pd.DataFrame(features, columns=COLUMNS), classes)
    runtime = load(tmp_path, skops_files(scaled))
    assert answer(runtime, [SETOSA])["label"].item() == b"setosa"
