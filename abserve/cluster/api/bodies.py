"""Bodies of requests, from bytes to values: JSON, YAML, and Kubernetes' protobuf.

Whatever the form, what comes out is JSON that any answer can repeat: no NaN, no half of a surrogate
pair, no deeper than an object has any reason to be. A field that is written twice is noted with its
path, for whoever wants to be told.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from starlette.requests import Request

from abserve.cluster.api import protobuf
from abserve.cluster.api.status import ApiError

# What etcd, and so Kubernetes, takes at most for one object.
LARGEST_BODY_BYTES = 1_572_864

# Far deeper than any object of ours, and far from where Python's own recursion ends.
_DEEPEST = 100

# What a node counts for beside its text: a megabyte of commas takes seconds to read.
_NODE_BYTES = 16

_YAML_TYPES = frozenset({"application/yaml", "application/apply-patch+yaml"})
_MAP_TAG = "tag:yaml.org,2002:map"
_LIST_TAG = "tag:yaml.org,2002:seq"
_MERGE_TAG = "tag:yaml.org,2002:merge"
_TIMESTAMP_TAG = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True, slots=True)
class Body:
    """What a client sent, and the fields that it wrote more than once, of which the last counts."""

    value: Any
    repeated: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """The value, which has to be an object.

        Raises
        ------
        ApiError
            400 if it is none.
        """
        if not isinstance(self.value, dict):
            raise ApiError(400, f"the body is no JSON object but a {type(self.value).__name__}")
        return self.value


async def read_body(request: Request) -> bytes:
    """Return the request's body, unless it is larger than an object may be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY_BYTES:
            raise ApiError(
                413, f"the body is larger than {LARGEST_BODY_BYTES} bytes, an object's limit"
            )
    return body


def content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip()


def parse(content_type: str, body: bytes) -> Body:
    """Return what is in a request's body.

    Raises
    ------
    ApiError
        400 if it is malformed, 415 if it is in none of the forms that are read.
    """
    if content_type == protobuf.CONTENT_TYPE:
        return Body(protobuf.decode(body))
    if content_type in _YAML_TYPES:
        return parse_yaml(body)
    if content_type not in {"application/json", ""}:
        raise ApiError(
            415,
            f"content type {content_type!r} is not read; send application/json or application/yaml",
        )
    return parse_json(body)


def parse_json(body: bytes | str) -> Body:
    """Return the JSON value in `body`.

    Raises
    ------
    ApiError
        400 if it is none, is nested too deeply, or holds what no answer could repeat: NaN,
        infinity, half of a surrogate pair.
    """
    found: list[tuple[dict[str, Any], list[str]]] = []

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            found.append((value, _repeated([key for key, _ in pairs])))
        return value

    try:
        value = json.loads(body, object_pairs_hook=read_object)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON: {error}") from error
    check_depth(value)
    if not found:
        return Body(value)
    names = {id(each): keys for each, keys in found}
    return Body(
        value,
        tuple(
            _below(path, key)
            for path, each in _objects(value, "")
            for key in names.get(id(each), ())
        ),
    )


def parse_yaml(body: bytes) -> Body:
    """Return the value in `body`, a single document of YAML, as JSON.

    Most who send YAML send JSON, which is YAML as well; that is read as what it is.

    Raises
    ------
    ApiError
        400 if it is malformed, or grows too large or too deep once its aliases are written out.
    """
    try:
        return parse_json(body)
    except ApiError:
        return _parse_yaml(body)


def check_depth(value: Any, left: int = _DEEPEST) -> None:
    """Raise ApiError, 400, if `value` is nested too deeply."""
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise _too_deep()
    for child in value.values() if isinstance(value, dict) else value:
        check_depth(child, left - 1)


def _objects(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all objects in a JSON value with their paths, as Kubernetes writes them."""
    if isinstance(value, dict):
        yield path, value
        for key, child in value.items():
            yield from _objects(child, _below(path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _objects(child, f"{path}[{index}]")


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _repeated(keys: list[str]) -> list[str]:
    return sorted({key for key in keys if keys.count(key) > 1})


def _too_deep() -> ApiError:
    return ApiError(400, f"the body is nested more than {_DEEPEST} levels deep")


# YAML.


def _parse_yaml(body: bytes) -> Body:
    try:
        _check_expanded(body)
        reader = _YamlReader(body)
        # Aliases have become one object in many places; each place gets its own.
        value = json.loads(json.dumps(reader.document(), allow_nan=False))
    except yaml.MarkedYAMLError as error:
        # Its own text repeats the body, which may hold what is secret.
        mark = error.problem_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ApiError(400, f"error decoding YAML: {error.problem}{place}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ApiError(
            400, f"error decoding YAML: {type(error).__name__}; send one document of UTF-8 text"
        ) from error
    return Body(value, tuple(reader.repeated))


class _YamlReader(yaml.CSafeLoader):
    """Values from YAML nodes: a date is text, a key is text, and what is written twice is noted."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the name is yaml's, and nobody changes it
        letter: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP_TAG]
        for letter, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.repeated: list[str] = []
        self._values: dict[int, Any] = {}

    def document(self) -> Any:
        node = self.get_single_node()
        return self._value(node, "") if node else None

    def _value(self, node: yaml.Node, path: str) -> Any:
        # An alias is the node it names; that has a value already.
        if id(node) not in self._values:
            self._values[id(node)] = self._new_value(node, path)
        return self._values[id(node)]

    def _new_value(self, node: yaml.Node, path: str) -> Any:
        if isinstance(node, yaml.SequenceNode) and node.tag == _LIST_TAG:
            return [self._value(each, f"{path}[{i}]") for i, each in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP_TAG:
            keys = [str(key.value) for key, _ in node.value if key.tag != _MERGE_TAG]
            self.repeated.extend(_below(path, key) for key in _repeated(keys))
            self.flatten_mapping(node)
            return {
                self._key(key): self._value(value, _below(path, str(key.value)))
                for key, value in node.value
            }
        value = self.construct_object(node, deep=True)
        if value is not None and not isinstance(value, str | bool | int | float):
            raise _not_json(node)
        return value

    @staticmethod
    def _key(node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise _not_json(node)
        return str(node.value)


def _not_json(node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"{node.tag} is not JSON", problem_mark=node.start_mark)


def _check_expanded(body: bytes) -> None:
    """Refuse what is too deep or too large once every alias is written out.

    An alias costs a few bytes and may stand for all that came before it: nine lines of them make
    gigabytes.
    """
    anchors: dict[str, _Extent] = {}
    unclosed = [_Extent(None)]
    for event in yaml.parse(body, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            unclosed.append(_Extent(event.anchor))
        closed = _closed(event, unclosed, anchors)
        if closed is not None:
            unclosed[-1].add(closed)
        if unclosed[-1].size > LARGEST_BODY_BYTES:
            raise ApiError(
                413, f"the body is larger than {LARGEST_BODY_BYTES} bytes without its aliases"
            )
        if len(unclosed) - 1 + (closed.n_levels if closed else 0) > _DEEPEST:
            raise _too_deep()


def _closed(
    event: yaml.Event, unclosed: list["_Extent"], anchors: dict[str, "_Extent"]
) -> "_Extent | None":
    """Return the extent of the node that ends with an event, if one does, and note its anchor."""
    match event:
        case yaml.AliasEvent() if event.anchor in anchors:
            return anchors[event.anchor]
        case yaml.AliasEvent():
            raise ApiError(400, "error decoding YAML: an alias names what is not complete yet")
        case yaml.ScalarEvent():
            closed = _Extent(event.anchor, size=_NODE_BYTES + len(event.value))
        case yaml.CollectionEndEvent():
            closed = unclosed.pop()
            closed.n_levels += 1
        case _:  # the stream, its documents, and collections that begin
            return None
    if closed.anchor is not None:
        anchors[closed.anchor] = closed
    return closed


@dataclass(slots=True)
class _Extent:
    """How much a node stands for: its bytes, about, and the levels from it down."""

    anchor: str | None
    size: int = _NODE_BYTES
    n_levels: int = 0

    def add(self, child: "_Extent") -> None:
        self.size += child.size
        self.n_levels = max(self.n_levels, child.n_levels)
