import asyncio
from typing import Any

import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import SECRET, SELDON_DEPLOYMENT
from abserve.errors import ClusterError
from tests.abserve.cluster.asgi import Client
from tests.abserve.cluster.documents import config_map, namespace, secret, seldon_deployment

SELDON_ROOT = "/apis/machinelearning.seldon.io/v1"
SDEPS = f"{SELDON_ROOT}/namespaces/default/seldondeployments"
SECRETS = "/api/v1/namespaces/default/secrets"
PODS = "/api/v1/namespaces/default/pods"
NAMESPACES = "/api/v1/namespaces"
JSON_PATCH = "application/json-patch+json"


@pytest.fixture
async def iris(client: Client) -> dict[str, Any]:
    """The SeldonDeployment iris, as stored."""
    return (await client.post(SDEPS, seldon_deployment())).json


# Discovery.


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/api/v1", "APIResourceList"),
        (SELDON_ROOT, "APIResourceList"),
    ],
)
async def test_discovery_answers(client: Client, path: str, kind: str) -> None:
    assert (await client.get(path)).json["kind"] == kind


async def test_the_version_is_one_that_kubectl_reads(client: Client) -> None:
    version = (await client.get("/version")).json
    assert version["gitVersion"] == f"v{version['major']}.{version['minor']}.0"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health_is_ok(client: Client, path: str) -> None:
    assert (await client.get(path)).text == "ok"


async def test_the_openapi_index_leads_to_a_document_for_each_group(client: Client) -> None:
    index = (await client.get("/openapi/v3")).json["paths"]
    urls = [each["serverRelativeURL"] for each in index.values()]
    answers = [await client.get(url.partition("?")[0]) for url in urls]
    assert [answer.json["openapi"] for answer in answers] == ["3.0.0"] * 3


@pytest.mark.parametrize(
    "path", ["/", "/apis/apps/v1", f"{NAMESPACES}/default/deployments", "/metrics"]
)
async def test_an_unknown_path_is_told_in_a_status(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert answer.code == 404
    assert (answer.json["kind"], answer.json["reason"]) == ("Status", "NotFound")
    assert path in answer.json["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", PODS),
        ("DELETE", PODS),
        ("DELETE", f"{SELDON_ROOT}/seldondeployments"),
        ("DELETE", NAMESPACES),
        ("DELETE", f"{SDEPS}/iris/status"),
        ("POST", f"{SDEPS}/iris/scale"),
        ("POST", "/version"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_told_in_a_status(
    client: Client, method: str, path: str
) -> None:
    answer = await client.send(method, path, {})
    assert answer.code == 405
    assert (answer.json["kind"], answer.json["reason"]) == ("Status", "MethodNotAllowed")


# SeldonDeployments and Secrets, verb by verb.


async def test_creating_answers_with_what_is_stored(client: Client, store: Store) -> None:
    answer = await client.post(SDEPS, seldon_deployment())
    assert answer.code == 201
    assert answer.json == store.get(SELDON_DEPLOYMENT, "default", "iris")


async def test_creating_twice_is_a_conflict(client: Client, iris: dict) -> None:
    answer = await client.post(SDEPS, seldon_deployment())
    assert (answer.code, answer.json["reason"]) == (409, "AlreadyExists")


async def test_creating_with_faults_names_them_all_and_stores_nothing(
    client: Client, store: Store
) -> None:
    document = seldon_deployment()
    document["spec"]["predictors"][0]["traffic"] = 80
    document["spec"]["serverType"] = "carrier-pigeon"
    answer = await client.post(SDEPS, document)
    assert answer.code == 422
    assert len(answer.json["details"]["causes"]) == 2
    assert store.list(SELDON_DEPLOYMENT) == []


@pytest.mark.parametrize("path", [SDEPS, SECRETS])
async def test_creating_in_a_missing_namespace_is_refused(client: Client, path: str) -> None:
    answer = await client.post(path.replace("default", "nowhere"), {"metadata": {"name": "iris"}})
    assert answer.code == 404
    assert answer.json["message"] == 'namespaces "nowhere" not found'


async def test_reading_answers_with_the_object(client: Client, iris: dict) -> None:
    assert (await client.get(f"{SDEPS}/iris")).json == iris


async def test_reading_what_does_not_exist_is_refused(client: Client) -> None:
    answer = await client.get(f"{SDEPS}/iris")
    assert answer.code == 404
    assert answer.json["details"]["kind"] == "seldondeployments"


async def test_a_list_says_from_which_version_to_watch(client: Client, iris: dict) -> None:
    listed = (await client.get(SDEPS)).json
    assert listed["kind"] == "SeldonDeploymentList"
    assert listed["items"] == [iris]
    assert listed["metadata"]["resourceVersion"] == iris["metadata"]["resourceVersion"]


async def test_a_list_of_all_namespaces_leaves_out_none(client: Client, iris: dict) -> None:
    await client.post(SDEPS.replace("default", "shop"), seldon_deployment(namespace="shop"))
    items = (await client.get(f"{SELDON_ROOT}/seldondeployments")).json["items"]
    assert [each["metadata"]["namespace"] for each in items] == ["default", "shop"]


async def test_replacing_counts_a_generation(client: Client, iris: dict) -> None:
    iris["spec"]["predictors"][0]["traffic"] = 50
    iris["spec"]["predictors"][1]["traffic"] = 50
    answer = await client.put(f"{SDEPS}/iris", iris)
    assert answer.code == 200
    assert answer.json["metadata"]["generation"] == 2


async def test_replacing_an_old_version_is_a_conflict(client: Client, iris: dict) -> None:
    await client.patch(f"{SDEPS}/iris", {"metadata": {"labels": {"team": "blue"}}})
    answer = await client.put(f"{SDEPS}/iris", iris)
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")


async def test_replacing_with_faults_keeps_what_was(client: Client, iris: dict) -> None:
    faulty = {**iris, "spec": {**seldon_deployment()["spec"], "transport": "pigeon"}}
    assert (await client.put(f"{SDEPS}/iris", faulty)).code == 422
    assert (await client.get(f"{SDEPS}/iris")).json == iris


async def test_replacing_what_does_not_exist_is_refused(client: Client) -> None:
    assert (await client.put(f"{SDEPS}/iris", seldon_deployment())).code == 404


async def test_a_json_patch_with_a_true_test_moves_the_weights(client: Client, iris: dict) -> None:
    answer = await client.patch(
        f"{SDEPS}/iris",
        [
            {"op": "test", "path": "/spec/predictors/0/name", "value": "baseline"},
            {"op": "replace", "path": "/spec/predictors/0/traffic", "value": 60},
            {"op": "replace", "path": "/spec/predictors/1/traffic", "value": 40},
        ],
        JSON_PATCH,
    )
    assert [each["traffic"] for each in answer.json["spec"]["predictors"]] == [60, 40]


async def test_a_json_patch_with_a_false_test_moves_nothing(client: Client, iris: dict) -> None:
    operations = [
        {"op": "test", "path": "/metadata/generation", "value": 7},
        {"op": "replace", "path": "/spec/protocol", "value": "kfserving"},
    ]
    assert (await client.patch(f"{SDEPS}/iris", operations, JSON_PATCH)).code == 422
    assert (await client.get(f"{SDEPS}/iris")).json == iris


async def test_a_patch_is_admitted_like_any_other_change(client: Client, iris: dict) -> None:
    answer = await client.patch(f"{SDEPS}/iris", {"spec": {"transport": "grpc"}})
    assert answer.json["details"]["causes"][0]["field"] == "spec.transport"


async def test_a_patch_cannot_rename(client: Client, iris: dict) -> None:
    assert (await client.patch(f"{SDEPS}/iris", {"metadata": {"name": "wine"}})).code == 400


async def test_a_content_type_may_carry_parameters(client: Client, iris: dict) -> None:
    content_type = "application/merge-patch+json; charset=utf-8"
    assert (await client.patch(f"{SDEPS}/iris", {}, content_type)).code == 200


async def test_a_strategic_patch_of_a_custom_resource_is_refused(
    client: Client, iris: dict
) -> None:
    answer = await client.patch(f"{SDEPS}/iris", {}, "application/strategic-merge-patch+json")
    assert answer.code == 415


async def test_patching_what_does_not_exist_is_refused(client: Client) -> None:
    assert (await client.patch(f"{SDEPS}/iris", {})).code == 404


async def test_deleting_answers_with_what_is_gone(client: Client, iris: dict) -> None:
    answer = await client.delete(f"{SDEPS}/iris")
    assert answer.json["status"] == "Success"
    assert answer.json["details"]["uid"] == iris["metadata"]["uid"]
    assert (await client.get(f"{SDEPS}/iris")).code == 404


async def test_deleting_what_does_not_exist_is_refused(client: Client) -> None:
    assert (await client.delete(f"{SDEPS}/iris")).code == 404


async def test_a_secret_goes_through_all_verbs(client: Client) -> None:
    made = await client.post(SECRETS, {"metadata": {"name": "key"}, "stringData": {"a": "1"}})
    assert made.json["data"] == {"a": "MQ=="}
    patched = await client.patch(
        f"{SECRETS}/key", {"stringData": {"b": "2"}}, "application/strategic-merge-patch+json"
    )
    assert patched.json["data"] == {"a": "MQ==", "b": "Mg=="}
    replaced = await client.put(f"{SECRETS}/key", secret(c="Mw=="))
    assert replaced.json["data"] == {"c": "Mw=="}
    assert (await client.delete(f"{SECRETS}/key")).code == 200
    assert (await client.get(SECRETS)).json["items"] == []


# Dry runs.


async def test_a_dry_run_of_creating_shows_and_stores_nothing(client: Client) -> None:
    assert (await client.post(SDEPS, seldon_deployment(), dryRun="All")).code == 201
    assert (await client.get(SDEPS)).json["items"] == []


async def test_a_dry_run_still_refuses_what_has_faults(client: Client) -> None:
    document = {**seldon_deployment(), "spec": {"predictors": []}}
    assert (await client.post(SDEPS, document, dryRun="All")).code == 422


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_dry_run_of_a_change_changes_nothing(
    client: Client, iris: dict, method: str
) -> None:
    changed = {**iris, "spec": {**iris["spec"], "replicas": 3}} if method != "DELETE" else {}
    headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else {}
    answer = await client.send(method, f"{SDEPS}/iris", changed, headers, dryRun="All")
    assert answer.code == 200
    assert (await client.get(f"{SDEPS}/iris")).json == iris


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_dry_run_of_a_word_we_do_not_know_changes_nothing(
    client: Client, iris: dict, method: str
) -> None:
    changed = {**iris, "spec": {**iris["spec"], "replicas": 3}} if method != "DELETE" else {}
    headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else {}
    answer = await client.send(method, f"{SDEPS}/iris", changed, headers, dryRun="all")
    assert answer.code == 422
    assert (await client.get(f"{SDEPS}/iris")).json == iris


# Status.


@pytest.fixture
async def served(store: Store, iris: dict[str, Any]) -> dict[str, Any]:
    """The SeldonDeployment iris with a status, as the controller wrote it."""
    return store.update(SELDON_DEPLOYMENT, {**iris, "status": {"state": "Available"}})


async def test_a_client_cannot_create_a_status(client: Client) -> None:
    forged = {**seldon_deployment(), "status": {"state": "Available"}}
    assert "status" not in (await client.post(SDEPS, forged)).json


async def test_a_client_cannot_replace_the_status(client: Client, served: dict) -> None:
    answer = await client.put(f"{SDEPS}/iris", {**served, "status": {"state": "Failed"}})
    assert answer.json == served


async def test_a_client_cannot_patch_the_status(client: Client, served: dict) -> None:
    answer = await client.patch(f"{SDEPS}/iris", {"status": {"state": "Failed"}})
    assert answer.json == served


async def test_the_status_outlives_a_change_of_the_spec(client: Client, served: dict) -> None:
    served["spec"]["replicas"] = 2
    answer = await client.put(f"{SDEPS}/iris", served)
    assert answer.json["spec"]["replicas"] == 2
    assert answer.json["status"] == {"state": "Available"}


async def test_the_status_can_be_read_by_itself(client: Client, served: dict) -> None:
    assert (await client.get(f"{SDEPS}/iris/status")).json == served


# Warnings.


async def test_what_has_no_effect_is_told_in_a_warning(client: Client) -> None:
    document = seldon_deployment()
    document["spec"]["annotations"] = {"seldon.io/rest-timeout": "5000"}
    warning = (await client.post(SDEPS, document)).headers["warning"]
    assert warning.startswith('299 - "no effect on one machine: ')
    assert "seldon.io/rest-timeout" in warning


async def test_what_has_effect_makes_no_warning(client: Client) -> None:
    assert "warning" not in (await client.post(SDEPS, seldon_deployment())).headers


async def test_quotes_in_a_warning_are_escaped(client: Client) -> None:
    document = seldon_deployment()
    document["spec"]["annotations"] = {'seldon.io/"\\': "5000"}
    warning = (await client.post(SDEPS, document)).headers["warning"]
    assert 'annotations[seldon.io/\\"\\\\]' in warning


@pytest.mark.parametrize("part", ["漢字", "a\r\nSet-Cookie: b", "\x00"])
async def test_a_warning_holds_nothing_that_a_header_cannot(client: Client, part: str) -> None:
    document = seldon_deployment()
    document["spec"]["annotations"] = {f"seldon.io/{part}": "5000"}
    answer = await client.post(SDEPS, document)
    assert answer.code == 201
    assert answer.headers["warning"].isascii()
    assert answer.headers["warning"].isprintable()


# Namespaces.


async def test_a_namespace_can_be_made_and_used(client: Client) -> None:
    made = await client.post(NAMESPACES, namespace("team-a"))
    assert made.json["status"] == {"phase": "Active"}
    inside = await client.post(f"{NAMESPACES}/team-a/configmaps", config_map("colours", "team-a"))
    assert inside.code == 201


@pytest.mark.parametrize("name", ["default", "kube-public"])
async def test_the_clusters_own_namespaces_stay(client: Client, name: str) -> None:
    answer = await client.delete(f"{NAMESPACES}/{name}")
    assert (answer.code, answer.json["reason"]) == (403, "Forbidden")


async def test_another_namespace_can_be_deleted(client: Client) -> None:
    assert (await client.delete(f"{NAMESPACES}/shop")).code == 200
    assert (await client.get(f"{NAMESPACES}/shop")).code == 404


# Selection.


@pytest.fixture
async def two(client: Client) -> None:
    """SeldonDeployments: iris of team blue, wine of team red."""
    await client.post(SDEPS, seldon_deployment("iris", labels={"team": "blue"}))
    await client.post(SDEPS, seldon_deployment("wine", labels={"team": "red"}))


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    "query",
    [
        {"labelSelector": "team=blue"},
        {"labelSelector": "team in (blue,green)"},
        {"fieldSelector": "metadata.name=iris"},
        {"fieldSelector": "metadata.name!=wine", "labelSelector": "team"},
    ],
)
async def test_a_list_holds_what_was_selected(client: Client, query: dict[str, str]) -> None:
    items = (await client.get(SDEPS, **query)).json["items"]
    assert [each["metadata"]["name"] for each in items] == ["iris"]


@pytest.mark.usefixtures("two")
async def test_a_table_holds_what_was_selected(client: Client) -> None:
    rows = (await client.table(SDEPS, labelSelector="team=red")).json["rows"]
    assert [row["cells"][0] for row in rows] == ["wine"]


@pytest.mark.parametrize("query", [{"labelSelector": "a b"}, {"fieldSelector": "metadata.name"}])
@pytest.mark.parametrize("watch", [{}, {"watch": "true"}])
async def test_a_selector_that_cannot_be_read_is_a_bad_request(
    client: Client, query: dict[str, str], watch: dict[str, str]
) -> None:
    answer = await client.get(SDEPS, **query, **watch)
    assert (answer.code, answer.json["reason"]) == (400, "BadRequest")


# Tables.


async def test_kubectl_gets_a_table_of_a_list(client: Client, iris: dict) -> None:
    shown = (await client.table(SDEPS)).json
    assert shown["kind"] == "Table"
    assert shown["metadata"]["resourceVersion"] == iris["metadata"]["resourceVersion"]
    assert shown["rows"][0]["cells"][2] == "baseline 90%, candidate 10%"


async def test_kubectl_gets_a_table_of_one_object(client: Client, iris: dict) -> None:
    shown = (await client.table(f"{SDEPS}/iris")).json
    assert [row["cells"][0] for row in shown["rows"]] == ["iris"]


# Watches.


async def test_a_watch_begins_with_what_is_there(client: Client, iris: dict) -> None:
    async with client.watch(SDEPS) as events:
        assert await events.next() == {"type": "ADDED", "object": iris}


async def test_a_watch_tells_each_change(client: Client, iris: dict) -> None:
    version = iris["metadata"]["resourceVersion"]
    async with client.watch(SDEPS, resourceVersion=version) as events:
        await client.patch(f"{SDEPS}/iris", {"metadata": {"labels": {"team": "blue"}}})
        await client.delete(f"{SDEPS}/iris")
        assert await events.names(2) == [("MODIFIED", "iris"), ("DELETED", "iris")]


async def test_a_watch_from_the_version_of_a_list_misses_nothing(client: Client) -> None:
    version = (await client.get(SDEPS)).json["metadata"]["resourceVersion"]
    await client.post(SDEPS, seldon_deployment())
    async with client.watch(SDEPS, resourceVersion=version) as events:
        assert await events.names(1) == [("ADDED", "iris")]


async def test_initial_events_end_with_a_bookmark(client: Client, iris: dict) -> None:
    async with client.watch(SDEPS, sendInitialEvents="true", resourceVersion="0") as events:
        assert await events.names(1) == [("ADDED", "iris")]
        bookmark = await events.next()
        assert bookmark is not None
        assert bookmark["type"] == "BOOKMARK"
        metadata = bookmark["object"]["metadata"]
        assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert metadata["resourceVersion"] == iris["metadata"]["resourceVersion"]


async def test_changes_after_the_bookmark_follow(client: Client) -> None:
    async with client.watch(SDEPS, sendInitialEvents="true") as events:
        await events.next()
        await client.post(SDEPS, seldon_deployment())
        assert await events.names(1) == [("ADDED", "iris")]


@pytest.mark.usefixtures("two")
async def test_a_watch_tells_only_what_was_selected(client: Client) -> None:
    async with client.watch(SDEPS, fieldSelector="metadata.name=wine") as events:
        assert await events.names(1) == [("ADDED", "wine")]
        await client.delete(f"{SDEPS}/iris")
        await client.delete(f"{SDEPS}/wine")
        assert await events.names(1) == [("DELETED", "wine")]


async def test_a_watch_of_one_namespace_tells_of_no_other(client: Client) -> None:
    async with client.watch(SDEPS, sendInitialEvents="true") as events:
        await events.next()
        await client.post(SDEPS.replace("default", "shop"), seldon_deployment("a", "shop"))
        await client.post(SDEPS, seldon_deployment("b"))
        assert await events.names(1) == [("ADDED", "b")]


async def test_a_watch_ends_after_its_time(client: Client) -> None:
    async with client.watch(SDEPS, timeoutSeconds="0.01", resourceVersion="1") as events:
        assert await asyncio.wait_for(events.next(), 5) is None


async def test_a_watch_from_a_forgotten_version_ends_with_an_error(
    client: Client, store: Store
) -> None:
    store.create(SECRET, secret())
    for count in range(10_001):
        store.update(SECRET, {**secret(), "type": str(count)})
    async with client.watch(SDEPS, resourceVersion="1") as events:
        error = await events.next()
        assert error is not None
        assert (error["type"], error["object"]["code"]) == ("ERROR", 410)
        assert await events.next() is None


async def test_kubectl_gets_the_events_of_a_watch_as_tables(client: Client, iris: dict) -> None:
    accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    answer = await client.send("GET", SDEPS, headers=accept, watch="true", timeoutSeconds="0.01")
    assert answer.json["object"]["kind"] == "Table"


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersion": "new"},
        {"resourceVersion": "-1"},
        {"timeoutSeconds": "soon"},
        {"timeoutSeconds": "nan"},
    ],
)
async def test_a_watch_of_numbers_that_are_none_is_a_bad_request(
    client: Client, query: dict[str, str]
) -> None:
    answer = await client.get(SDEPS, watch="true", **query)
    assert (answer.code, answer.json["reason"]) == (400, "BadRequest")


# Pods.


async def test_the_log_of_a_pod_is_text(client: Client) -> None:
    answer = await client.get(f"{PODS}/iris-0/log")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == "default/iris-0 started\ndefault/iris-0 ready\n"


async def test_the_log_of_a_pod_can_be_cut_to_its_last_lines(client: Client) -> None:
    answer = await client.get(f"{PODS}/iris-0/log", tailLines="1")
    assert answer.text == "default/iris-0 ready\n"


async def test_no_lines_of_a_log_can_be_asked_for(client: Client) -> None:
    assert (await client.get(f"{PODS}/iris-0/log", tailLines="0")).text == ""


@pytest.mark.parametrize("lines", ["ten", "1.5"])
async def test_a_number_of_lines_that_is_none_is_a_bad_request(client: Client, lines: str) -> None:
    assert (await client.get(f"{PODS}/iris-0/log", tailLines=lines)).code == 400


@pytest.mark.parametrize("path", ["log", "proxy/metrics"])
async def test_a_pod_that_does_not_exist_has_neither_log_nor_proxy(
    client: Client, path: str
) -> None:
    answer = await client.get(f"{PODS}/wine-0/{path}")
    assert answer.json["message"] == 'pods "wine-0" not found'


async def test_a_request_to_a_pod_is_passed_on(client: Client) -> None:
    answer = await client.get(f"{PODS}/iris-0:8082/proxy/v2/health/ready")
    assert answer.text == "default iris-0 8082 v2/health/ready"
    assert answer.code == 203
    assert answer.headers["content-type"].startswith("text/x-proxied")


async def test_the_port_of_a_pod_may_be_left_out(client: Client) -> None:
    answer = await client.get(f"{PODS}/iris-0/proxy/metrics")
    assert answer.text == "default iris-0 None metrics"


async def test_a_port_that_is_no_number_is_a_bad_request(client: Client) -> None:
    assert (await client.get(f"{PODS}/iris-0:http/proxy/metrics")).code == 400


async def test_pods_can_be_listed(client: Client) -> None:
    items = (await client.get(PODS)).json["items"]
    assert [each["metadata"]["name"] for each in items] == ["iris-0"]


async def test_a_change_without_room_is_answered_with_507(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise ClusterError("state.db cannot be written (database or disk is full); make room")

    monkeypatch.setattr(store, "create", full)
    refused = await client.post(SECRETS, secret())
    assert refused.code == 507
    assert refused.json["reason"] == "InsufficientStorage"
    assert refused.json["message"].startswith("nothing was changed: state.db cannot be written")
