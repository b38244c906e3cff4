"""A model definition: the file of ``models/`` that says what to train.

Reading one either gives a `Definition` in which everything fits together, down to the parameters
that scikit-learn will accept, or one `DefinitionError` that names the file and the line.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from abserve.errors import DefinitionError
from abserve.names import check_model_name, is_version_name
from abserve.schema import Feature, Value
from training.estimators import accepted_parameters, find_classifier, short_list
from training.lines import Document, read_document


class Data(Value):
    """Where the rows come from: a real data set that scikit-learn carries with it."""

    source: Literal["sklearn"]
    name: Literal["iris", "wine", "breast_cancer"]


class Split(Value):
    """Which rows fitting never sees: a fraction of every class, chosen by a seed."""

    held_out: Annotated[float, Field(gt=0, lt=1, strict=True)]
    seed: Annotated[StrictInt, Field(ge=0, lt=2**32)]


class Estimator(Value):
    """The classifier that a version is fitted with.

    `scale` standardises every feature first; `parameters` are those that differ from the
    classifier's defaults.
    """

    estimator: str
    scale: StrictBool
    parameters: Mapping[str, JsonValue] = {}

    @property
    def name(self) -> str:
        """The class's name, without the modules it lies in."""
        return self.estimator.rpartition(".")[2]

    @field_validator("estimator")
    @classmethod
    def _is_a_classifier(cls, path: str) -> str:
        find_classifier(path)
        return path

    @model_validator(mode="after")
    def _parameters_are_accepted(self) -> Self:
        accepted = accepted_parameters(find_classifier(self.estimator))
        for name, value in self.parameters.items():
            if name not in accepted:
                raise PydanticCustomError(
                    "parameter",
                    "{name} is no parameter of {estimator}; it accepts {accepted}: "
                    "correct or remove it",
                    {
                        "name": name,
                        "estimator": self.name,
                        "accepted": short_list(accepted, name),
                    },
                )
            if isinstance(value, str) and _is_number(value):
                # In YAML 1.1 a number with an exponent needs a point and a sign.
                raise PydanticCustomError(
                    "parameter",
                    "{name} is the text {value}, expected a number; write it as {number}",
                    {"name": name, "value": repr(value), "number": f"{float(value)!r}"},
                )
        return self


class Definition(Value):
    """What to train: data, features, the split, and an estimator for each version."""

    model: str
    description: Annotated[str, Field(min_length=1)]
    data: Data
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    split: Split
    versions: Annotated[Mapping[str, Estimator], Field(min_length=1)]

    @field_validator("features")
    @classmethod
    def _names_are_unique(cls, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
        names = [feature.name for feature in features]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"names {name!r} twice, expected each feature once")
        return features

    @field_validator("versions")
    @classmethod
    def _versions_are_versions(cls, versions: Mapping[str, Estimator]) -> Mapping[str, Estimator]:
        for name in versions:
            if not is_version_name(name):
                raise PydanticCustomError(
                    "version",
                    "{name} is no version; expected v1, v2, v3 and so on: rename it",
                    {"name": name},
                )
        return versions

    def estimator(self, version: str) -> Estimator:
        """Return what `version` is fitted with.

        Raises
        ------
        DefinitionError
            If the definition does not describe that version.
        """
        try:
            return self.versions[version]
        except KeyError:
            described = ", ".join(self.versions)
            raise DefinitionError(
                f"the definition of {self.model} describes {described}, not {version!r}; "
                "train one of those, or describe it under versions"
            ) from None


# What belongs where, and an example to copy. `*` stands for an index or a version.
_EXPECTED: dict[tuple[str, ...], tuple[str, str]] = {
    (): ("a mapping that describes a model", "model: iris"),
    ("model",): ("the file's name without .yaml", "model: iris"),
    ("description",): ("a sentence", "description: Tells three species apart."),
    ("data",): ("a source and a name", "data: {source: sklearn, name: iris}"),
    ("data", "source"): ("sklearn", "source: sklearn"),
    ("data", "name"): ("iris, wine or breast_cancer", "name: iris"),
    ("features",): ("a list, one entry for each column", "features: [{name: width_cm}]"),
    ("features", "*"): ("a name and, if need be, bounds", "- {name: width_cm, minimum: 0}"),
    ("features", "*", "name"): (
        "lower-case letters, digits and '_', beginning with a letter",
        "name: width_cm",
    ),
    ("features", "*", "minimum"): ("a finite number", "minimum: 0.5"),
    ("features", "*", "maximum"): ("a finite number", "maximum: 9.0"),
    ("features", "*", "outside"): (
        "count or refuse: what becomes of a value beyond the bounds",
        "outside: count",
    ),
    ("features", "*", "missing"): (
        "allow or refuse: whether a value may be absent",
        "missing: refuse",
    ),
    ("split",): ("what to hold out, and a seed", "split: {held_out: 0.3, seed: 7}"),
    ("split", "held_out"): ("a fraction of the rows between 0 and 1", "held_out: 0.3"),
    ("split", "seed"): ("a whole number from 0 to 4294967295", "seed: 7"),
    ("versions",): (
        "an estimator for each of v1, v2 and so on",
        "v1: {estimator: sklearn.tree.DecisionTreeClassifier, scale: false}",
    ),
    ("versions", "*"): (
        "an estimator",
        "v1: {estimator: sklearn.tree.DecisionTreeClassifier, scale: false}",
    ),
    ("versions", "*", "estimator"): (
        "a classifier of scikit-learn, by its import path",
        "estimator: sklearn.tree.DecisionTreeClassifier",
    ),
    ("versions", "*", "scale"): ("true or false", "scale: true"),
    ("versions", "*", "parameters"): (
        "parameters of the estimator by name",
        "parameters: {max_depth: 2}",
    ),
    ("versions", "*", "parameters", "*"): (
        "a number, a text, true, false, null, or a list or mapping of them",
        "max_depth: 2",
    ),
}


def read_definition(folder: Path, model: str) -> Definition:
    """Read what to train for a model.

    Parameters
    ----------
    folder : Path
        The folder of definitions, ``models/``.
    model : str
        The model's name; its definition is ``<model>.yaml``.

    Raises
    ------
    DefinitionError
        If there is no such definition, or it is not one that can be trained. The message names
        the file and the line, what was found, what was expected, and what to do.
    """
    check_model_name(model, DefinitionError)
    path = folder / f"{model}.yaml"
    if not path.is_file():
        raise DefinitionError(_missing(folder, path))
    document = read_document(path)
    try:
        definition = Definition.model_validate(document.content)
    except ValidationError as error:
        raise DefinitionError(_first_problem(document, error)) from error
    if definition.model != model:
        raise DefinitionError(
            f"{path}, line {document.line(['model'])}: model is {definition.model!r}, expected "
            f"{model!r}, the file's name; change the one or rename the other"
        )
    return definition


def _missing(folder: Path, path: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}; expected the folder of model definitions"
    others = sorted(other.stem for other in folder.glob("*.yaml"))
    return (
        f"{path} does not exist; {folder} defines {', '.join(others) or 'no model'}: "
        "name one that is defined, or write the file"
    )


def _first_problem(document: Document, error: ValidationError) -> str:
    """Return the first problem as one sentence, and how many follow it.

    A misspelt field is also a missing one: what is there and wrong comes before what is absent.
    """
    problems = error.errors()
    first = min(
        problems,
        key=lambda problem: (
            problem["type"] == "missing",
            document.line(_location(document, problem)),
        ),
    )
    location = _location(document, first)
    rest = len(problems) - 1
    more = f" ({rest} more after this)" if rest else ""
    return f"{document.path}, line {document.line(location)}: {_sentence(first, location)}{more}"


def _location(document: Document, problem: ErrorDetails) -> tuple[str | int, ...]:
    """Return where in the file a problem lies.

    pydantic's own `loc` ends early where a validator of ours complains, and goes on after the
    file's last key with names of the types it tried.
    """
    location = problem["loc"]
    match problem["type"]:
        case "parameter":
            return (*location, "parameters", problem["ctx"]["name"])
        case "version":
            return (*location, problem["ctx"]["name"])
        case "missing":
            return location
    while not document.holds(location):
        location = location[:-1]
    return location


def _sentence(problem: ErrorDetails, location: Sequence[str | int]) -> str:
    place = _place(location)
    if problem["type"] == "invalid_key" or problem["loc"][-1:] == ("[key]",):
        return (
            f"{_place(location[:-1])} has the key {_shown(location[-1])}, which YAML reads as "
            "no text; expected a name: rename it, or put it in quotes"
        )
    match problem["type"]:
        case "parameter" | "version":
            return f"{_place(location[:-1])}.{problem['msg']}"
        case "extra_forbidden":
            accepted = [key[-1] for key in _EXPECTED if key[:-1] == _key(location[:-1]) and key]
            return (
                f"{place} is no field of a model definition; "
                f"expected {short_list(accepted, str(location[-1]))}: correct or remove it"
            )
    # Below the known places lie only a parameter's own lists and mappings.
    known = _key(location)
    while known not in _EXPECTED:
        known = known[:-1]
    expected, example = _EXPECTED[known]
    match problem["type"]:
        case "value_error":
            found = str(problem["ctx"]["error"])
        case "missing":
            found = f"is missing; expected {expected}"
        case _:
            found = f"is {_shown(problem['input'])}; expected {expected}"
    return f"{place} {found}; write for example `{example}`"


def _key(location: Sequence[str | int]) -> tuple[str, ...]:
    free = {("features", 1), ("versions", 1), ("versions", 3)}
    return tuple(
        "*" if (location[0], depth) in free else str(part) for depth, part in enumerate(location)
    )


def _place(location: Sequence[str | int]) -> str:
    place = ""
    for part in location:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    return place.removeprefix(".") or "the file"


def _shown(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case Mapping():
            return "a mapping" if value else "an empty mapping"
        case list():
            return "a list" if value else "an empty list"
        case str():
            return repr(value)
        case _:
            return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return any(character.isdigit() for character in text)
