"""No request makes a 5xx, and none changes what it was not sent to.

What is found here is always the same: nothing is drawn at random that the code does not fix.
"""

import asyncio
import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abserve.cluster.admission import admission
from abserve.cluster.api import Store
from abserve.cluster.api.kinds import (
    CONFIG_MAP,
    KINDS,
    NAMESPACE,
    POD,
    SECRET,
    SELDON_DEPLOYMENT,
    Kind,
)
from abserve.cluster.api.server import Api
from tests.abserve.cluster.asgi import TOKEN, Answer, Client
from tests.abserve.cluster.conftest import TwoLinePods
from tests.abserve.cluster.documents import config_map, namespace, pod, secret, seldon_deployment

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)

OBJECTS: dict[Kind, dict[str, Any]] = {
    SELDON_DEPLOYMENT: seldon_deployment(),
    SECRET: secret(key="c2VzYW1l"),
    CONFIG_MAP: config_map("colours"),
    NAMESPACE: namespace("shop"),
}
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)

# Names that mean something make more trouble than letters that mean nothing.
NAMES = st.sampled_from(
    (
        "apiVersion", "kind", "metadata", "name", "namespace", "labels", "annotations", "status",
        "resourceVersion", "generation", "uid", "managedFields", "manager", "operation",
        "fieldsV1", "f:spec", "time", "finalizers", "spec", "predictors", "graph", "children",
        "modelUri", "implementation", "traffic", "shadow", "replicas", "componentSpecs",
        "containers", "env", "valueFrom", "secretKeyRef", "data", "stringData", "immutable",
        "op", "path", "from", "value", "conditions", "deploymentStatus", "selector", "$patch",
    )
) | st.text(max_size=8)  # fmt: skip
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        (
            "", "v1", "machinelearning.seldon.io/v1", "SeldonDeployment", "Secret", "iris",
            "default", "add", "remove", "replace", "move", "copy", "test", "/spec",
            "/metadata/name",
            "/spec/predictors/0/traffic", "/spec/predictors/-", "SKLEARN_SERVER", "rest", "v2",
            "2024-05-01T12:00:00Z", "1", 2**31, -1, 0, 100,
        )
    )
    | st.text(max_size=12)
)  # fmt: skip
DOCUMENTS = st.recursive(
    VALUES,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(NAMES, below, max_size=5),
    max_leaves=20,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where in a document something stands."""
    below = value.items() if isinstance(value, dict) else enumerate(value)
    for step, each in below:
        yield (*path, step)
        if isinstance(each, dict | list):
            yield from places(each, (*path, step))


@st.composite
def spoilt(draw: st.DrawFn, kind: Kind) -> dict[str, Any]:
    """Return a good object of a kind with one value put in place of another, or beside it."""
    document = deepcopy(OBJECTS[kind])
    *above, last = draw(st.sampled_from(sorted(places(document), key=str)))
    within: Any = document
    for step in above:
        within = within[step]
    if isinstance(within, dict) and draw(st.booleans()):
        within[draw(NAMES)] = draw(DOCUMENTS)
    else:
        within[last] = draw(DOCUMENTS)
    return document


def collection(kind: Kind) -> str:
    scope = "/namespaces/default" if kind.namespaced else ""
    return f"{kind.root}{scope}/{kind.plural}"


def single(kind: Kind) -> str:
    return f"{collection(kind)}/{OBJECTS[kind]['metadata']['name']}"


def contents(store: Store) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {
        (kind.name, each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for kind in KINDS
        for each in store.list(kind)
    }


async def send_to_new_api(
    method: str, path: str, body: Any, headers: dict[str, str], query: dict[str, str]
) -> tuple[Answer, set[tuple[str, str, str]]]:
    """Return the answer of an API that has one object of each kind, and which objects changed.

    What is to be created is not there yet.
    """
    store = Store(lambda: NOW)
    store.create(NAMESPACE, namespace("default"))
    for kind, document in OBJECTS.items():
        if (method, path) != ("POST", collection(kind)):
            store.create(kind, document)
    store.create(POD, pod("iris-0"))
    client = Client(Api(store, TOKEN, admission, TwoLinePods(store), lambda: NOW).app)
    before, version = contents(store), store.version
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await client.send(method, path, sent, headers, **query)
    after = contents(store)
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert bool(changed) == (store.version != version)
    return answer, changed


def check(
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
) -> None:
    """Check that a request is answered properly, and changes its own object or nothing."""
    answer, changed = asyncio.run(
        send_to_new_api(
            method, path, body, headers or {}, {"fieldManager": "tests", **(query or {})}
        )
    )
    assert answer.code < 500, answer.text
    if answer.code >= 400:
        assert (answer.json["kind"], answer.json["code"]) == ("Status", answer.code)
        assert answer.json["message"]
        assert changed == set()
    else:
        shown = answer.json
        name = shown["metadata"].get("name") or shown["details"]["name"]
        assert {key[2] for key in changed} <= {name}
        assert len(changed) <= 1


def examples(n: int) -> settings:
    return settings(
        max_examples=n,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@pytest.mark.parametrize("kind", OBJECTS, ids=lambda kind: kind.name)
@examples(100)
@given(data=st.data())
def test_what_is_created_is_an_object_or_refused(kind: Kind, data: st.DataObject) -> None:
    check("POST", collection(kind), data.draw(DOCUMENTS | spoilt(kind)))


@pytest.mark.parametrize("kind", OBJECTS, ids=lambda kind: kind.name)
@examples(100)
@given(data=st.data())
def test_a_replacement_is_an_object_or_refused(kind: Kind, data: st.DataObject) -> None:
    check("PUT", single(kind), data.draw(DOCUMENTS | spoilt(kind)))


@pytest.mark.parametrize("content_type", PATCHES)
@pytest.mark.parametrize("kind", OBJECTS, ids=lambda kind: kind.name)
@examples(60)
@given(data=st.data())
def test_a_patch_makes_an_object_or_is_refused(
    kind: Kind, content_type: str, data: st.DataObject
) -> None:
    body = data.draw(DOCUMENTS | spoilt(kind) | st.lists(DOCUMENTS, max_size=3))
    check("PATCH", single(kind), body, {"content-type": content_type})


@pytest.mark.parametrize("subresource", ["status", "scale"])
@examples(150)
@given(data=st.data())
def test_a_part_of_an_object_is_changed_or_refused(subresource: str, data: st.DataObject) -> None:
    path = f"{single(SELDON_DEPLOYMENT)}/{subresource}"
    body = data.draw(DOCUMENTS | spoilt(SELDON_DEPLOYMENT))
    content_type = data.draw(st.sampled_from(PATCHES))
    check("PUT", path, body)
    check("PATCH", path, body, {"content-type": content_type})


@examples(150)
@given(
    operations=st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(("add", "remove", "replace", "move", "copy", "test")),
                "path": st.sampled_from(
                    ["", *("/" + "/".join(map(str, each)) for each in places(seldon_deployment()))]
                )
                | st.text(max_size=8),
            },
            optional={"value": DOCUMENTS, "from": st.sampled_from(("", "/spec", "/metadata", "x"))},
        ),
        max_size=4,
    )
)
def test_operations_of_a_json_patch_fit_or_are_refused(operations: list[dict[str, Any]]) -> None:
    headers = {"content-type": "application/json-patch+json"}
    check("PATCH", single(SELDON_DEPLOYMENT), operations, headers)


@pytest.mark.parametrize("kind", OBJECTS, ids=lambda kind: kind.name)
@examples(60)
@given(data=st.data())
def test_a_deletion_is_of_its_object_or_refused(kind: Kind, data: st.DataObject) -> None:
    options = st.dictionaries(
        st.sampled_from(
            ("kind", "apiVersion", "dryRun", "preconditions", "propagationPolicy",
             "gracePeriodSeconds", "orphanDependents")
        ),
        DOCUMENTS,
        max_size=3,
    )  # fmt: skip
    check("DELETE", single(kind), data.draw(DOCUMENTS | options))


@pytest.mark.parametrize("kind", [SELDON_DEPLOYMENT, SECRET, CONFIG_MAP], ids=lambda k: k.name)
@examples(60)
@given(
    body=DOCUMENTS,
    selector=st.text(max_size=8) | st.sampled_from(("a", "!a", "a=b", "metadata.name=iris")),
    field=st.sampled_from(("labelSelector", "fieldSelector")),
)
def test_a_deletion_of_all_is_of_that_kind_or_refused(
    kind: Kind, body: Any, selector: str, field: str
) -> None:
    answer, changed = asyncio.run(
        send_to_new_api("DELETE", collection(kind), body, {}, {field: selector})
    )
    assert answer.code < 500, answer.text
    assert {key[:2] for key in changed} <= {(kind.name, "default")}
    assert answer.code == 200 or changed == set()


@pytest.mark.parametrize(
    "content_type",
    [
        *PATCHES,
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/cbor",
        "text/plain",
        "",
        "x",
    ],
)
@examples(40)
@given(
    method=st.sampled_from(("POST", "PUT", "PATCH")),
    body=st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda rest: b"k8s\x00" + rest)
    | st.text(max_size=200).map(str.encode)
    | st.sampled_from(
        (b"&a [*a]", b"a: &a {b: *a}", b"{" * 1000, b"[" * 100_000, b"- " * 3000, b"1e999",
         b'{"a": 1, "a": 2}', b"--- \n---\n", b"!!python/object:os.system {}", b"\xef\xbb\xbf{}",
         b'"\\ud800"', b"a: !!binary x", b"? {a: b}\n: c", b"2024-05-01: x", b"a: 0x1f\nb: .inf")
    ),
)  # fmt: skip
def test_bytes_are_an_object_or_refused(content_type: str, method: str, body: bytes) -> None:
    path = collection(SECRET) if method == "POST" else single(SELDON_DEPLOYMENT)
    check(method, path, body, {"content-type": content_type})


@examples(200)
@given(
    method=st.sampled_from(("GET", "POST", "PUT", "PATCH", "DELETE")),
    query=st.dictionaries(
        st.sampled_from(
            ("limit", "continue", "labelSelector", "fieldSelector", "resourceVersion",
             "resourceVersionMatch", "timeoutSeconds", "includeObject", "dryRun", "fieldManager",
             "fieldValidation", "force", "propagationPolicy", "gracePeriodSeconds", "pretty")
        ),
        st.text(max_size=10) | st.sampled_from(("All", "true", "0", "Strict", "a=b", "a in (b)")),
        max_size=4,
    ),
    table=st.booleans(),
)  # fmt: skip
def test_a_query_is_followed_or_refused(method: str, query: dict[str, str], table: bool) -> None:
    path = collection(SECRET) if method == "POST" else single(SECRET)
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io" if table else "application/json"
    headers = {"accept": accept}
    if method == "PATCH":
        headers["content-type"] = "application/merge-patch+json"
    if method == "GET":
        for each in (collection(SECRET), single(SECRET)):
            answer, changed = asyncio.run(send_to_new_api("GET", each, None, headers, query))
            assert answer.code in {200, 400, 404}, answer.text
            assert changed == set()
    else:
        check(method, path, {}, headers, query)


@examples(200)
@given(
    method=st.sampled_from(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")),
    steps=st.lists(
        st.sampled_from(("api", "apis", "v1", "namespaces", "default", "secrets", "pods", "iris-0",
                         "log", "proxy", "machinelearning.seldon.io", "seldondeployments", "status",
                         "..", ".", "", "%00", "%2e%2e"))
        | st.text(max_size=6),
        max_size=7,
    ),
)  # fmt: skip
def test_a_path_is_known_or_refused(method: str, steps: list[str]) -> None:
    path = "/" + "/".join(steps)
    answer, changed = asyncio.run(send_to_new_api(method, path, {}, {}, {}))
    assert answer.code < 500, answer.text
    assert len(changed) <= 1
