"""Inference requests and responses in the protocol's binary form.

::

    inference-header-content-length: 120
    { "inputs": [{"name": "features", ..., "parameters": {"binary_data_size": 16}}], ... } 16 bytes

JSON first, then the values: little-endian numbers, and strings behind their lengths. An output
that has its values in the JSON, as a server without that form answers, is read as well.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from abserve.errors import ScoringError
from abserve.scoring.model import MATRIX, Model, Output

HEADER_LENGTH = "Inference-Header-Content-Length"

_SIZE = "binary_data_size"
_LENGTH_BYTES = 4
_DTYPES = {
    "BOOL": "?",
    "FP32": "<f4",
    "FP64": "<f8",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for `n` rows: a column of that length for each of the model's."""

    version: str | None
    request_id: str | None
    columns: Mapping[str, pa.Array]


def encode(model: Model, rows: NDArray[np.float64], request_id: str) -> tuple[bytes, int]:
    """Return a request's body, and the length of the JSON that it begins with.

    Parameters
    ----------
    model : Model
        Says which outputs there are.
    rows : ndarray of shape (n_rows, n_columns), float64
        NaN where a value is missing.
    request_id : str
        Comes back with the answer.

    Examples
    --------
    >>> from abserve.scoring.model import Model
    >>> body, length = encode(Model("iris", ("a", "b"), {}, ()), np.ones((1, 2)), "r-1")
    >>> json.loads(body[:length])["inputs"][0]["shape"], len(body) - length
    ([1, 2], 16)
    """
    values = np.ascontiguousarray(rows, "<f8").tobytes()
    head = json.dumps(
        {
            "id": request_id,
            "inputs": [
                {
                    "name": MATRIX,
                    "shape": list(rows.shape),
                    "datatype": "FP64",
                    "parameters": {_SIZE: len(values)},
                }
            ],
            "outputs": [
                {"name": each.name, "parameters": {"binary_data": True}} for each in model.outputs
            ],
        }
    ).encode()
    return head + values, len(head)


def decode(model: Model, body: bytes, header_length: str | None, n_rows: int) -> Answer:
    """Read a response to `n_rows` rows.

    Raises
    ------
    ScoringError
        If it is no response of the protocol, or not one of `model` to so many rows.
    """
    try:
        length = len(body) if header_length is None else int(header_length)
        document = json.loads(body[:length])
        found = dict(_tensors(document["outputs"], memoryview(body)[length:]))
        columns = {}
        for output in model.outputs:
            columns.update(_columns(output, found[output.name], n_rows))
        return Answer(document.get("model_version"), document.get("id"), columns)
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise ScoringError(
            f"the answer for {n_rows} rows cannot be read ({error!r}); expected a V2 response with "
            f"the outputs {', '.join(each.name for each in model.outputs)}. What stands at the "
            "URL, or was another version deployed meanwhile?"
        ) from error


def _tensors(outputs: Any, values: memoryview) -> Any:
    """Yield each output's name, with its values: a list, or an array."""
    at = 0
    for each in outputs:
        size = (each.get("parameters") or {}).get(_SIZE)
        if size is None:
            yield each["name"], each["data"]
            continue
        raw = values[at : at + size]
        at += size
        if len(raw) != size:
            raise ValueError(f"output {each['name']!r} is cut short")
        if each["datatype"] == "BYTES":
            yield each["name"], _strings(raw)
        else:
            yield each["name"], np.frombuffer(raw, _DTYPES[each["datatype"]])


def _strings(raw: memoryview) -> list[str]:
    strings = []
    at = 0
    while at < len(raw):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(raw[at:start], "little")
        if at > len(raw):
            raise ValueError("a string is cut short")
        strings.append(str(raw[start:at], "utf-8"))
    return strings


def _columns(output: Output, values: Any, n_rows: int) -> dict[str, pa.Array]:
    width = len(output.columns)
    if isinstance(values, list) and values and isinstance(values[0], list):
        values = [value for row in values for value in row]
    if len(values) != n_rows * width:
        raise ValueError(f"output {output.name!r} has {len(values)} values for {n_rows} rows")
    return {
        name: pa.array(values[index::width], output.type)
        for index, name in enumerate(output.columns)
    }
