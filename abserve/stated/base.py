"""What the parts of a file descend from that people write."""

import json
from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

FAULT = "fault"
"""The type that pydantic gives to a problem between fields."""

ERROR_MESSAGE = "errorMessage"

Location = tuple[str | int, ...]
"""Keys and indices, from the value outside of all."""

Fault = tuple[Location, str]
"""A field, and what is wrong with it: a sentence without its subject."""


class Stated(BaseModel):
    """A part of a file: what it does not know it refuses, and a text is no number.

    Lists are what YAML and JSON have, and a tuple cannot be changed: a field that holds several
    values is a tuple with ``strict=False``. A union of more than one says by what its branches are
    told from each other, and tags each with the name of its class or its type in JSON.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        faults = [
            InitErrorDetails(
                # Braces in the sentence are no places to fill.
                type=PydanticCustomError(FAULT, "{sentence}", {"sentence": sentence}),
                loc=location,
                input=None,
            )
            for location, sentence in self._faults()
        ]
        if faults:
            raise ValidationError.from_exception_data(type(self).__name__, faults)
        return self

    def _faults(self) -> Iterable[Fault]:
        """Yield what is wrong between fields that are right by themselves."""
        return ()


def expects(words: str) -> dict[str, JsonValue]:
    """Return what to add to a field's JSON Schema that says in words what the field takes.

    Messages say it after "expected", and editors show it.
    """
    return {ERROR_MESSAGE: words}


def schema_text(stated: type[Stated]) -> str:
    """Return the JSON Schema of a file as it is shipped, for editors."""
    # The newest draft that editors' YAML servers know; what pydantic writes here is valid in it.
    draft = "http://json-schema.org/draft-07/schema#"
    return json.dumps({"$schema": draft, **stated.model_json_schema()}, indent=2) + "\n"
