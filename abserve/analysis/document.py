"""YAML with the line of everything in it, so that a mistake can be shown where it stands.

A document is a tree: aliases, with which a few lines can stand for millions of values, are refused.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from abserve.errors import ExperimentError

MOST_BYTES = 64 * 1024

_MEND = "mend that line: entries indented alike, by spaces, and a space after each colon"

Location = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML text says, and where.

    Parameters
    ----------
    content : Any
        Mappings, lists and scalars.
    repetitions : tuple of (int, str)
        Keys that are given once more, of which YAML silently takes the last: line and sentence.
    """

    content: Any
    repetitions: tuple[tuple[int, str], ...]
    _root: yaml.Node

    def line(self, location: Location) -> int:
        """Return the line, from 1, of a value or of the nearest thing around it that exists."""
        node, line = self._root, self._root.start_mark.line
        for part in location:
            child = _child(node, part)
            if child is None:
                break
            line, node = child
        return int(line) + 1


def read_document(text: str, name: str) -> Document:
    """Read a YAML text of one document.

    Parameters
    ----------
    text : str
        At most 64 KiB.
    name : str
        What to call it in messages: the file's path.

    Raises
    ------
    ExperimentError
        If it is empty, too long or no YAML. The message begins with the name and the line.
    """
    if len(text.encode(errors="replace")) > MOST_BYTES:
        raise ExperimentError(
            f"{name} is longer than {MOST_BYTES} bytes; expected an experiment, which takes one "
            "page"
        )
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise ExperimentError(f"{name}, line 1: the file is empty; expected an experiment")
        content = loader.construct_document(root)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ExperimentError(
            f"{name}, line {line}: a character {chr(error.character)!r} is not allowed in YAML; "
            "remove it"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ExperimentError(f"{name}, line {line}: {_said(error)}") from error
    except RecursionError as error:
        line = loader.line + 1 if loader is not None else 1
        raise ExperimentError(
            f"{name}, line {line}: mappings and lists are nested too deeply; expected an "
            "experiment, which has three levels"
        ) from error
    finally:
        if loader is not None:
            loader.dispose()
    return Document(content, tuple(_repetitions(root)), root)


class _Loader(yaml.SafeLoader):
    """A tree of plain values; whatever is wrong with it has a mark."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"*{event.anchor} is an alias; expected the value itself: write it here",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            # A date that never was, or a tag that does not fit the text.
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"{node.value!r} is no {kind} ({error}); correct it, or put it in quotes",
                problem_mark=node.start_mark,
            ) from error


def _said(error: yaml.MarkedYAMLError) -> str:
    found = ", ".join(filter(None, [error.context, error.problem]))
    if isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError):
        return f"this is not YAML: {found}; {_MEND}"
    return f"this is no experiment: {found}"


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value.start_mark.line, value
    return None


def _repetitions(node: yaml.Node) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repetitions(value)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if name in lines:
                yield (
                    line,
                    f"{name} is given twice, first on line {lines[name]}; expected each field "
                    "once: remove one",
                )
            else:
                lines[name] = line
            yield from _repetitions(value)
