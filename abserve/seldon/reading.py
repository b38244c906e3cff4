"""Pydantic's complaints in the words of our users.

Pydantic says where as a tuple and what in Python's words. A user sees a Kubernetes field path,
what stands there, what belongs there, and what to do.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from abserve.seldon.faults import Fault, FaultKind

# What was expected, and what to do about it, by pydantic's name for the fault.
_EXPECTED: Mapping[str, tuple[str, str]] = {
    "int_type": ("a whole number", "write it without quotes, decimals or units"),
    "string_type": ("a string", "put it in quotes"),
    "bool_type": ("true or false", "write one of the two without quotes"),
    "tuple_type": ("a list", "begin each entry with '- '"),
    "mapping_type": ("an object", "write fields below it"),
    "dict_type": ("an object", "write fields below it"),
    "model_type": ("an object", "write fields below it"),
    "int_or_string_type": ("a whole number or a string", 'write 1, or "50%"'),
    "invalid_key": ("field names that are strings", "put the name in quotes"),
    "null": ("a value", "leave the field out instead"),
}


def fault_of(error: ErrorDetails, root: type[BaseModel]) -> Fault:
    """Return what pydantic found in `root`'s input as a fault."""
    location, found, name = error["loc"], error["input"], error["type"]
    field = _follow(location, root)[0] or "the document"
    kind: FaultKind = "FieldValueInvalid"
    if name == "missing":
        kind = "FieldValueRequired"
        message = "found nothing, expected a value; add the field"
    elif name == "extra_forbidden":
        kind = "FieldValueForbidden"
        message = _unknown(str(location[-1]), _follow(location[:-1], root)[1])
    elif name == "literal_error":
        kind = "FieldValueNotSupported"
        expected = error["ctx"]["expected"].strip("'")
        message = f"found {shown(found)}, expected {expected}; change it"
    elif name in _EXPECTED:
        kind = "FieldValueTypeInvalid"
        expected, remedy = _EXPECTED[name]
        message = f"found {shown(found)}, expected {expected}; {remedy}"
    elif name in {"greater_than_equal", "less_than_equal"}:
        bound = "at least" if name.startswith("greater") else "at most"
        limit = next(iter(error["ctx"].values()))
        message = f"found {shown(found)}, expected {bound} {limit}; change it"
    else:
        message = f"found {shown(found)}: {error['msg']}; change it"
    return Fault(field, message, kind)


def shown(value: Any) -> str:
    """Return a JSON value as a reader of YAML would name it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return repr(value)
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return str(value)


def _unknown(name: str, model: type[BaseModel] | None) -> str:
    known = [str(field.alias) for field in model.model_fields.values()] if model else []
    close = get_close_matches(name, known, n=1)
    remedy = f"did you mean {close[0]}?" if close else "remove it"
    return f"found {name!r}, expected one of {', '.join(sorted(known))}; {remedy}"


def _follow(
    location: Sequence[int | str], root: type[BaseModel]
) -> tuple[str, type[BaseModel] | None]:
    """Return a location as Kubernetes writes it, and the model that stands there, if one does."""
    path = ""
    within: type[BaseModel] | None = root
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif within is None:
            # Below a free-form map: Kubernetes writes metadata.labels[team], not labels.team.
            path += "" if step == "[key]" else f"[{step}]"
        else:
            path += f".{step}" if path else step
            fields = within.model_fields.values()
            within = next(
                (_model_in(each.annotation) for each in fields if each.alias == step), None
            )
    return path, within


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation such as ``Model | None`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for each in get_args(annotation) if (model := _model_in(each))), None)
