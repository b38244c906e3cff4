"""What a model says of itself at ``GET /v2/models/<model>``: its columns, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from abserve.errors import ScoringError

MATRIX = "features"

# The label says the same, and does not change its meaning when a version has other classes.
_LEFT_OUT = "class_index"
_TYPES = {
    "BYTES": pa.string(),
    "BOOL": pa.bool_(),
    "FP32": pa.float32(),
    "FP64": pa.float64(),
    **{f"INT{bits}": getattr(pa, f"int{bits}")() for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": getattr(pa, f"uint{bits}")() for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor of an answer, and the columns that its values become."""

    name: str
    datatype: str
    columns: tuple[str, ...]

    @property
    def type(self) -> pa.DataType:
        return _TYPES[self.datatype]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that takes a matrix of named columns.

    `categories` has, by column, the texts that stand for the numbers from 0 on.
    """

    name: str
    columns: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    outputs: tuple[Output, ...]

    @property
    def answered(self) -> list[pa.Field]:
        """The columns that an answer has, in order."""
        return [pa.field(name, each.type) for each in self.outputs for name in each.columns]


def read_model(document: Any) -> Model:
    """Read a model's metadata.

    Raises
    ------
    ScoringError
        If they do not name the columns of a matrix `features`, as those of our tabular runtimes do.
    """
    try:
        (matrix,) = document["inputs"]
        parameters = matrix["parameters"]
        if matrix["name"] != MATRIX:
            raise ValueError(f"its input is called {matrix['name']!r}")
        columns = tuple(str(each) for each in parameters["columns"])
        categories = parameters.get("categories") or {}
        return Model(
            str(document["name"]),
            columns,
            {column: tuple(texts) for column, texts in categories.items()},
            tuple(_output(each) for each in document["outputs"] if each["name"] != _LEFT_OUT),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ScoringError(
            f"the model's metadata do not say what its columns are ({error!r}); expected one input "
            f"{MATRIX!r} with the parameter 'columns', as the runtimes in runtimes.tabular and "
            "runtimes.scikit_learn state it"
        ) from error


def _output(document: Mapping[str, Any]) -> Output:
    name, datatype = str(document["name"]), str(document["datatype"])
    if datatype not in _TYPES:
        raise ValueError(f"output {name!r} has datatype {datatype!r}")
    width = int(document["shape"][1])
    classes = (document.get("parameters") or {}).get("classes")
    if width == 1 and not classes:
        return Output(name, datatype, (name,))
    names = classes or range(width)
    if len(names) != width:
        raise ValueError(f"output {name!r} is {width} wide and has {len(names)} classes")
    return Output(name, datatype, tuple(f"{name}_{each}" for each in names))
