"""The outputs that hold each picture's most probable classes only."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from runtimes.inference import Classified
from runtimes.outputs import ClassNames, Output

TOP_LABEL = "top_label"
TOP_PROBABILITY = "top_probability"


def top_indices(probability: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the `k` most probable classes of each row, the first of them first.

    Parameters
    ----------
    probability : ndarray of shape (n_rows, n_classes), float32
    k : int
        At most n_classes.

    Returns
    -------
    ndarray of shape (n_rows, k), int64
        Of equally probable classes the lower index comes first.

    Examples
    --------
    >>> top_indices(np.array([[0.25, 0.5, 0.25]], np.float32), 2).tolist()
    [[1, 0]]
    """
    order: NDArray[np.int64] = np.argsort(-probability, axis=1, kind="stable")[:, :k]
    return order


class TopLabelOutput(Output):
    """``top_label`` BYTES (n_rows, k): the names of each row's most probable classes, in order."""

    def __init__(self, classes: Sequence[str], k: int) -> None:
        super().__init__(TOP_LABEL, "BYTES", k)
        self._names = ClassNames(classes)

    def data(self, result: Classified) -> bytes:
        return self._names.json(self._indices(result))

    def raw(self, result: Classified) -> bytes:
        return self._names.raw(self._indices(result))

    def values(self, result: Classified) -> list[Any]:
        # gRPC takes bytes only, and REST turns them into strings.
        return [self._names.as_bytes[index] for index in self._indices(result)]

    def _indices(self, result: Classified) -> list[int]:
        indices: list[int] = top_indices(result.probability, self.width).ravel().tolist()
        return indices


class TopProbabilityOutput(Output):
    """``top_probability`` FP32 (n_rows, k): the probabilities of ``top_label``."""

    def __init__(self, k: int) -> None:
        super().__init__(TOP_PROBABILITY, "FP32", k)

    def data(self, result: Classified) -> bytes:
        return orjson.dumps(self._top(result), option=orjson.OPT_SERIALIZE_NUMPY)

    def raw(self, result: Classified) -> bytes:
        return self._top(result).astype("<f4", copy=False).tobytes()

    def _top(self, result: Classified) -> NDArray[np.float32]:
        top = top_indices(result.probability, self.width)
        return np.take_along_axis(result.probability, top, axis=1).ravel()
