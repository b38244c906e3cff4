"""What pydantic found wrong with a file, as sentences that people can act on.

A problem's location, as pydantic has it, goes through the value: after a union comes which of its
branches was tried, and within JSON of any kind how it was read. The file knows nothing of that. So
the location is walked along the JSON Schema, which tells fields from branches, and says what
belongs there.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from abserve.stated.base import ERROR_MESSAGE, FAULT, Location, Stated
from abserve.stated.document import Document

Schema = Mapping[str, Any]
"""A JSON Schema."""

_BOUNDS = {
    "minItems": "of at least",
    "minimum": "of at least",
    "exclusiveMinimum": "above",
    "maximum": "and at most",
    "exclusiveMaximum": "and below",
}

_KINDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "array": "a list",
    "object": "a mapping",
}

# What pydantic puts after a mapping's key when it is the key that is wrong.
_KEY = "[key]"
_TAG_PROBLEMS = ("union_tag_invalid", "union_tag_not_found")

_ANYTHING = "a number, a text, true, false, null, or a list or mapping of them"
_MOST_SHOWN = 100
_MOST_BITS = 256
_NO_WRAPPING = 10_000


@dataclass(frozen=True, slots=True)
class _Problem:
    """Something wrong, its place, and the JSON Schemas of what belongs there and around it."""

    type: str
    message: str
    found: Any
    location: Location
    schema: Schema
    around: Schema

    @property
    def place(self) -> str:
        return in_words(self.location)


def in_words(location: Location) -> str:
    """Return a place in a file as people write it: ``guardrails[1].margin``."""
    words = ""
    for part in location:
        words += f"[{part}]" if isinstance(part, int) else f".{part}"
    return words.removeprefix(".") or "the file"


def schema_tree(stated: type[Stated]) -> Schema:
    """Return the JSON Schema of a file without references, and without what may be empty.

    What may be empty need not be written, so no message speaks of it.
    """
    schema = stated.model_json_schema()
    tree: Schema = _as_tree(schema, schema.get("$defs", {}))
    return tree


def find_mistakes(
    document: Document, error: ValidationError, schema: Schema
) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with a document: the line, from 1, and a sentence.

    Parameters
    ----------
    document : Document
        What was read.
    error : ValidationError
        What pydantic says of its content.
    schema : mapping
        The `schema_tree` of what it is to state.
    """
    problems = [_problem(details, schema) for details in error.errors(include_url=False)]
    missing = {problem.location for problem in problems if problem.type == "missing"}
    meant = {
        problem.location: close
        for problem in problems
        if problem.type == "extra_forbidden" and (close := _meant(problem, missing))
    }
    misspelt = {(*location[:-1], name) for location, name in meant.items()}
    within = {
        problem.location[:depth] for problem in problems for depth in range(len(problem.location))
    }
    for problem in problems:
        if problem.type == "missing" and problem.location in misspelt:
            continue
        # To pydantic a list is short of those items that are wrong.
        if problem.type == "too_short" and problem.location in within:
            continue
        yield document.line(problem.location), _sentence(problem, meant.get(problem.location))


def _as_tree(schema: Any, definitions: Schema) -> Any:
    if isinstance(schema, list):
        return [_as_tree(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        referred = definitions[schema["$ref"].rpartition("/")[2]]
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _as_tree({**referred, **rest}, definitions)
    tree = {key: _as_tree(value, definitions) for key, value in schema.items() if key != "$defs"}
    branches = [branch for branch in tree.get("anyOf", ()) if branch.get("type") != "null"]
    if len(branches) == 1:
        return {**branches[0], **{key: value for key, value in tree.items() if key != "anyOf"}}
    return {**tree, "anyOf": branches} if branches else tree


def _problem(details: ErrorDetails, schema: Schema) -> _Problem:
    kind, path = details["type"], details["loc"]
    if path[-1:] == (_KEY,):
        kind, path = _KEY, path[:-1]
    around: Schema = {}
    union: Schema | None = None
    location: list[str | int] = []
    for part in path:
        branch = _branch(schema, part)
        if branch is not None:
            union, schema = schema, branch
            continue
        child = _child(schema, part)
        if child is None:
            break
        # A key may be a number too.
        location.append(part if schema.get("type") == "array" else str(part))
        around, schema, union = schema, child, None
    if kind in _TAG_PROBLEMS:
        location.append(schema["discriminator"]["propertyName"])
    return _Problem(
        type=kind,
        message=details["msg"],
        found=details["input"],
        location=tuple(location),
        # What is not the branch that it resembles most may be meant to be any of them.
        schema=schema if union is None else union,
        around=around,
    )


def _branch(schema: Schema, part: str | int) -> Schema | None:
    """Return the branch of a union that `part` stands for, or None if it is a part of the file."""
    branches = _branches(schema)
    title = schema.get("discriminator", {}).get("mapping", {}).get(part, str(part))
    for branch in branches:
        if title.rpartition("/")[2] in (branch.get("title"), branch.get("type")):
            return branch
    # What we find wrong ourselves names the field alone.
    return {} if branches and _child(schema, part) is None else None


def _child(schema: Schema, part: str | int) -> Schema | None:
    """Return what belongs at a key or an index, if any can be there."""
    child: Schema
    for each in (schema, *_branches(schema)):
        if part in each.get("properties", {}):
            child = each["properties"][part]
            return child
    match schema.get("type"):
        case "array" if isinstance(part, int):
            child = schema.get("items", {})
            return child
        case "object":
            named = schema.get("patternProperties") or {"": schema.get("additionalProperties")}
            child = next(iter(named.values())) or {}
            return child
    return None


def _branches(schema: Schema) -> Sequence[Schema]:
    branches: Sequence[Schema] = schema.get("oneOf", schema.get("anyOf", ()))
    return branches


def _meant(problem: _Problem, missing: Collection[Location]) -> str | None:
    """Return the field that a superfluous one resembles."""
    *parent, name = problem.location
    fields = problem.around["properties"]
    # What is missing comes first: it is what a misspelt field was meant to be.
    absent = [field for field in fields if (*parent, field) in missing]
    close = difflib.get_close_matches(str(name), absent) or difflib.get_close_matches(
        str(name), fields
    )
    return close[0] if close else None


def _sentence(problem: _Problem, meant: str | None) -> str:
    match problem.type:
        case kind if kind == FAULT:
            return f"{problem.place} {problem.message}"
        case "extra_forbidden" | "invalid_key":
            fields = ", ".join(problem.around["properties"])
            return f"{problem.place} is no field here; " + (
                f"did you mean {meant}?" if meant else f"expected one of {fields}: remove it"
            )
        case kind if kind == _KEY:
            names = problem.around.get("propertyNames", {"type": "string"})
            return f"{problem.place} is no name here; expected {_expected(names)}: rename it"
        case kind if kind in _TAG_PROBLEMS:
            tag, kinds = problem.location[-1], problem.schema["discriminator"]["mapping"]
            said = f"is {_shown(problem.found[tag])}" if tag in problem.found else "is missing"
            return f"{problem.place} {said}; expected {' or '.join(kinds)}"
        case "missing":
            said = "is missing"
        case "too_short" if problem.found:
            said = f"has {len(problem.found)}"
        case _:
            said = f"is {_shown(problem.found)}"
    return f"{problem.place} {said}; expected {_expected(problem.schema)}{_example(problem)}"


def _expected(schema: Schema) -> str:
    """Say in words what a JSON Schema takes."""
    if ERROR_MESSAGE in schema:
        return str(schema[ERROR_MESSAGE])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(schema["enum"])
    if branches := _branches(schema):
        return " or ".join(dict.fromkeys(_expected(branch) for branch in branches))
    if "type" not in schema:
        return _ANYTHING
    bounds = [f"{words} {schema[bound]}" for bound, words in _BOUNDS.items() if bound in schema]
    return " ".join([_KINDS[schema["type"]], *bounds])


def _example(problem: _Problem) -> str:
    location, schema = problem.location, problem.schema
    if location and isinstance(location[-1], int):
        location, schema = location[:-1], problem.around
    if not (location and "examples" in schema):
        return ""
    # A scalar ends with a mark of its own.
    value = yaml.safe_dump(
        schema["examples"][0], default_flow_style=True, sort_keys=False, width=_NO_WRAPPING
    )
    return f"; write for example `{location[-1]}: {value.splitlines()[0]}`"


def _shown(value: Any) -> str:
    match value:
        case None:
            shown = "empty"
        case bool():
            shown = str(value).lower()
        case Mapping():
            shown = "a mapping" if value else "an empty mapping"
        case list():
            shown = "a list" if value else "an empty list"
        case str():
            shown = repr(value if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]}...")
            # In YAML 1.1 a number with an exponent needs a point and a sign.
            shown = f"the text {shown}" if is_number(value) else shown
        case int() if value.bit_length() > _MOST_BITS:
            # Python refuses to write thousands of digits.
            shown = "a number of very many digits"
        case _:
            shown = str(value)
    return shown


def is_number(text: str) -> bool:
    """Tell whether a text is a number that YAML 1.1 does not take for one, as ``1e-3``."""
    try:
        float(text)
    except ValueError:
        return False
    return any(character.isdigit() for character in text)
