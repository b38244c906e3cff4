"""Turn the inputs of an inference request into rows, or say exactly why that cannot be done.

Two forms are read: one matrix called ``features``, its columns in the schema's order, or one
tensor per column in any order, which may hold a category's text in place of its number. MLServer's
own codec takes strings for numbers, cuts floats to integers and believes any shape; a classifier
would then answer, confidently, about other rows than the client meant. So nothing here is guessed
or repaired: what does not fit is refused.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlserver.types import MetadataTensor, Parameters
from numpy.typing import NDArray

from abserve.schema import Schema
from runtimes.inference import Rows, Tensor
from runtimes.raw_tensors import BYTES
from runtimes.refusals import RefusedError
from runtimes.tabular.categories import Categories
from runtimes.tabular.numbers import read_numbers
from runtimes.texts import enumerate_names, shorten

MATRIX = "features"
MAX_ROWS = 10_000

_TOO_LARGE = 413
_MATRIX_AXES = 2


class TableReader:
    """Reads the inputs of requests as rows of a schema's columns.

    Parameters
    ----------
    schema : Schema
        Names the columns, in order, and says what their values may be.
    """

    def __init__(self, schema: Schema) -> None:
        features = schema.features
        self._columns = schema.feature_names
        self._width = len(features)
        self._may_miss = np.array([feature.missing == "allow" for feature in features])
        self._any_may_miss = bool(self._may_miss.any())
        self._bounded = [
            (index, feature)
            for index, feature in enumerate(features)
            if feature.outside == "refuse"
        ]
        self._whole = np.array(
            [index for index, feature in enumerate(features) if feature.type != "number"], np.intp
        )
        self._categories = {
            feature.name: Categories(feature) for feature in features if feature.categories
        }
        self._parameters: dict[str, Any] = {"columns": list(self._columns)}
        if self._categories:
            self._parameters["categories"] = {
                feature.name: list(feature.categories) for feature in features if feature.categories
            }
        # What clients call a tensor of texts.
        texts = {"str"} if self._categories else set()
        self.content_types = frozenset({"np", "pd", *texts})

    def metadata(self) -> list[MetadataTensor]:
        """Return the matrix as the model's metadata states it.

        Its parameters name the columns, and the categories by the columns that have them.
        """
        return [
            MetadataTensor(
                name=MATRIX,
                datatype="FP32",
                shape=[-1, self._width],
                parameters=Parameters(content_type="np", **self._parameters),
            )
        ]

    def read(self, inputs: Sequence[Tensor]) -> Rows:
        """Return the rows that the inputs of one request describe.

        Parameters
        ----------
        inputs : sequence of Tensor
            Either one input ``features`` of shape (n_rows, n_columns), or for each column one input
            of that name, of shape (n_rows, 1) or (n_rows,). Any numeric datatype; for a column with
            categories also BYTES.

        Returns
        -------
        ndarray of shape (n_rows, n_columns), float32
            1 to `MAX_ROWS` rows of finite numbers, and NaN where a column may miss one.

        Raises
        ------
        RefusedError
            With status 413 if there are more rows than `MAX_ROWS`, with 400 for any other fault.
            The message names the input, what was found in it and what was expected.
        """
        if len(inputs) == 1 and inputs[0].name == MATRIX:
            rows = self._read_matrix(inputs[0])
        else:
            rows = self._read_columns(inputs)
        for index, feature in self._bounded:
            _check_bounds(rows[:, index], feature.name, feature.minimum, feature.maximum)
        # What is missing is NaN, which is no fraction, but is looked at more closely.
        if len(self._whole) and (rows.take(self._whole, axis=1) % 1).any():
            self._check_whole(rows)
        return rows

    def _check_whole(self, rows: Rows) -> None:
        fractional = rows[:, self._whole] % 1 > 0
        if fractional.any():
            row, position = divmod(int(np.argmax(fractional)), len(self._whole))
            index = self._whole[position]
            raise RefusedError(
                "value",
                f"column {self._columns[index]!r} is {_shown(rows[row, index])} in row {row} "
                "(from 0); expected a whole number",
            )

    def _read_matrix(self, tensor: Tensor) -> Rows:
        shape = tensor.shape
        if len(shape) != _MATRIX_AXES or shape[1] != self._width:
            raise RefusedError(
                "shape",
                f"input {MATRIX!r} has shape {shorten(list(shape))}; expected [n, {self._width}], "
                f"its columns being {enumerate_names(self._columns)}",
            )
        if not 0 < shape[0] <= MAX_ROWS:
            raise _wrong_n_rows(tensor)
        return self._read_numbers(tensor, self._columns, self._may_miss)

    def _read_columns(self, inputs: Sequence[Tensor]) -> Rows:
        by_name = self._match_columns(inputs)
        vectors = [
            self._read_column(by_name[name], name, self._may_miss[index : index + 1])
            for index, name in enumerate(self._columns)
        ]
        for name, vector in zip(self._columns, vectors, strict=True):
            if len(vector) != len(vectors[0]):
                raise RefusedError(
                    "rows",
                    f"input {self._columns[0]!r} has {len(vectors[0])} rows and input {name!r} has "
                    f"{len(vector)}; expected as many rows in every column",
                )
        return np.concatenate(vectors, axis=1)

    def _match_columns(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        columns = self._columns
        expected = (
            f"expected one input {MATRIX!r} of shape [n, {self._width}], or one of shape [n, 1] "
            f"for each of the columns {enumerate_names(columns)}"
        )
        by_name = {tensor.name: tensor for tensor in inputs}
        if not inputs:
            fault = "the request has no inputs"
        elif len(by_name) != len(inputs):
            # The mapping kept the last of each name.
            repeated = next(each.name for each in inputs if by_name[each.name] is not each)
            fault = f"input {shorten(repeated)} is given more than once"
        elif unknown := [name for name in by_name if name not in columns]:
            fault = f"input {shorten(unknown[0])} is not known"
        elif missing := [name for name in columns if name not in by_name]:
            fault = f"input {missing[0]!r} is missing"
        else:
            return by_name
        raise RefusedError("inputs", f"{fault}; {expected}")

    def _read_column(self, tensor: Tensor, column: str, may_miss: NDArray[np.bool_]) -> Rows:
        shape = tensor.shape
        if len(shape) not in {1, _MATRIX_AXES} or tuple(shape[1:]) not in {(), (1,)}:
            raise RefusedError(
                "shape",
                f"input {column!r} has shape {shorten(list(shape))}; expected [n, 1] or [n]",
            )
        if not 0 < shape[0] <= MAX_ROWS:
            raise _wrong_n_rows(tensor)
        if tensor.datatype == BYTES and column in self._categories:
            return self._categories[column].read(tensor)
        return self._read_numbers(tensor, (column,), may_miss)

    def _read_numbers(
        self, tensor: Tensor, columns: Sequence[str], may_miss: NDArray[np.bool_]
    ) -> Rows:
        return read_numbers(tensor, columns, may_miss if self._any_may_miss else None)


def _wrong_n_rows(tensor: Tensor) -> RefusedError:
    n_rows = tensor.shape[0]
    if n_rows < 1:
        return RefusedError(
            "rows",
            f"input {tensor.name!r} has shape {shorten(list(tensor.shape))}; "
            "expected at least one row",
        )
    return RefusedError(
        "rows",
        f"input {tensor.name!r} has {shorten(n_rows)} rows; a request may have at most "
        f"{MAX_ROWS}, so send it in parts",
        _TOO_LARGE,
    )


def _check_bounds(values: Rows, column: str, minimum: float | None, maximum: float | None) -> None:
    # In the precision that the values arrived in, so that a bound itself is within it.
    low = np.float32(-math.inf if minimum is None else minimum)
    high = np.float32(math.inf if maximum is None else maximum)
    outside = (values < low) | (values > high)
    if outside.any():
        row = int(np.argmax(outside))
        raise RefusedError(
            "range",
            f"column {column!r} is {_shown(values[row])} in row {row} (from 0); expected a value "
            f"in [{_shown(low)}, {_shown(high)}], for which the model was made",
        )


def _shown(value: Any) -> str:
    return f"{float(value):.7g}"
