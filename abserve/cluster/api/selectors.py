"""Which objects of a list a client wants: label selectors and field selectors."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from abserve.cluster.api.kinds import EVENT, NAMESPACE, POD, SECRET, Kind
from abserve.cluster.api.status import ApiError

Test = Callable[[dict[str, Any]], bool]

_FIELDS = ("metadata.name", "metadata.namespace")
_FIELDS_OF: Mapping[Kind, Sequence[str]] = {
    EVENT: (
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "involvedObject.kind",
        "involvedObject.name",
        "involvedObject.namespace",
        "involvedObject.resourceVersion",
        "involvedObject.uid",
        "reason",
        "type",
    ),
    NAMESPACE: ("status.phase",),
    POD: ("spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"),
    SECRET: ("type",),
}
"""What Kubernetes selects by, in all kinds and in some."""

_SET = re.compile(r"^\s*(?P<key>[^\s!=,()]+)\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)\s*$")
_EQUAL = re.compile(
    r"^\s*(?P<key>[^\s!=,()]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s!=,()]*)\s*$"
)
_EXISTS = re.compile(r"^\s*(?P<not>!?)\s*(?P<key>[^\s!=,()]+)\s*$")


def label_selector(text: str) -> Test:
    """Return the test for a label selector: ``a=b``, ``a!=b``, ``a in (b,c)``, ``a``, ``!a``.

    Raises
    ------
    ApiError
        400 if it is none.
    """
    requirements = [_label_requirement(part) for part in _split(text)]

    def matches(document: dict[str, Any]) -> bool:
        labels = document["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def field_selector(kind: Kind, text: str) -> Test:
    """Return the test for a field selector: ``metadata.name=iris``, ``type!=Normal``.

    Raises
    ------
    ApiError
        400 if it is none, or names a field that Kubernetes does not select objects of `kind` by.
    """
    known = (*_FIELDS, *_FIELDS_OF.get(kind, ()))
    tests: list[Test] = []
    for part in _split(text):
        found = _EQUAL.match(part)
        if found is None:
            raise ApiError(400, f"field selector {part!r} is not FIELD=VALUE or FIELD!=VALUE")
        if found["key"] not in known:
            raise ApiError(
                400,
                f"field label not supported: {found['key']}; expected one of {', '.join(known)}",
            )
        tests.append(_field_test(found["key"], found["operator"] == "!=", found["value"]))
    return lambda document: all(test(document) for test in tests)


def _field_test(path: str, negated: bool, value: str) -> Test:
    def matches(document: dict[str, Any]) -> bool:
        current: Any = document
        for step in path.split("."):
            current = current.get(step) if isinstance(current, dict) else None
        return (str(current if current is not None else "") == value) is not negated

    return matches


def _label_requirement(part: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.match(part):
        key = found["key"]
        values = {value.strip() for value in found["values"].split(",")}
        if found["word"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(part):
        key, value = found["key"], found["value"]
        if found["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(part):
        key = found["key"]
        if found["not"]:
            return lambda labels: key not in labels
        return lambda labels: key in labels
    raise ApiError(400, f"label selector {part!r} cannot be read; expected for example app=iris")


def _split(text: str) -> list[str]:
    """Split at commas that are not inside parentheses."""
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]
