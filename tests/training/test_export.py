import numpy as np
import onnx
import onnxruntime
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skops.io.exceptions import UntrustedTypesFoundException

from abserve.errors import TrainingError
from training import Definition, data, export, fit


def test_the_graph_has_the_tensors_that_runtimes_build_on(logistic: Pipeline) -> None:
    session = onnxruntime.InferenceSession(
        export.to_onnx(logistic, 4), providers=["CPUExecutionProvider"]
    )
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape[1]) == ("input", "tensor(float)", 4)
    class_index, probability = session.get_outputs()
    assert (class_index.name, class_index.type) == ("class_index", "tensor(int64)")
    assert (probability.name, probability.type) == ("probability", "tensor(float)")
    assert probability.shape[1] == 3


def test_one_row_and_many_rows_keep_their_shapes(tree: Pipeline) -> None:
    session = onnxruntime.InferenceSession(
        export.to_onnx(tree, 4), providers=["CPUExecutionProvider"]
    )
    for n_rows in (1, 5):
        class_index, probability = session.run(
            ["class_index", "probability"], {"input": np.ones((n_rows, 4), np.float32)}
        )
        assert class_index.shape == (n_rows,)
        assert probability.shape == (n_rows, 3)


def test_each_operator_set_is_named_once(logistic: Pipeline) -> None:
    model = onnx.load_from_string(export.to_onnx(logistic, 4))
    domains = [opset.domain for opset in model.opset_import]
    assert domains == sorted(set(domains))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_two_trainings_give_the_same_bytes(
    definition: Definition, parts: data.Parts, version: str
) -> None:
    def exported() -> bytes:
        pipeline = fit.build(definition.estimator(version), seed=7)
        fit.fit(pipeline, parts.fitted_rows, parts.fitted_classes)
        return export.to_onnx(pipeline, 4)

    assert exported() == exported()


def test_an_export_repeats_what_was_fitted(logistic: Pipeline, parts: data.Parts) -> None:
    parity = export.compare(export.to_onnx(logistic, 4), logistic, parts.held_out_rows)
    assert parity.n_rows == 45
    assert parity.n_different_labels == 0
    assert parity.largest_probability_difference < 1e-5


def test_the_export_of_another_model_is_refused_with_the_numbers(
    tree: Pipeline, logistic: Pipeline, parts: data.Parts
) -> None:
    rows = parts.held_out_rows
    n_different = np.count_nonzero(tree.predict(rows) != logistic.predict(rows))
    largest = np.max(np.abs(tree.predict_proba(rows) - logistic.predict_proba(rows)))
    with pytest.raises(
        TrainingError,
        match=rf"is not the fitted one: {n_different} of 45 labels differ and probabilities by up "
        rf"to {largest:.2g}; expected equal labels and at most 1e-05; train another",
    ):
        export.compare(export.to_onnx(tree, 4), logistic, parts.held_out_rows)


def test_equal_labels_do_not_excuse_other_probabilities(
    logistic: Pipeline, parts: data.Parts
) -> None:
    """Two logistic regressions of almost equal strength agree on every label."""
    rows, classes = parts.fitted_rows, parts.fitted_classes
    nearly = Pipeline([("scale", StandardScaler()), ("estimator", LogisticRegression(C=9.9))])
    nearly.fit(rows, classes)
    with pytest.raises(TrainingError, match=r": 0 of 45 labels differ and probabilities by up to"):
        export.compare(export.to_onnx(nearly, 4), logistic, parts.held_out_rows)


def test_features_too_fine_for_float32_are_noticed() -> None:
    """Next to 1e8 float32 steps by 8, and these two classes differ by 1."""
    rows = 1e8 + np.tile([[0.0], [1.0]], (20, 1))
    pipeline = Pipeline([("scale", StandardScaler()), ("estimator", LogisticRegression())])
    pipeline.fit(rows, np.tile([0, 1], 20))
    with pytest.raises(TrainingError, match=r"20 of 40 labels differ"):
        export.compare(export.to_onnx(pipeline, 1), pipeline, rows)


def test_an_export_for_fewer_classes_is_refused(tree: Pipeline, parts: data.Parts) -> None:
    two = parts.fitted_classes < 2
    binary = Pipeline([("estimator", LogisticRegression())])
    binary.fit(parts.fitted_rows[two], parts.fitted_classes[two])
    with pytest.raises(
        TrainingError, match=r"shapes \(45,\) and \(45, 2\); expected \(45,\) and \(45, 3\)"
    ):
        export.compare(export.to_onnx(binary, 4), tree, parts.held_out_rows)


def test_a_skops_file_loads_with_the_types_it_names_and_no_others(
    tree: Pipeline, parts: data.Parts
) -> None:
    file = export.to_skops(tree)
    assert skops.io.get_untrusted_types(data=file) == ["sklearn.tree._tree.Tree"]
    with pytest.raises(UntrustedTypesFoundException):
        skops.io.loads(file, trusted=[])
    loaded = skops.io.loads(file, trusted=["sklearn.tree._tree.Tree"])
    rows = parts.held_out_rows
    assert np.array_equal(loaded.predict_proba(rows), tree.predict_proba(rows))


def test_a_skops_file_of_a_linear_model_needs_no_trust(
    logistic: Pipeline, parts: data.Parts
) -> None:
    loaded = skops.io.loads(export.to_skops(logistic), trusted=[])
    rows = parts.held_out_rows
    assert np.array_equal(loaded.predict_proba(rows), logistic.predict_proba(rows))
