"""Who am I, and may I: what ``kubectl auth whoami`` and ``kubectl auth can-i`` ask.

There is one user, whoever holds the token, who may do all that the API can. What it cannot do, such
as to create pods, the answer says as well, because that is what the question is asked for.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from abserve.cluster.api.bodies import content_type, parse, read_body
from abserve.cluster.api.kinds import KINDS, SUBRESOURCES
from abserve.cluster.api.status import ApiError

_AUTHENTICATION = "authentication.k8s.io/v1"
_AUTHORIZATION = "authorization.k8s.io/v1"
_CREATED = 201


def routes() -> Iterator[tuple[str, Callable[[Request], Awaitable[Response]]]]:
    """Yield path and handler of each review; all of them are posted."""
    yield f"/apis/{_AUTHENTICATION}/selfsubjectreviews", _who
    yield f"/apis/{_AUTHORIZATION}/selfsubjectaccessreviews", _may
    yield f"/apis/{_AUTHORIZATION}/selfsubjectrulesreviews", _rules


async def _who(_: Request) -> Response:
    groups = ["system:masters", "system:authenticated"]
    return _review(
        _AUTHENTICATION,
        "SelfSubjectReview",
        {},
        {"userInfo": {"username": "abserve", "groups": groups}},
    )


async def _may(request: Request) -> Response:
    spec = await _spec(request)
    wanted = spec.get("resourceAttributes")
    if wanted is None:
        asked = _object(spec, "nonResourceAttributes")
        status = _answer(asked.get("verb") in {"get", "*"}, "only get is for paths without objects")
    else:
        status = _may_resource(_object(spec, "resourceAttributes"))
    return _review(_AUTHORIZATION, "SelfSubjectAccessReview", spec, status)


async def _rules(request: Request) -> Response:
    rules = [
        {"verbs": verbs, "apiGroups": [group], "resources": [resource]}
        for group, resource, verbs in _resources()
    ]
    status = {
        "resourceRules": rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }
    return _review(_AUTHORIZATION, "SelfSubjectRulesReview", await _spec(request), status)


def _may_resource(wanted: dict[str, Any]) -> dict[str, Any]:
    verb, group = wanted.get("verb"), wanted.get("group") or ""
    name = "/".join(str(wanted[part]) for part in ("resource", "subresource") if wanted.get(part))
    allowed = any(
        verb in {*verbs, "*"} and group in {of, "*"} and name in {resource, "*"}
        for of, resource, verbs in _resources()
    )
    return _answer(allowed, f"the local cluster has no {verb} of {name}, for nobody")


def _answer(allowed: bool, otherwise: str) -> dict[str, Any]:
    return {"allowed": allowed} if allowed else {"allowed": False, "reason": otherwise}


def _resources() -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield group, name and verbs of all that is there, subresources included."""
    for kind in KINDS:
        yield kind.group, kind.plural, kind.verbs
        for subresource in kind.subresources:
            verbs = SUBRESOURCES[subresource].verbs
            yield kind.group, f"{kind.plural}/{subresource}", verbs


async def _spec(request: Request) -> dict[str, Any]:
    body = parse(content_type(request), await read_body(request))
    return _object(body.document, "spec")


def _object(document: dict[str, Any], field: str) -> dict[str, Any]:
    found = document.get(field)
    if not isinstance(found, dict):
        raise ApiError(400, f"{field} of the review is missing, or no object")
    return found


def _review(api_version: str, kind: str, spec: dict[str, Any], status: dict[str, Any]) -> Response:
    answer = {
        "kind": kind,
        "apiVersion": api_version,
        "metadata": {},
        "spec": spec,
        "status": status,
    }
    return JSONResponse(answer, _CREATED)
