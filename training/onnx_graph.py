"""Express a fitted pipeline as an ONNX graph that computes what scikit-learn computes.

The graph has one input, ``input`` float32 (n_rows, n_features). A classifier has the outputs
``class_index`` int64 (n_rows,), a position in the schema's classes, and ``probability`` float32
(n_rows, n_classes); a regressor has ``prediction`` float32 (n_rows, 1). Runtimes build on exactly
these names.

scikit-learn scales in float64, and so does the graph: which side of a tree's threshold a value lies
on may hang on its last digit. All else is float32.
"""

import warnings
from copy import copy, deepcopy
from itertools import chain
from typing import Any

import numpy as np
import onnx
import skl2onnx
from onnx.checker import MAXIMUM_PROTOBUF
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.sklapi import CastTransformer
from sklearn.compose import ColumnTransformer
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from abserve.schema import Schema

INPUT = "input"
CLASS_INDEX = "class_index"
PROBABILITY = "probability"
PREDICTION = "prediction"

# Old enough for every onnxruntime we allow; newer operators would bring these models nothing.
_OPSETS = {"": 17, "ai.onnx.ml": 3}


class GraphTooLargeError(Exception):
    """A graph is larger than a file of ONNX can be."""


def to_onnx(pipeline: Pipeline, schema: Schema) -> bytes:
    """Return the fitted pipeline as an ONNX model; equal pipelines give equal bytes.

    Raises
    ------
    GraphTooLargeError
        If it has more than ONNX can hold. skl2onnx and onnx raise their own errors besides.
    """
    classifies = schema.classes is not None
    with warnings.catch_warnings():
        # Of how skl2onnx hands numpy's numbers to onnx, which is not ours to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        model = skl2onnx.to_onnx(
            _with_precisions(pipeline),
            initial_types=[(INPUT, FloatTensorType([None, len(schema.features)]))],
            options={"zipmap": False} if classifies else None,
            target_opset=_OPSETS,
        )
    # The converter lists the default operators once per step; the standard wants each domain once.
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(*pair) for pair in sorted(opsets.items()))
    names = (CLASS_INDEX, PROBABILITY) if classifies else (PREDICTION,)
    outputs = [output.name for output in model.graph.output]
    _name_anew(model.graph, {INPUT: INPUT, **dict(zip(outputs, names, strict=True))})
    if (size := model.ByteSize()) > MAXIMUM_PROTOBUF:
        raise GraphTooLargeError(f"it takes {size:,} bytes, and at most {MAXIMUM_PROTOBUF:,} fit")
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _with_precisions(part: Any) -> Any:
    """Return a pipeline, or a part of one, whose steps compute as precisely as they were fitted."""
    if isinstance(part, Pipeline):
        return Pipeline([(name, _with_precisions(step)) for name, step in part.steps])
    if isinstance(part, ColumnTransformer):
        part = copy(part)
        part.transformers_ = [
            (name, _with_precisions(step), columns) for name, step, columns in part.transformers_
        ]
    elif isinstance(part, StandardScaler):
        return Pipeline(
            [
                ("to_float64", CastTransformer(dtype=np.float64)),
                ("scale", part),
                ("to_float32", CastTransformer(dtype=np.float32)),
            ]
        )
    elif isinstance(part, SimpleImputer):
        # ONNX Runtime fills in what is missing in float32 alone.
        return Pipeline([("to_float32", CastTransformer(dtype=np.float32)), ("fill", part)])
    elif isinstance(part, BaseHistGradientBoosting):
        return _with_float32_thresholds(part)
    return part


def _with_float32_thresholds(estimator: BaseHistGradientBoosting) -> BaseHistGradientBoosting:
    """Return an estimator that sends every value of float32 the same way, its thresholds float32.

    The converter rounds them to the nearest, and so may put a value that was above its threshold
    below it. Rounded down, none changes sides. The thresholds of other trees it rounds so itself.
    """
    estimator = deepcopy(estimator)
    for predictor in chain.from_iterable(estimator._predictors):
        threshold = predictor.nodes["num_threshold"]
        nearest = threshold.astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
        threshold[:] = np.where(nearest > threshold, below, nearest)
    return estimator


def _name_anew(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Name everything in a graph, and in those within it, by the order in which it comes.

    Converters name by the address of an object, at random, and by how many graphs they made before.
    `names` has the new names of values by their old ones, and is added to.
    """
    graph.name = "graph"

    def anew(old: str) -> str:
        # An input that is left out has no name.
        return names.setdefault(old, f"value_{len(names)}") if old else old

    for value in (*graph.input, *graph.initializer, *graph.output, *graph.value_info):
        value.name = anew(value.name)
    for index, node in enumerate(graph.node):
        node.name = f"node_{index}"
        node.input[:] = map(anew, node.input)
        node.output[:] = map(anew, node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _name_anew(inner, names)
