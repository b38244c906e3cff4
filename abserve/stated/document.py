"""YAML with the line of everything in it, so that a mistake can be shown where it stands.

A document is a tree: aliases, with which a few lines can stand for millions of values, are refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from abserve.errors import AbserveError
from abserve.stated.base import Location

_MEND = "mend that line: entries indented alike, by spaces, and a space after each colon"

# JSON has no such values, and a set has no order.
_REFUSED_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("set", "omap", "pairs"))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Parameters
    ----------
    noun : str
        What it states, with its article: ``an experiment``.
    error : type of AbserveError
        What is raised when it does not.
    most_bytes : int
        A longer file is no such file.
    """

    noun: str
    error: type[AbserveError]
    most_bytes: int = 64 * 1024

    @property
    def too_long(self) -> str:
        return f"is longer than {self.most_bytes} bytes; expected {self.noun}"


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


def read_text(path: Path, kind: Kind) -> str:
    """Return the text of a file.

    Raises
    ------
    AbserveError
        The kind's own, if the file cannot be read, is too long or no UTF-8.
    """
    try:
        with path.open("rb") as file:
            # One byte more shows that it is too long, however long it is.
            content = file.read(kind.most_bytes + 1)
    except OSError as error:
        raise kind.error(
            f"{path} cannot be read ({error.strerror}); expected {kind.noun}"
        ) from error
    if len(content) > kind.most_bytes:
        raise kind.error(f"{path} {kind.too_long}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise kind.error(
            f"{path}, line {line}: this is no text in UTF-8; expected {kind.noun}: save it as UTF-8"
        ) from error


def read_document(text: str, name: str, kind: Kind) -> Document:
    """Read a YAML text of one document.

    Parameters
    ----------
    text : str
        At most as many bytes as the kind allows.
    name : str
        What to call it in messages: the file's path.
    kind : Kind
        What it is to be.

    Raises
    ------
    AbserveError
        The kind's own, if the text is empty, too long or no YAML. The message begins with the name
        and the line.
    """
    if len(text.encode(errors="replace")) > kind.most_bytes:
        raise kind.error(f"{name} {kind.too_long}")
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise kind.error(f"{name}, line 1: the file is empty; expected {kind.noun}")
        content = loader.construct_document(root)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise kind.error(
            f"{name}, line {line}: a character {chr(error.character)!r} is not allowed in YAML; "
            "remove it"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise kind.error(f"{name}, line {line}: {_said(error, kind)}") from error
    except RecursionError as error:
        line = loader.line + 1 if loader is not None else 1
        raise kind.error(
            f"{name}, line {line}: mappings and lists are nested too deeply; expected {kind.noun}"
        ) from error
    finally:
        if loader is not None:
            loader.dispose()
    return Document(content, tuple(_repetitions(root)), root)


class _Loader(yaml.SafeLoader):
    """A tree of plain values; whatever is wrong with it has a mark."""

    yaml_constructors = {  # noqa: RUF012
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag not in _REFUSED_TAGS
    }

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
        except (ValueError, LookupError, AttributeError) as error:
            # A date that never was, or a tag that does not fit the text.
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"{node.value!r} is no {kind} ({error}); correct it, or put it in quotes",
                problem_mark=node.start_mark,
            ) from error


def _said(error: yaml.MarkedYAMLError, kind: Kind) -> str:
    found = ", ".join(filter(None, [error.context, error.problem]))
    if isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError):
        return f"this is not YAML: {found}; {_MEND}"
    return f"this is no {kind.noun.partition(' ')[2]}: {found}"


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
