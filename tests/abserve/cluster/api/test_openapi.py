import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from abserve.cluster.api.kinds import (
    CONFIG_MAP,
    KINDS,
    NAMESPACE,
    SECRET,
    SELDON_DEPLOYMENT,
    SELDON_GROUP,
    Kind,
    groups,
)
from abserve.cluster.api.openapi import documents, index
from tests.abserve.cluster.asgi import Client
from tests.abserve.cluster.documents import seldon_deployment
from tests.manifests.crd import crd_schema

SELDON = "io.seldon.machinelearning.v1."
CORE = "io.k8s.api.core.v1."

Schema = dict[str, Any]


def document(group: str) -> dict[str, Any]:
    published: dict[str, Any] = json.loads(
        documents()[f"apis/{group}/v1" if group else "api/v1"].body
    )
    return published


def schemas(group: str) -> dict[str, Schema]:
    found: dict[str, Schema] = document(group)["components"]["schemas"]
    return found


def operations(group: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document(group)["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method, operation


def resolved(schema: Schema, group: str = SELDON_GROUP) -> Schema:
    """Return what a schema refers to, or the schema itself."""
    reference = schema.get("$ref") or schema.get("allOf", [{}])[0].get("$ref")
    return schemas(group)[reference.rpartition("/")[2]] if reference else schema


def fields(group: str) -> Iterator[tuple[str, Schema]]:
    for name, schema in schemas(group).items():
        for field, of in schema.get("properties", {}).items():
            yield f"{name}.{field}", of


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref":
                yield each.removeprefix("#/components/schemas/")
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_index_names_a_document_for_each_group_with_its_digest() -> None:
    urls = [each["serverRelativeURL"] for each in index()["paths"].values()]
    digests = [each.digest for each in documents().values()]
    assert urls == [
        f"/openapi/v3/api/v1?hash={digests[0]}",
        f"/openapi/v3/apis/coordination.k8s.io/v1?hash={digests[1]}",
        f"/openapi/v3/apis/machinelearning.seldon.io/v1?hash={digests[2]}",
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_explain_finds_each_kind(kind: Kind) -> None:
    found = [
        name
        for name, schema in schemas(kind.group).items()
        if kind.version_kind in schema.get("x-kubernetes-group-version-kind", [])
    ]
    assert [name.rpartition(".")[2] for name in found] == [kind.name]
    paths = [
        path
        for path, _, operation in operations(kind.group)
        if operation["x-kubernetes-group-version-kind"] == kind.version_kind
    ]
    assert f"{kind.root}/{kind.plural}" in paths


@pytest.mark.parametrize("group", ["", *groups()])
def test_every_field_is_described(group: str) -> None:
    assert [name for name, schema in fields(group) if not schema.get("description")] == []


@pytest.mark.parametrize("group", ["", *groups()])
def test_a_description_is_one_line_that_ends_with_a_full_stop(group: str) -> None:
    told = {name: schema["description"] for name, schema in fields(group)}
    assert [name for name, text in told.items() if not text.endswith(".") or "\n" in text] == []


@pytest.mark.parametrize("group", ["", *groups()])
def test_every_reference_leads_somewhere(group: str) -> None:
    assert set(references(document(group))) <= set(schemas(group))


@pytest.mark.parametrize("group", ["", *groups()])
def test_what_is_referred_to_can_be_described_beside_the_reference(group: str) -> None:
    assert [name for name, schema in fields(group) if "$ref" in schema] == []


@pytest.mark.parametrize("group", ["", *groups()])
def test_nothing_is_written_that_openapi_3_0_does_not_have(group: str) -> None:
    text = json.dumps(schemas(group))
    for word in ("$defs", "anyOf", "const", "null", "title"):
        assert f'"{word}"' not in text


@pytest.mark.parametrize("group", ["", *groups()])
def test_a_document_is_one_of_openapi(group: str) -> None:
    schemathesis.openapi.from_dict(document(group)).validate()


def test_a_graph_refers_to_itself() -> None:
    children = schemas(SELDON_GROUP)[f"{SELDON}PredictiveUnit"]["properties"]["children"]
    assert children["items"] == {"$ref": f"#/components/schemas/{SELDON}PredictiveUnit"}


def test_what_takes_numbers_and_strings_says_so_as_kubernetes_does() -> None:
    budget = schemas(SELDON_GROUP)[f"{SELDON}PdbSpec"]["properties"]
    assert budget["minAvailable"]["x-kubernetes-int-or-string"] is True
    assert "type" not in budget["minAvailable"]


def test_what_kubernetes_may_add_is_let_through() -> None:
    container = schemas(SELDON_GROUP)[f"{SELDON}Container"]
    assert container["x-kubernetes-preserve-unknown-fields"] is True


def test_a_map_tells_the_type_of_its_values() -> None:
    data = schemas("")[f"{CORE}Secret"]["properties"]["data"]
    assert (data["type"], data["additionalProperties"]) == ("object", {"type": "string"})


@pytest.mark.parametrize("kind", [SELDON_DEPLOYMENT, NAMESPACE, SECRET, CONFIG_MAP])
def test_kubectl_is_told_that_the_api_checks_fields_itself(kind: Kind) -> None:
    (patch,) = [
        operation
        for path, method, operation in operations(kind.group)
        if method == "patch" and path.endswith(f"/{kind.plural}/{{name}}")
    ]
    named = {each["name"] for each in patch["parameters"]}
    assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= named


def test_a_strategic_patch_is_offered_for_kubernetes_own_kinds_only() -> None:
    strategic = "application/strategic-merge-patch+json"
    offered = {
        operation["x-kubernetes-group-version-kind"]["kind"]
        for group in ("", *groups())
        for _, method, operation in operations(group)
        if method == "patch" and strategic in operation["requestBody"]["content"]
    }
    assert offered == {"ConfigMap", "Event", "Lease", "Namespace", "Secret"}


@pytest.mark.parametrize("group", ["", *groups()])
def test_what_varies_in_a_path_is_a_parameter_of_it(group: str) -> None:
    for path, methods in document(group)["paths"].items():
        named = [each["name"] for each in methods.get("parameters", ())]
        assert [part[1:-1] for part in path.split("/") if part.startswith("{")] == named


def test_what_can_only_be_read_has_no_operation_that_writes() -> None:
    methods = {method for path, method, _ in operations("") if "/services" in path}
    assert methods == {"get"}


def test_a_pod_can_be_deleted_and_not_written() -> None:
    methods = {method for path, method, _ in operations("") if "/pods" in path}
    assert methods == {"get", "delete"}


def test_the_scale_of_a_seldon_deployment_is_a_kind_of_its_own() -> None:
    path = f"{SELDON_DEPLOYMENT.root}/namespaces/{{namespace}}/seldondeployments/{{name}}/scale"
    scale = document(SELDON_GROUP)["paths"][path]
    assert set(scale) == {"get", "parameters", "patch", "put"}
    assert scale["get"]["x-kubernetes-group-version-kind"]["group"] == "autoscaling"


# As it is served.


async def test_a_document_asked_for_by_its_digest_may_be_kept_for_ever(client: Client) -> None:
    for each in (await client.get("/openapi/v3")).json["paths"].values():
        path, _, digest = each["serverRelativeURL"].partition("?hash=")
        answer = await client.get(path, hash=digest, timeout="32s")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["etag"] == f'"{digest}"'
        assert answer.json["openapi"] == "3.0.0"


@pytest.mark.parametrize("query", [{}, {"hash": "0" * 32}])
async def test_a_document_asked_for_otherwise_is_the_newest_and_not_kept(
    client: Client, query: dict[str, str]
) -> None:
    answer = await client.get("/openapi/v3/api/v1", **query)
    assert answer.body == documents()["api/v1"].body
    assert answer.headers["cache-control"] == "no-cache"


async def test_there_are_no_schemas_of_version_2(client: Client) -> None:
    assert (await client.get("/openapi/v2")).json["paths"] == {}
    accept = {"accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    answer = await client.send("GET", "/openapi/v2", headers=accept)
    assert answer.body == b"\n\x032.0"
    assert answer.headers["content-type"].endswith("+protobuf")


@pytest.mark.parametrize("path", ["/api", "/apis"])
async def test_discovery_of_all_groups_at_once_is_for_those_who_ask(
    client: Client, path: str
) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    answer = await client.send("GET", path, headers={"accept": accept})
    assert answer.json["kind"] == "APIGroupDiscoveryList"
    assert "as=APIGroupDiscoveryList" in answer.headers["content-type"]
    assert (await client.get(path)).json["kind"] in {"APIVersions", "APIGroupList"}


# Held against Seldon's own definition.


def differences(ours: Schema, theirs: Schema, path: str, above: tuple[str, ...] = ()) -> list[str]:
    """Return where our schema disagrees with the CRD's about fields that both have."""
    ours = resolved(ours)
    if theirs.get("x-kubernetes-int-or-string"):
        return [] if ours.get("x-kubernetes-int-or-string") else [f"{path}: not int-or-string"]
    if ours["type"] != theirs["type"]:
        return [f"{path}: {ours['type']} here, {theirs['type']} there"]
    if ours.get("format") != theirs.get("format"):
        return [f"{path}: format {ours.get('format')} here, {theirs.get('format')} there"]
    found = []
    for inner in ("items", "additionalProperties"):
        if inner in ours and inner not in theirs:
            found.append(f"{path}: no {inner} there")
        elif inner in ours:
            found += differences(ours[inner], theirs[inner], f"{path}[]", above)
    for name, schema in ours.get("properties", {}).items():
        below = f"{path}.{name}"
        if name not in theirs.get("properties", {}):
            found.append(f"{below}: not there")
        elif name != "children" or "children" not in above:
            found += differences(schema, theirs["properties"][name], below, (*above, name))
    return found


def field_sets(
    ours: Schema, theirs: Schema, path: str, above: tuple[str, ...] = ()
) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield the fields, and those required, of each object whose fields we all know."""
    ours = resolved(ours)
    if "items" in ours:
        yield from field_sets(ours["items"], theirs["items"], path, above)
    if "properties" not in ours or ours.get("x-kubernetes-preserve-unknown-fields"):
        return
    yield path, set(ours["properties"]), set(theirs["properties"])
    yield f"{path} (required)", set(ours.get("required", ())), set(theirs.get("required", ()))
    for name, schema in ours["properties"].items():
        if name != "children" or "children" not in above:
            inner = theirs["properties"][name]
            yield from field_sets(schema, inner, f"{path}.{name}", (*above, name))


def test_every_field_of_ours_is_in_the_crd_with_the_same_type() -> None:
    ours = schemas(SELDON_GROUP)[f"{SELDON}SeldonDeployment"]["properties"]
    theirs = crd_schema()["properties"]
    assert differences(ours["spec"], theirs["spec"], "spec") == []
    assert differences(ours["status"], theirs["status"], "status") == []


def test_every_field_of_seldons_is_one_of_ours() -> None:
    ours = schemas(SELDON_GROUP)[f"{SELDON}SeldonDeployment"]["properties"]["spec"]
    theirs = crd_schema()["properties"]["spec"]
    pairs = list(field_sets(ours, theirs, "spec"))
    assert len(pairs) > 30
    assert [path for path, here, there in pairs if here != there] == []


def test_a_seldon_deployment_has_no_further_parts() -> None:
    ours = schemas(SELDON_GROUP)[f"{SELDON}SeldonDeployment"]["properties"]
    assert set(ours) == set(crd_schema()["properties"])
    assert set(seldon_deployment()) < set(ours)
