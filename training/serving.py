"""How MLServer serves a version: the files of ``model-settings/``, completed.

``<model>.json`` says which runtime serves a model, ``settings.json`` how the server behaves around
it. Training adds what only the version knows: where its file lies, its name, and its tensors.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue, ValidationError

from abserve.artifacts import MODEL_ONNX, MODEL_SETTINGS, SETTINGS, to_json
from abserve.errors import DefinitionError
from abserve.schema import Schema, Value

# MLServer ignores a field that it does not know, so a misspelt one would pass in silence: only
# what is named here does. Fields that training writes are left out on purpose.


class Parameters(Value):
    """What a runtime is told beside the model itself."""

    extra: Mapping[str, JsonValue] = {}


class ModelSettings(Value):
    """What a file of ``model-settings/`` may say, in the words of MLServer's `ModelSettings`."""

    name: str
    implementation: Annotated[str, Field(pattern=r"^\w+(\.\w+)+$")]
    parameters: Parameters = Parameters()


@dataclass(frozen=True, slots=True)
class Serving:
    """The two files as they are written for every version."""

    model_settings: ModelSettings
    settings: Mapping[str, Any]

    def complete(self, version: str, schema: Schema) -> dict[str, bytes]:
        """Return the two files of one version, by their names in the version's folder."""
        given = self.model_settings.model_dump(mode="json", exclude_unset=True)
        completed = {
            **given,
            "platform": "onnxruntime_onnx",
            "parameters": {
                **given.get("parameters", {}),
                "uri": f"./{MODEL_ONNX}",
                "version": version,
            },
            "inputs": [_tensor("features", "FP64", len(schema.features))],
            "outputs": _outputs(schema),
        }
        return {MODEL_SETTINGS: to_json(completed), SETTINGS: to_json(dict(self.settings))}


def _outputs(schema: Schema) -> list[dict[str, Any]]:
    if schema.classes is None:
        return [_tensor("prediction", "FP32", 1)]
    return [
        _tensor("label", "BYTES", 1),
        _tensor("class_index", "INT64", 1),
        _tensor("probability", "FP32", len(schema.classes)),
    ]


def read_serving(folder: Path, model: str) -> Serving:
    """Read how `model` is served.

    Parameters
    ----------
    folder : Path
        The folder ``model-settings/``.

    Raises
    ------
    DefinitionError
        If one of the two files is missing or no JSON object, or the model's own has fields it
        may not have or names another model.
    """
    path = folder / f"{model}.json"
    found = _read_object(path)
    try:
        model_settings = ModelSettings.model_validate(found)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise DefinitionError(
            f"{path}: {where}: {problem['msg']}; expected the name, the implementation and, if "
            "need be, parameters.extra; training writes the rest"
        ) from error
    if model_settings.name != model:
        raise DefinitionError(
            f"{path}: name is {model_settings.name!r}, expected {model!r}, the file's name; "
            "change the one or rename the other"
        )
    return Serving(model_settings, _read_object(folder / SETTINGS))


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DefinitionError(
            f"{path} cannot be read ({error.strerror}); expected how MLServer serves the model: "
            "write the file, beginning with a copy of another model's"
        ) from error
    except json.JSONDecodeError as error:
        raise DefinitionError(
            f"{path}, line {error.lineno}: this is not JSON: {error.msg}; mend that line"
        ) from error
    except ValueError as error:
        raise DefinitionError(f"{path} is not JSON: {error}; write it as UTF-8 text") from error
    if not isinstance(found, dict):
        raise DefinitionError(f"{path} is no JSON object; expected {{...}} with named fields")
    return found


def _tensor(name: str, datatype: str, width: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1, width]}
