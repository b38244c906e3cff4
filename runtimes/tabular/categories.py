"""The categories of one column, sent as texts, as the numbers that stand for them."""

import math
from difflib import get_close_matches
from typing import Any

import numpy as np

from abserve.schema import Feature
from runtimes.inference import Rows, Tensor
from runtimes.refusals import RefusedError
from runtimes.tabular.numbers import flatten, json_name
from runtimes.texts import enumerate_names, shorten

# Comparing takes some ten microseconds each, and whoever sends nonsense can have it done often.
_MAX_COMPARED = 100
_MAX_LETTERS = 60


class Categories:
    """The categories of a feature of that type, and where each stands."""

    def __init__(self, feature: Feature) -> None:
        self._names = feature.categories or ()
        self._numbers: dict[Any, float] = {}
        for position, name in enumerate(self._names):
            # JSON brings text; binary and gRPC bring its bytes.
            self._numbers[name] = self._numbers[name.encode()] = float(position)
        if feature.missing == "allow":
            self._numbers[None] = math.nan

    def read(self, tensor: Tensor) -> Rows:
        """Return the positions of the categories in a BYTES tensor.

        Parameters
        ----------
        tensor : Tensor
            Its shape is known to be (n_rows,) or (n_rows, 1), and not to be empty.

        Returns
        -------
        ndarray of shape (n_rows, 1), float32
            NaN for null, where the feature may miss.

        Raises
        ------
        RefusedError
            If there are more or fewer values than the shape says, or one that is no category.
        """
        name, shape, _, data = tensor
        sent = flatten(name, data, shape)
        if len(sent) != shape[0]:
            raise RefusedError(
                "shape",
                f"input {name!r} has shape {list(shape)} but {len(sent)} values; "
                f"expected {shape[0]}",
            )
        numbers = np.empty((len(sent), 1), np.float32)
        for row, value in enumerate(sent):
            number = self._numbers.get(value) if isinstance(value, str | bytes | None) else None
            if number is None:
                raise self._misfit(name, row, value)
            numbers[row] = number
        return numbers

    def _misfit(self, name: str, row: int, value: Any) -> RefusedError:
        expected = f"expected one of {enumerate_names(self._names)}"
        if not isinstance(value, str | bytes):
            return RefusedError(
                "missing" if value is None else "value",
                f"input {name!r} holds {json_name(value)} in row {row} (from 0); {expected}",
            )
        text = value if isinstance(value, str) else value.decode(errors="replace")
        near = get_close_matches(text[:_MAX_LETTERS], self._names[:_MAX_COMPARED], n=1)
        meant = f", did you mean {near[0]!r}?" if near else ";"
        return RefusedError(
            "value",
            f"input {name!r} holds {shorten(value)} in row {row} (from 0), which is no category"
            f"{meant} {expected}",
        )
