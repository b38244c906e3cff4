"""The outputs of a response, each in the three forms that go over the wire.

::

    Result ──> Output ──> json      REST: the tensor as JSON
                     ├──> raw       REST in binary and gRPC: the values, little-endian
                     └──> values    MLServer's own ResponseOutput

What is the same in every response of a version - names, datatypes, class names - is written once,
when the version is opened. FP32 values are written in JSON with as many digits as FP32 has: reading
them back as FP32 gives the same number, and a reader is not shown digits that mean nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from mlserver.types import MetadataTensor, Parameters, ResponseOutput
from numpy.typing import NDArray

from abserve.schema import Schema
from runtimes.inference import Classified, Regressed, Result
from runtimes.refusals import RefusedError
from runtimes.texts import enumerate_names, shorten

LABEL = "label"
CLASS_INDEX = "class_index"
PROBABILITY = "probability"
PREDICTION = "prediction"

_NUMPY = orjson.OPT_SERIALIZE_NUMPY


class Output(ABC):
    """One output of shape (n_rows, `width`).

    Parameters
    ----------
    name, datatype : str
        As the protocol says them.
    width : int
        Values per row.
    parameters : dict, optional
        Sent with the output in every response, and in the model's metadata.
    """

    def __init__(
        self, name: str, datatype: str, width: int, parameters: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self.datatype = datatype
        self.width = width
        self.parameters = parameters
        self._json_name = b'{"name":' + orjson.dumps(name) + b',"shape":['
        self._json_type = b',%d],"datatype":"%b"' % (width, datatype.encode())
        if parameters:
            self._json_type += b',"parameters":' + orjson.dumps(parameters)
        self._json_data = self._json_type + b',"data":'

    @abstractmethod
    def data(self, result: Any) -> bytes:
        """Return the values as a JSON array, flat and in row order."""

    @abstractmethod
    def raw(self, result: Any) -> bytes:
        """Return the values as the protocol's binary form: little-endian, strings with lengths."""

    def values(self, result: Any) -> list[Any]:
        """Return the values as MLServer takes them: numbers, or bytes for strings."""
        found: list[Any] = orjson.loads(self.data(result))
        return found

    def json(self, result: Result) -> bytes:
        """Return the output as JSON, its fields in the order MLServer writes them."""
        return b"%b%d%b%b}" % (
            self._json_name,
            len(result[0]),
            self._json_data,
            self.data(result),
        )

    def json_head(self, result: Result, size_bytes: int) -> bytes:
        """Return the output as JSON without its values, which follow in `size_bytes` of binary."""
        parameters = {**(self.parameters or {}), "binary_data_size": size_bytes}
        return b'%b%d,%d],"datatype":"%b","parameters":%b}' % (
            self._json_name,
            len(result[0]),
            self.width,
            self.datatype.encode(),
            orjson.dumps(parameters),
        )

    def response_output(self, result: Result) -> ResponseOutput:
        """Return the output as MLServer's type."""
        return ResponseOutput(
            name=self.name,
            shape=[len(result[0]), self.width],
            datatype=self.datatype,
            parameters=Parameters(**self.parameters) if self.parameters else None,
            data=self.values(result),
        )

    def metadata(self) -> MetadataTensor:
        """Return what the model's metadata says of the output."""
        return MetadataTensor(
            name=self.name,
            datatype=self.datatype,
            shape=[-1, self.width],
            parameters=Parameters(**self.parameters) if self.parameters else None,
        )


class ClassNames:
    """Class names by index, as JSON strings and as binary ones."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.as_bytes = [name.encode() for name in classes]
        self._as_json = np.array([orjson.dumps(name) for name in classes], np.object_)
        raw = [len(name).to_bytes(4, "little") + name for name in self.as_bytes]
        self._as_raw = np.array(raw, np.object_)

    def json(self, indices: NDArray[np.int64] | list[int]) -> bytes:
        return b"[" + b",".join(self._as_json.take(indices).tolist()) + b"]"

    def raw(self, indices: NDArray[np.int64] | list[int]) -> bytes:
        return b"".join(self._as_raw.take(indices).tolist())


class LabelOutput(Output):
    """``label`` BYTES (n_rows, 1): the name of each row's class."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(LABEL, "BYTES", 1)
        self._names = ClassNames(classes)

    def data(self, result: Classified) -> bytes:
        return self._names.json(result.indices)

    def raw(self, result: Classified) -> bytes:
        return self._names.raw(result.indices)

    def values(self, result: Classified) -> list[Any]:
        # gRPC takes bytes only, and REST turns them into strings.
        return [self._names.as_bytes[index] for index in result.indices.tolist()]


class ClassIndexOutput(Output):
    """``class_index`` INT64 (n_rows, 1): the position of each row's class among the classes."""

    def __init__(self) -> None:
        super().__init__(CLASS_INDEX, "INT64", 1)

    def data(self, result: Classified) -> bytes:
        return orjson.dumps(np.ascontiguousarray(result.indices), option=_NUMPY)

    def raw(self, result: Classified) -> bytes:
        return result.indices.astype("<i8", copy=False).tobytes()


class ProbabilityOutput(Output):
    """``probability`` FP32 (n_rows, n_classes), its columns named in the parameter ``classes``."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(PROBABILITY, "FP32", len(classes), {"classes": list(classes)})

    def data(self, result: Classified) -> bytes:
        return orjson.dumps(np.ascontiguousarray(result.probability).ravel(), option=_NUMPY)

    def raw(self, result: Classified) -> bytes:
        return result.probability.astype("<f4", copy=False).tobytes()


class PredictionOutput(Output):
    """``prediction`` FP32 (n_rows, 1): the number predicted for each row."""

    def __init__(self) -> None:
        super().__init__(PREDICTION, "FP32", 1)

    def data(self, result: Regressed) -> bytes:
        return orjson.dumps(np.ascontiguousarray(result.prediction), option=_NUMPY)

    def raw(self, result: Regressed) -> bytes:
        return result.prediction.astype("<f4", copy=False).tobytes()


class Outputs:
    """All outputs of a version.

    Parameters
    ----------
    outputs : sequence of Output
        In the order of an answer to a request that names none.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.all = tuple(outputs)
        self._by_name = {output.name: output for output in self.all}

    def choose(self, names: Sequence[str]) -> tuple[Output, ...]:
        """Return the outputs to answer with, each once, in the order asked for.

        Raises
        ------
        RefusedError
            If one is asked for that does not exist.
        """
        if not names:
            return self.all
        try:
            return tuple(self._by_name[name] for name in dict.fromkeys(names))
        except KeyError:
            unknown = next(name for name in names if name not in self._by_name)
            raise RefusedError(
                "outputs",
                f"output {shorten(unknown)} is not known; expected "
                f"{enumerate_names(tuple(self._by_name))}",
            ) from None


def outputs_of(schema: Schema) -> Outputs:
    """Return the outputs that a model of this schema has."""
    if schema.classes is None:
        return Outputs([PredictionOutput()])
    return Outputs(
        [LabelOutput(schema.classes), ClassIndexOutput(), ProbabilityOutput(schema.classes)]
    )
