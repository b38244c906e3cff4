"""How MLServer serves a version: the files of ``model-settings/``, completed.

``<model>.json`` says which runtime serves a model, ``settings.json`` how the server behaves around
it. Training adds what only the version knows: which file is loaded, its name, and its tensors. For
a model that ONNX cannot express it puts the scikit-learn runtime in the place of those for tables.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError

from abserve.artifacts import MODEL_ONNX, MODEL_SETTINGS, MODEL_SKOPS, SETTINGS, to_json
from abserve.errors import DefinitionError, TrainingError
from abserve.schema import Schema, Value

TABULAR_CLASSIFIER = "runtimes.tabular.TabularClassifier"
TABULAR_REGRESSOR = "runtimes.tabular.TabularRegressor"
IMAGE = "runtimes.image.ImageClassifier"
SKLEARN = "runtimes.scikit_learn.SklearnRuntime"

_TABULAR = (TABULAR_CLASSIFIER, TABULAR_REGRESSOR)
# As many classes as the image runtime names unless its settings say otherwise.
_USUAL_TOP_K = 5

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

    def check(self, schema: Schema) -> None:
        """Refuse a runtime of ours that would not load what is to be trained.

        Raises
        ------
        DefinitionError
            If the implementation is for another kind of model, or `SKLEARN`, which training chooses
            itself where it is needed. Implementations of others are taken at their word.
        """
        found = self.model_settings.implementation
        classifies = schema.classes is not None
        serves = {
            TABULAR_CLASSIFIER: classifies,
            TABULAR_REGRESSOR: not classifies,
            IMAGE: classifies and schema.picture is not None,
            SKLEARN: False,
        }
        if not serves.get(found, True):
            fitting = " or ".join(name for name, fits in serves.items() if fits)
            why = (
                "which training itself puts where ONNX cannot do"
                if found == SKLEARN
                else (f"which does not serve a {_kind(schema)}")
            )
            raise DefinitionError(
                f"the model settings of {self.model_settings.name} name {found}, {why}; "
                f"name {fitting}"
            )

    def complete(
        self, version: str, schema: Schema, served: Literal["onnx", "skops"]
    ) -> dict[str, bytes]:
        """Return the two files of one version, by their names in the version's folder.

        Parameters
        ----------
        version : str
            Its name.
        schema : Schema
            What goes into its model and what comes out.
        served : str
            What is loaded: `MODEL_ONNX`, or `MODEL_SKOPS`, which the scikit-learn runtime serves.

        Raises
        ------
        DefinitionError
            As `check` does.
        TrainingError
            If only the skops file can be served, and the implementation is none that it can take
            the place of.
        """
        self.check(schema)
        given = self.model_settings.model_dump(mode="json", exclude_unset=True)
        file, platform = MODEL_ONNX, "onnxruntime_onnx"
        if served == "skops":
            file, platform = MODEL_SKOPS, "scikit-learn_skops"
            given["implementation"] = self._of_skops()
        parameters = given.get("parameters", {})
        pictures = schema.picture is not None and self.model_settings.implementation not in _TABULAR
        completed = {
            **given,
            "platform": platform,
            "parameters": {**parameters, "uri": f"./{file}", "version": version},
            "inputs": [
                _tensor("image", "BYTES", 1)
                if pictures
                else _tensor("features", "FP64", len(schema.features))
            ],
            "outputs": _outputs(schema),
        }
        if pictures and schema.classes is not None:
            k = parameters.get("extra", {}).get("top_k", min(_USUAL_TOP_K, len(schema.classes)))
            completed["outputs"] += [
                _tensor("top_label", "BYTES", k),
                _tensor("top_probability", "FP32", k),
            ]
        return {MODEL_SETTINGS: to_json(completed), SETTINGS: to_json(dict(self.settings))}

    def _of_skops(self) -> str:
        implementation = self.model_settings.implementation
        if implementation not in _TABULAR:
            raise TrainingError(
                f"ONNX cannot express this estimator, and {implementation}, which the model "
                f"settings name, is not one that {SKLEARN} can take the place of; train an "
                f"estimator that ONNX can express, or name one of {' and '.join(_TABULAR)}"
            )
        return SKLEARN


def _kind(schema: Schema) -> str:
    if schema.classes is None:
        return "regressor"
    return "classifier of columns" if schema.picture is None else "classifier of pictures"


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
