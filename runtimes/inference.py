"""One inference, apart from the form it arrived in: a request, and what a model makes of it.

::

    REST JSON, REST binary, gRPC ──> Request ──> rows ──> Classified | Regressed ──> the same form
"""

from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.float32]


class Tensor(NamedTuple):
    """One input of a request, as the client sent it: what it holds is not checked yet.

    `data` is a list, nested or flat, or a flat array where it arrived in binary.
    """

    name: str
    shape: list[int]
    datatype: str
    data: Any


class Request(msgspec.Struct, gc=False):
    """What a request says; `outputs` are the names asked for, none meaning the usual ones."""

    request_id: str | None
    inputs: list[Tensor]
    outputs: list[str]


class Classified(NamedTuple):
    """What a classifier makes of rows.

    `indices` has shape (n_rows,): the predicted class of each, as a position in the schema's
    classes. `probability` has shape (n_rows, n_classes).
    """

    indices: NDArray[np.int64]
    probability: NDArray[np.float32]


class Regressed(NamedTuple):
    """What a regressor makes of rows: `prediction` has shape (n_rows,)."""

    prediction: NDArray[np.float32]


Result: TypeAlias = Classified | Regressed
