"""Read YAML and remember where everything stands, so that a problem can be shown by its line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from abserve.errors import DefinitionError

_MEND = "mend that line: entries indented alike, by spaces, and a space after each colon"


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML file says, and the tree of marks it was read from."""

    path: Path
    content: Any
    _root: yaml.Node

    def line(self, location: Sequence[str | int]) -> int:
        """Return the line, from 1, of a value or of the nearest thing around it that exists.

        Parameters
        ----------
        location : sequence of str or int
            Keys and indices from the top, as pydantic gives them in `loc`.
        """
        node = self._root
        line = node.start_mark.line + 1
        for part in location:
            child = _child(node, part)
            if child is None:
                break
            line, node = child
        return int(line)

    def holds(self, location: Sequence[str | int]) -> bool:
        """Tell whether the file itself says something at `location`."""
        node = self._root
        for part in location:
            child = _child(node, part)
            if child is None:
                return False
            node = child[1]
        return True


def read_document(path: Path) -> Document:
    """Read a YAML file of one document.

    Raises
    ------
    DefinitionError
        If the file cannot be read, is empty, is not YAML, or names a key twice.
    """
    try:
        # safe_load of the same text, but in two steps: the nodes know their lines.
        text = path.read_bytes()
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except OSError as error:
        raise DefinitionError(
            f"{path} cannot be read ({error.strerror}); expected a model definition"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise DefinitionError(
            f"{path}, line {line}: this is not YAML: {error.problem}; {_MEND}"
        ) from error
    except (yaml.YAMLError, ValueError) as error:  # no text at all, or a date that never was
        reason = " ".join(str(error).split())
        raise DefinitionError(
            f"{path} is not YAML in UTF-8: {reason}; correct it, and save it as such"
        ) from error
    if root is None:
        raise DefinitionError(f"{path} is empty; expected a model definition")
    _refuse_repeated_keys(path, root, set())
    return Document(path, content, root)


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value.start_mark.line + 1, value
    return None


def _refuse_repeated_keys(path: Path, node: yaml.Node, seen: set[int]) -> None:
    # YAML lets the last of two equal keys win without a word. `seen`: an alias may lead back up.
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(path, value, seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = str(key.value)
            if name in lines:
                raise DefinitionError(
                    f"{path}, line {line}: {name!r} is given twice, first on line {lines[name]}; "
                    "expected each key once: remove one"
                )
            lines[name] = line
            _refuse_repeated_keys(path, value, seen)
