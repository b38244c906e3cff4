"""Fields that are misspelt, or written twice: refused, told or dropped, as the client asks.

=========== ============================ ==================
asked for   a field nobody knows         a field twice
=========== ============================ ==================
``Strict``  refused                      refused
``Warn``    refused                      a warning
``Ignore``  dropped without a word       the last counts
=========== ============================ ==================

kubectl asks for ``Strict``. ``Warn`` is what a client gets that says nothing; Kubernetes would drop
the field and send a warning that few clients show. A weight that is dropped costs somebody a day,
so here it is refused.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from abserve.cluster.api.kinds import Kind
from abserve.cluster.api.options import FieldValidation
from abserve.cluster.api.schemas import MODELS
from abserve.cluster.api.schemas.base import ObjectMeta
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.store import Document
from abserve.seldon.reading import fault_of

# Nobody reads more of them at once.
_MOST_TOLD = 20


def validate_fields(
    kind: Kind, document: Document, repeated: Sequence[str], validation: FieldValidation
) -> tuple[Document, Sequence[str]]:
    """Return the document, without what is ignored, and warnings for whoever sent it.

    Parameters
    ----------
    repeated : sequence of str
        The fields that were written more than once.

    Raises
    ------
    ApiError
        400, with every fault, if the document is refused.
    """
    unknown = list(_unknown_fields(kind, document))
    if validation == "Ignore":
        return _without(document, [location for location, _ in unknown]), ()
    twice = [f'duplicate field "{field}"' for field in repeated]
    faults = [text for _, text in unknown] + (twice if validation == "Strict" else [])
    if faults:
        raise ApiError(
            400,
            f'{kind.name} in version "v1" cannot be handled as a {kind.name}: '
            f"strict decoding error: {', '.join(_first(faults))}",
        )
    return document, _first(twice)


def _first(texts: Sequence[str]) -> Sequence[str]:
    n_left = len(texts) - _MOST_TOLD
    return texts if n_left <= 0 else [*texts[:_MOST_TOLD], f"and {n_left} more"]


def _unknown_fields(kind: Kind, document: Document) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Yield where each field stands that nobody knows, and what is to be said of it."""
    told = set()
    for above, model in (((), MODELS[kind]), (("metadata",), ObjectMeta)):
        part = document.get("metadata") if above else document
        for error in _errors(model, part):
            location = (*above, *error["loc"])
            if error["type"] == "extra_forbidden" and location not in told:
                told.add(location)
                fault = fault_of(error, model)
                path = ".".join((*above, fault.field))
                yield location, f'unknown field "{path}" ({fault.message})'


def _errors(model: type[BaseModel], value: Any) -> list[ErrorDetails]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _without(document: Document, locations: Sequence[tuple[int | str, ...]]) -> Document:
    kept = copy.deepcopy(document)
    for location in locations:
        below: Any = kept
        for step in location[:-1]:
            below = below[step]
        del below[location[-1]]
    return kept
