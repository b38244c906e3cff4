"""From the text of a file to what it states, or to all mistakes in it."""

import functools
from collections.abc import Callable, Iterable
from typing import TypeVar

from pydantic import ValidationError

from abserve.stated.base import Fault, Stated
from abserve.stated.document import Kind, read_document
from abserve.stated.mistakes import find_mistakes, in_words, schema_tree

S = TypeVar("S", bound=Stated)

_schema_tree = functools.cache(schema_tree)


def _no_faults(_: Stated) -> Iterable[Fault]:
    return ()


def read_stated(
    text: str,
    name: str,
    stated: type[S],
    kind: Kind,
    faults_in_its_place: Callable[[S], Iterable[Fault]] = _no_faults,
) -> S:
    """Read what a file states.

    Parameters
    ----------
    text : str
        YAML.
    name : str
        What to call it in messages: the file's path.
    stated : type of Stated
        What it is to state.
    kind : Kind
        What to call that, and what to raise.
    faults_in_its_place : callable
        What is wrong with it only because it stands where it does.

    Raises
    ------
    AbserveError
        The kind's own, if the text does not state it. Each line of the message is one mistake: file
        and line, what was found, what was expected. What does not fit together is told once all
        fields are right by themselves.
    """
    document = read_document(text, name, kind)
    mistakes = list(document.repetitions)
    value = None
    try:
        value = stated.model_validate(document.content)
    except ValidationError as error:
        mistakes += find_mistakes(document, error, _schema_tree(stated))
    else:
        mistakes += [
            (document.line(location), f"{in_words(location)} {sentence}")
            for location, sentence in faults_in_its_place(value)
        ]
    if mistakes or value is None:
        mistakes = sorted(dict.fromkeys(mistakes), key=lambda mistake: mistake[0])
        said = (f"{name}, line {line}: {sentence}" for line, sentence in mistakes)
        raise kind.error("\n".join(said))
    return value
