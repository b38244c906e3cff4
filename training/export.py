"""Turn a fitted pipeline into the files that are served and audited, and prove them equal.

The ONNX graph has one input, ``input`` float32 (n_rows, n_features), and two outputs:
``class_index`` int64 (n_rows,), a position in the schema's classes, and ``probability`` float32
(n_rows, n_classes). Runtimes build on exactly these names.
"""

import numpy as np
import onnx
import onnxruntime
import skl2onnx
import skops.io
from skl2onnx.common.data_types import FloatTensorType
from sklearn.pipeline import Pipeline

from abserve.artifacts import Parity
from abserve.errors import TrainingError
from training.data import Rows

LARGEST_DIFFERENCE = 1e-5

# Old enough for every onnxruntime we allow; newer operators would bring these models nothing.
_OPSETS = {"": 17, "ai.onnx.ml": 3}


def to_onnx(pipeline: Pipeline, n_features: int) -> bytes:
    """Return the fitted pipeline as an ONNX model; equal pipelines give equal bytes."""
    model = skl2onnx.to_onnx(
        pipeline,
        initial_types=[("input", FloatTensorType([None, n_features]))],
        options={"zipmap": False},
        target_opset=_OPSETS,
    )
    # Some converters begin from a graph name with a random part; ours says what it is.
    model.graph.name = "classifier"
    # The converter lists the default operators once per step; the standard wants each domain once.
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(*pair) for pair in sorted(opsets.items()))
    for output, name in zip(model.graph.output, ("class_index", "probability"), strict=True):
        _rename(model.graph, output.name, name)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def to_skops(pipeline: Pipeline) -> bytes:
    """Return the fitted pipeline in skops' format, which holds no code."""
    return bytes(skops.io.dumps(pipeline))


def compare(model_onnx: bytes, pipeline: Pipeline, rows: Rows) -> Parity:
    """Run both models on the same rows, and refuse an export that answers differently.

    The exported model sees the rows as a client's would reach it, as float32; the fitted one sees
    them as they are.

    Raises
    ------
    TrainingError
        If any label differs, or any probability by more than `LARGEST_DIFFERENCE`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model_onnx, options, providers=["CPUExecutionProvider"])
    class_index, probability = session.run(
        ["class_index", "probability"], {"input": rows.astype(np.float32)}
    )
    expected = pipeline.predict_proba(rows)
    if class_index.shape != (len(rows),) or probability.shape != expected.shape:
        raise TrainingError(
            f"the exported model answers with shapes {class_index.shape} and {probability.shape}; "
            f"expected {(len(rows),)} and {expected.shape}; train another estimator"
        )
    parity = Parity(
        n_rows=len(rows),
        n_different_labels=int(np.count_nonzero(class_index != pipeline.predict(rows))),
        largest_probability_difference=float(np.max(np.abs(probability - expected))),
    )
    # Not `>`: a difference that is no number must not pass.
    close = parity.largest_probability_difference <= LARGEST_DIFFERENCE
    if parity.n_different_labels or not close:
        raise TrainingError(
            f"the exported model is not the fitted one: {parity.n_different_labels} of "
            f"{parity.n_rows} labels differ and probabilities by up to "
            f"{parity.largest_probability_difference:.2g}; expected equal labels and at most "
            f"{LARGEST_DIFFERENCE:.0e}; train another estimator, or change its scale "
            "(trees need none)"
        )
    return parity


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for value in graph.output:
        if value.name == old:
            value.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
