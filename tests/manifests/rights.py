"""What a program asks of the Kubernetes API, and what a Role lets it ask."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v1/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>.+))?)?"
)
_ONE_NAME = re.compile(r"metadata\.name=(?P<name>[^,=]+)")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Right(NamedTuple):
    """What a request needs; `name` is empty where it names no object."""

    verb: str
    group: str
    resource: str
    name: str


@dataclass
class RecordedRequests:
    """Stands before an API, and notes what each request needs."""

    app: ASGIApp
    needed: set[Right] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.needed.add(right_for(scope["method"], scope["path"], scope["query_string"]))
        await self.app(scope, receive, send)


def right_for(method: str, path: str, query: bytes = b"") -> Right:
    """Return what Kubernetes' authorizer makes of a request to one namespace."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise AssertionError(f"{method} {path} is no request for objects of one namespace")
    resource, name = found["resource"], found["name"] or ""
    if found["subresource"]:
        resource = f"{resource}/{found['subresource'].partition('/')[0]}"
    group = found["group"] or ""
    if method != "GET":
        return Right(_VERBS[method], group, resource, name)
    if name:
        return Right("get", group, resource, name)
    fields = parse_qs(query.decode())
    verb = "watch" if fields.get("watch") == ["true"] else "list"
    # Of these two, one that selects a single name is taken for a request for that object.
    one = _ONE_NAME.fullmatch(fields.get("fieldSelector", [""])[0])
    return Right(verb, group, resource, one["name"] if one else "")


def rights_of(role: Mapping[str, Any]) -> set[Right]:
    """Return what a Role grants, one by one; an empty name stands for all."""
    return set(_granted(role["rules"]))


def _granted(rules: Iterable[Mapping[str, Any]]) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames") or [""]:
                    for verb in rule["verbs"]:
                        yield Right(verb, group, resource, name)


def not_granted(needed: Iterable[Right], granted: set[Right]) -> set[Right]:
    return {each for each in needed if not {each, each._replace(name="")} & granted}


def not_needed(needed: Iterable[Right], granted: Iterable[Right]) -> set[Right]:
    used = set(needed)
    used |= {each._replace(name="") for each in used}
    return set(granted) - used
