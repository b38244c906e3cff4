"""A request that can be sent as it stands, and the answer of the version it was made for.

It holds a held-out row. The answer is what the model as it is served says of it; what else a
response holds - its id, and the token for feedback - differs from one response to the next.
"""

import base64
import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abserve.metadata import Metadata
from abserve.schema import Picture, Schema
from training.card.evidence import Evidence
from training.dataset import Predictions, Rows

_DECIMALS = 4
_WHITE = 255
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS = {"grey": 0, "rgb": 2}

_SEND = """\
response = requests.post(URL, json={"inputs": inputs}, timeout=10)
response.raise_for_status()
for output in response.json()["outputs"]:
    print(output["name"], output["data"])
"""


@dataclass(frozen=True, slots=True)
class Example:
    """A request: its `body` for curl, `python` that sends the same, and the `answer` to it.

    `ground_truth` is what is known of the row, `picture` the file's base64 if it is one.
    """

    path: str
    body: str
    python: str
    answer: str
    ground_truth: str
    picture: str | None


def example(metadata: Metadata, evidence: Evidence) -> Example:
    """Make an example of the first held-out row."""
    schema = metadata.schema_
    path = f"/v2/models/{metadata.model}/infer"
    row = evidence.rows[0]
    if schema.picture is None:
        picture, inputs = None, [_features(row)]
        python = _python_for_columns(path, schema.feature_names, row)
    else:
        levels = _levels(row, schema.picture)
        # What a client sends has the 256 levels of a file, which the row may lie between.
        row = _numbers(levels, schema.picture)
        picture = base64.b64encode(_png(levels, schema.picture)).decode()
        inputs = [_tensor("image", "BYTES", [picture])]
        python = _python_for_picture(path)
    outputs = ["prediction"] if schema.classes is None else ["label", "probability"]
    return Example(
        path=path,
        body=_json_lines({}, inputs=inputs, outputs=[{"name": name} for name in outputs]),
        python=python,
        answer=_answer(metadata, evidence.predict(row[np.newaxis])),
        ground_truth=_ground_truth(schema, evidence.targets[0]),
        picture=picture,
    )


def _features(row: Rows) -> dict[str, Any]:
    return _tensor("features", "FP64", _values(row))


def _values(row: Rows) -> list[float | None]:
    return [None if math.isnan(value) else value for value in row.tolist()]


def _tensor(name: str, datatype: str, data: Sequence[Any], **parameters: Any) -> dict[str, Any]:
    described = {"parameters": parameters} if parameters else {}
    return {
        "name": name,
        "shape": [1, len(data)],
        "datatype": datatype,
        **described,
        "data": list(data),
    }


def _answer(metadata: Metadata, predictions: Predictions) -> str:
    classes = metadata.schema_.classes
    if classes is None or predictions.probability is None:
        outputs = [_tensor("prediction", "FP32", _rounded(predictions.values))]
    else:
        label = classes[int(predictions.values[0])]
        probability = _rounded(predictions.probability[0])
        outputs = [
            _tensor("label", "BYTES", [label]),
            _tensor("probability", "FP32", probability, classes=list(classes)),
        ]
    named = {"model_name": metadata.model, "model_version": metadata.version}
    return _json_lines(named, outputs=outputs)


def _rounded(values: NDArray[Any]) -> list[float]:
    return [round(value, _DECIMALS) for value in values.astype(np.float64).tolist()]


def _json_lines(first: Mapping[str, str], **tensors: Sequence[Mapping[str, Any]]) -> str:
    """Return an object with a line for each tensor, as a person would break it."""
    fields = [f"{_json(name)}: {_json(value)}" for name, value in first.items()]
    for name, of_name in tensors.items():
        each = ",\n  ".join(_json(tensor) for tensor in of_name)
        fields.append(f"{_json(name)}: [\n  {each}\n]")
    return "{" + ", ".join(fields) + "}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _ground_truth(schema: Schema, target: Any) -> str:
    if schema.classes is None:
        return f"{float(target):g}"
    return schema.classes[int(target)]


def _python_for_columns(path: str, names: Sequence[str], row: Rows) -> str:
    columns = "".join(
        f'    "{name}": {value},\n' for name, value in zip(names, _values(row), strict=True)
    )
    return f"""\
import requests

URL = "http://localhost:8080{path}"
row = {{
{columns}}}
inputs = [
    {{"name": name, "shape": [1, 1], "datatype": "FP64", "data": [value]}}
    for name, value in row.items()
]
{_SEND}"""


def _python_for_picture(path: str) -> str:
    return f"""\
import base64
from pathlib import Path

import requests

URL = "http://localhost:8080{path}"
picture = base64.b64encode(Path("picture.png").read_bytes()).decode()
inputs = [{{"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [picture]}}]
{_SEND}"""


def _levels(row: Rows, picture: Picture) -> NDArray[np.uint8]:
    """Return the pixels of a row as those of a file, of shape (height, width, n_channels)."""
    black, white = np.array(picture.black), np.array(picture.white)
    shares = (row.reshape(picture.height, picture.width, -1) - black) / (white - black)
    levels: NDArray[np.uint8] = np.rint(np.clip(shares, 0, 1) * _WHITE).astype(np.uint8)
    return levels


def _numbers(levels: NDArray[np.uint8], picture: Picture) -> Rows:
    """Return the row that a runtime makes of those pixels."""
    black, white = np.array(picture.black), np.array(picture.white)
    numbers: Rows = (black + (white - black) * (levels / _WHITE)).ravel()
    return numbers


def _png(levels: NDArray[np.uint8], picture: Picture) -> bytes:
    """Return a PNG file: training does not need an imaging library for one picture."""
    colours = _PNG_COLOURS[picture.channels]
    size = struct.pack(">IIBBBBB", picture.width, picture.height, 8, colours, 0, 0, 0)
    unfiltered = b"".join(b"\0" + line.tobytes() for line in levels)
    chunks = ((b"IHDR", size), (b"IDAT", zlib.compress(unfiltered, 9)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
