import json
from typing import Any

import pytest

from abserve.cluster.api.kinds import CONFIG_MAP, SECRET, SELDON_DEPLOYMENT
from abserve.cluster.api.patches import apply_patch, merge
from abserve.cluster.api.status import ApiError

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def document() -> dict[str, Any]:
    return {"metadata": {"name": "iris"}, "spec": {"predictors": [{"name": "baseline"}]}}


def patched(patch: Any, content_type: str) -> dict[str, Any]:
    body = json.dumps(patch).encode()
    return apply_patch(SELDON_DEPLOYMENT, document(), content_type, body).document


def refusal(body: bytes, content_type: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        apply_patch(SELDON_DEPLOYMENT, document(), content_type, body)
    return caught.value


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merging_follows_the_table_of_rfc_7386(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


def test_merging_leaves_what_it_was_given_alone() -> None:
    target, patch = {"a": {"b": 1}}, {"a": {"c": [2]}}
    merged = merge(target, patch)
    merged["a"]["c"].append(3)
    assert (target, patch) == ({"a": {"b": 1}}, {"a": {"c": [2]}})


def test_a_merge_patch_replaces_a_list_whole() -> None:
    result = patched({"spec": {"predictors": [{"name": "candidate"}]}}, MERGE)
    assert result["spec"]["predictors"] == [{"name": "candidate"}]


def test_a_json_patch_changes_one_entry_of_a_list() -> None:
    test = {"op": "test", "path": "/spec/predictors/0/name", "value": "baseline"}
    add = {"op": "add", "path": "/spec/predictors/0/traffic", "value": 70}
    assert patched([test, add], JSON)["spec"]["predictors"] == [{"name": "baseline", "traffic": 70}]


def test_a_failed_test_refuses_the_whole_patch() -> None:
    add = {"op": "add", "path": "/spec/protocol", "value": "v2"}
    test = {"op": "test", "path": "/spec/predictors/0/name", "value": "candidate"}
    refused = refusal(json.dumps([add, test]).encode(), JSON)
    assert (refused.code, refused.status["reason"]) == (422, "Invalid")
    assert "a test failed" in str(refused)


def test_a_refused_patch_leaves_the_document_as_it_was() -> None:
    kept = document()
    add = {"op": "add", "path": "/spec/protocol", "value": "v2"}
    test = {"op": "test", "path": "/metadata/name", "value": "wine"}
    with pytest.raises(ApiError):
        apply_patch(SELDON_DEPLOYMENT, kept, JSON, json.dumps([add, test]).encode())
    assert kept == document()


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/missing", "value": 1},
        {"op": "remove", "path": "/spec/predictors/7"},
        {"op": "test", "path": "/spec/missing", "value": 1},
        {"op": "move", "from": "/nowhere", "path": "/spec/here"},
    ],
)
def test_a_path_that_does_not_exist_is_refused(operation: dict) -> None:
    assert refusal(json.dumps([operation]).encode(), JSON).code == 422


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"\xff",
        b"5",
        b"null",
        b'"text"',
        b'"[]"',
        b'{"op": "remove", "path": "/spec"}',
        b"[1]",
        b'["remove"]',
        b'[{"path": "/spec"}]',
        b'[{"op": "enlarge", "path": "/spec"}]',
        b'[{"op": "add", "path": "/spec"}]',
        b'[{"op": "remove"}]',
        b'[{"op": "remove", "path": 5}]',
        b"[" * 100_000,
    ],
)
def test_a_malformed_json_patch_is_a_bad_request(body: bytes) -> None:
    assert refusal(body, JSON).code == 400


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b"null", b"[]", b"5", b'{"a":' * 100_000])
def test_a_malformed_merge_patch_is_a_bad_request(body: bytes) -> None:
    assert refusal(body, MERGE).code == 400


def test_a_json_patch_cannot_make_a_list_of_an_object() -> None:
    refused = refusal(b'[{"op": "replace", "path": "", "value": []}]', JSON)
    assert (refused.code, "is no object" in str(refused)) == (400, True)


def test_a_custom_resource_takes_no_strategic_patch() -> None:
    refused = refusal(b"{}", STRATEGIC)
    assert (refused.code, refused.status["reason"]) == (415, "UnsupportedMediaType")
    assert STRATEGIC not in str(refused)


@pytest.mark.parametrize("kind", [SECRET, CONFIG_MAP])
def test_a_built_in_kind_takes_a_strategic_patch(kind: Any) -> None:
    kept = {"metadata": {"name": "key"}, "data": {"a": "1", "b": "2"}}
    result = apply_patch(kind, kept, STRATEGIC, b'{"data": {"a": null, "c": "3"}}').document
    assert result["data"] == {"b": "2", "c": "3"}


@pytest.mark.parametrize("content_type", ["application/yaml", "application/json", ""])
def test_other_content_types_are_refused_with_those_that_are_taken(content_type: str) -> None:
    refused = refusal(b"{}", content_type)
    assert refused.code == 415
    assert JSON in str(refused)
    assert MERGE in str(refused)


@pytest.mark.parametrize("patch", [{"$patch": "replace"}, {"data": {"$retainKeys": ["a"]}}])
def test_a_directive_of_a_strategic_patch_is_refused(patch: Any) -> None:
    with pytest.raises(ApiError, match="send a merge patch") as caught:
        apply_patch(SECRET, document(), STRATEGIC, json.dumps(patch).encode())
    assert caught.value.code == 400


def test_what_a_patch_says_twice_is_told() -> None:
    body = b'{"spec": {"replicas": 1, "replicas": 2}}'
    result = apply_patch(SELDON_DEPLOYMENT, document(), MERGE, body)
    assert result.repeated == ("spec.replicas",)
    assert result.document["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "test", "path": "/data/password", "value": "guess"}],
        [{"op": "remove", "path": "/data/password/deeper"}],
        [{"op": "replace", "path": "/data/missing", "value": "x"}],
        [{"op": "copy", "from": "/data/missing", "path": "/data/x"}],
        [{"op": "enlarge", "path": "/data"}],
        [{"op": "add", "path": "/data/password/0", "value": "x"}],
    ],
)
def test_a_refusal_tells_no_value_of_a_secret(operations: Any) -> None:
    kept = {"metadata": {"name": "key"}, "data": {"password": "c2VzYW1l"}}
    with pytest.raises(ApiError) as caught:
        apply_patch(SECRET, kept, JSON, json.dumps(operations).encode())
    assert "c2VzYW1l" not in json.dumps(caught.value.status)


def test_copies_cannot_grow_an_object_without_end() -> None:
    operations = [{"op": "copy", "from": "/spec", "path": f"/spec/x{n}"} for n in range(40)]
    refused = refusal(json.dumps(operations).encode(), JSON)
    assert (refused.code, "copies more than" in str(refused)) == (413, True)


def test_a_patch_of_too_many_operations_is_refused() -> None:
    operations = [{"op": "test", "path": "/metadata/name", "value": "iris"}] * 10_001
    assert refusal(json.dumps(operations).encode(), JSON).code == 413


def test_operations_cannot_nest_an_object_too_deeply() -> None:
    operations = []
    for n in range(30):
        path = "/spec" + "/a" * 90 * n + "/a"
        value: Any = {}
        for _ in range(89):
            value = {"a": value}
        operations.append({"op": "add", "path": path, "value": value})
    assert refusal(json.dumps(operations).encode(), JSON).code == 400
