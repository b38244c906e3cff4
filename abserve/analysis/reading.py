"""From the text of an experiment file to the experiment, or to all mistakes in it with their lines.

::

    text ──> document ──> Experiment
               │ lines        │ what pydantic found wrong
               └──────────────┴──> experiment.yaml, line 7: alpha is 5; expected a number ...

What a field takes, and an example of it, are read from the JSON Schema, so that a message cannot
say anything else than the check.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from abserve.analysis.document import Document, Location, read_document
from abserve.analysis.experiment_file import HEADER_PATTERN, NAME_PATTERN, Experiment
from abserve.errors import ExperimentError

_SCHEMA = Experiment.model_json_schema()

_IN_WORDS = {
    NAME_PATTERN: "at most 63 lower-case letters, digits and '-'",
    HEADER_PATTERN: "a header's name in lower case",
}

_BOUNDS = {
    "minItems": "of at least",
    "minimum": "of at least",
    "exclusiveMinimum": "above",
    "maximum": "and at most",
    "exclusiveMaximum": "and below",
}

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "array": "a list",
    "object": "a mapping",
    # What may be empty need not be written.
    "null": "",
}


# Tags of a union, as pydantic has them in the place of a problem.
_KINDS_OF_UNIT = (("unit", "request"), ("unit", "UnitHeader"))
_DEPTH_OF_TAG = {"unit": 1, "guardrails": 2}


def read_experiment(text: str, name: str) -> Experiment:
    r"""Read an experiment.

    Parameters
    ----------
    text : str
        YAML, at most 64 KiB.
    name : str
        What to call it in messages: the file's path.

    Raises
    ------
    ExperimentError
        If it states no experiment. Each line of the message is one mistake: file and line, what
        was found, what was expected. What does not fit together is told once all fields are right
        by themselves.

    Examples
    --------
    >>> try:
    ...     read_experiment("deployment: iris\ncandidate: v2\nprimray: {}\n", "e.yaml")
    ... except ExperimentError as error:
    ...     print(str(error).splitlines()[-1])
    e.yaml, line 3: primray is no field here; did you mean primary?
    """
    document = read_document(text, name)
    mistakes = list(document.repetitions)
    experiment = None
    try:
        experiment = Experiment.model_validate(document.content)
    except ValidationError as error:
        mistakes += _mistakes(document, error)
    if mistakes or experiment is None:
        mistakes.sort(key=lambda mistake: mistake[0])
        said = (f"{name}, line {line}: {sentence}" for line, sentence in mistakes)
        raise ExperimentError("\n".join(said))
    return experiment


def _mistakes(document: Document, error: ValidationError) -> Iterator[tuple[int, str]]:
    problems = error.errors()
    for problem in problems:
        if problem["loc"] in _KINDS_OF_UNIT:
            # To be neither of them is a mistake of the field, not of the one it resembles.
            problem["loc"] = ("unit",)
    missing = {problem["loc"] for problem in problems if problem["type"] == "missing"}
    meant: dict[Location, str] = {}
    for problem in problems:
        if problem["type"] == "extra_forbidden":
            *parent, name = problem["loc"]
            fields = _schema_of(parent)["properties"]
            # What is missing comes first: it is what a misspelt field was meant to be.
            absent = [each for each in fields if (*parent, each) in missing]
            close = difflib.get_close_matches(str(name), absent) or difflib.get_close_matches(
                str(name), fields
            )
            if close:
                meant[problem["loc"]] = close[0]
    misspelt = {(*location[:-1], name) for location, name in meant.items()}
    for problem in problems:
        location = problem["loc"]
        if location in misspelt and problem["type"] == "missing":
            continue
        line = document.line(_in_file(location))
        yield line, _sentence(problem, meant.get(location))


def _sentence(problem: ErrorDetails, meant: str | None) -> str:
    location, found = problem["loc"], problem["input"]
    place = _place(location)
    match problem["type"]:
        case "fault":
            return f"{place} {problem['msg']}"
        case "extra_forbidden" | "invalid_key":
            fields = ", ".join(_schema_of(location[:-1])["properties"])
            return f"{place} is no field here; " + (
                f"did you mean {meant}?" if meant else f"expected one of {fields}: remove it"
            )
        case "union_tag_invalid" | "union_tag_not_found":
            kinds = " or ".join(_schema_of(location)["discriminator"]["mapping"])
            said = f"is {_shown(found['metric'])}" if "metric" in found else "is missing"
            return f"{place}.metric {said}; expected {kinds}"
        case "missing":
            said = "is missing"
        case _:
            said = f"is {_shown(found)}"
    return f"{place} {said}; expected {_expected(_schema_of(location))}{_example(location)}"


def _expected(schema: Mapping[str, Any]) -> str:
    """Say in words what a JSON Schema takes."""
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(schema["enum"])
    if "pattern" in schema:
        return _IN_WORDS[schema["pattern"]]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = [_expected(_resolved(each)) for each in schema[several]]
            return " or ".join(dict.fromkeys(kind for kind in kinds if kind))
    bounds = [f"{words} {schema[bound]}" for bound, words in _BOUNDS.items() if bound in schema]
    return " ".join([_KINDS[schema["type"]], *bounds])


def _schema_of(location: Location) -> dict[str, Any]:
    """Return the JSON Schema of a field; `location` as pydantic gives it, with tags of unions."""
    schema = _SCHEMA
    for part in location:
        schema = _resolved(schema)
        if isinstance(part, int):
            schema = schema["items"]
        elif "oneOf" in schema:
            mapping = schema.get("discriminator", {}).get("mapping", {})
            schema = {"$ref": mapping.get(part, f"#/$defs/{part}")}
        else:
            schema = schema["properties"][part]
    return _resolved(schema)


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    definition: dict[str, Any] = _SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    return {**definition, **schema}


def _in_file(location: Location) -> Location:
    """Leave out the tags of unions, of which the file knows nothing."""
    tag = _DEPTH_OF_TAG.get(str(location[0])) if location else None
    return [part for index, part in enumerate(location) if index != tag]


def _place(location: Location) -> str:
    place = ""
    for depth, part in enumerate(_in_file(location)):
        # On the top there is no list; an integer is then a key that is no text.
        place += f"[{part}]" if isinstance(part, int) and depth else f".{part}"
    return place.removeprefix(".") or "the file"


def _example(location: Location) -> str:
    field = location[:-1] if location and isinstance(location[-1], int) else location
    examples = _schema_of(field).get("examples")
    if not examples:
        return ""
    # A scalar ends with a mark of its own.
    value = yaml.safe_dump(examples[0], default_flow_style=True, sort_keys=False).split("\n")[0]
    return f"; write for example `{field[-1]}: {value}`"


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
            shown = repr(value)
            # In YAML 1.1 a number with an exponent needs a point and a sign.
            return f"the text {shown}" if _is_number(value) else shown
        case _:
            return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
