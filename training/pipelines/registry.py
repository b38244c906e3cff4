"""Pipelines by the name under which a definition asks for them."""

from collections.abc import Callable
from importlib import import_module
from typing import TypeVar

from abserve.errors import DefinitionError
from training.pipelines.base import Pipeline

_PIPELINES: dict[str, type[Pipeline]] = {}

_Kind = TypeVar("_Kind", bound=type[Pipeline])


def register(name: str) -> Callable[[_Kind], _Kind]:
    """Return a class decorator: definitions may ask for the pipeline by `name`.

    Raises
    ------
    ValueError
        If another class has that name.
    """

    def registered(kind: _Kind) -> _Kind:
        known = _PIPELINES.setdefault(name, kind)
        if known is not kind:
            raise ValueError(f"pipeline {name!r} is {known.__qualname__} already; choose another")
        return kind

    return registered


def find_pipeline(name: str) -> type[Pipeline]:
    """Return the pipeline of that name, or with that import path.

    Raises
    ------
    DefinitionError
        If no pipeline has that name, or the path leads to none.
    """
    if name in _PIPELINES:
        return _PIPELINES[name]
    module, _, attribute = name.rpartition(".")
    if not module:
        raise DefinitionError(
            f"pipeline is {name!r}, expected {', '.join(sorted(_PIPELINES))}, or the import path "
            "of a class of your own"
        )
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise DefinitionError(
            f"pipeline {name!r} cannot be imported ({error}); correct the path, or install what "
            "it lies in"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Pipeline)):
        raise DefinitionError(
            f"pipeline {name!r} is no pipeline; expected a class derived from "
            "training.pipelines.Pipeline"
        )
    return found
