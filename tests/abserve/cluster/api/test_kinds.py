import pytest

from abserve.cluster.api.kinds import (
    KINDS,
    NAMESPACE,
    SECRET,
    SELDON_DEPLOYMENT,
    SELDON_GROUP,
    group_list,
    openapi,
    resource_list,
)


def test_the_core_group_has_no_name_in_versions_and_paths() -> None:
    assert (SECRET.api_version, SECRET.root) == ("v1", "/api/v1")


def test_a_named_group_stands_in_versions_and_paths() -> None:
    assert SELDON_DEPLOYMENT.api_version == "machinelearning.seldon.io/v1"
    assert SELDON_DEPLOYMENT.root == "/apis/machinelearning.seldon.io/v1"


def test_discovery_names_the_group_with_its_version() -> None:
    version = {"groupVersion": "machinelearning.seldon.io/v1", "version": "v1"}
    assert group_list()["groups"] == [
        {"name": SELDON_GROUP, "versions": [version], "preferredVersion": version}
    ]


def test_discovery_tells_kubectl_the_short_name() -> None:
    resources = resource_list(SELDON_GROUP)["resources"]
    assert [each["name"] for each in resources] == ["seldondeployments", "seldondeployments/status"]
    assert resources[0]["shortNames"] == ["sdep"]
    assert resources[0]["singularName"] == "seldondeployment"


def test_discovery_tells_what_lies_in_namespaces() -> None:
    namespaced = {each["name"]: each["namespaced"] for each in resource_list("")["resources"]}
    assert namespaced["secrets"]
    assert not namespaced["namespaces"]


@pytest.mark.parametrize("plural", ["pods", "events"])
def test_what_the_cluster_alone_writes_can_only_be_read(plural: str) -> None:
    verbs = {each["name"]: each["verbs"] for each in resource_list("")["resources"]}
    assert verbs[plural] == ["get", "list", "watch"]


def test_a_pod_has_logs_and_a_proxy() -> None:
    names = [each["name"] for each in resource_list("")["resources"]]
    assert {"pods/log", "pods/proxy"} <= set(names)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_in_the_openapi_document_of_its_group(kind) -> None:
    named = [
        operation["patch"]["x-kubernetes-group-version-kind"]["kind"]
        for operation in openapi(kind.group)["paths"].values()
    ]
    assert kind.name in named


def test_openapi_says_that_the_api_checks_fields_itself() -> None:
    path = f"{SELDON_DEPLOYMENT.root}/namespaces/{{namespace}}/seldondeployments/{{name}}"
    parameters = openapi(SELDON_GROUP)["paths"][path]["patch"]["parameters"]
    assert {each["name"] for each in parameters} == {"dryRun", "fieldManager", "fieldValidation"}


def test_openapi_has_no_namespace_in_the_path_of_a_namespace() -> None:
    assert f"{NAMESPACE.root}/namespaces/{{name}}" in openapi("")["paths"]
