import pytest

from abserve.cluster.api.kinds import (
    SECRET,
    SELDON_DEPLOYMENT,
    SELDON_GROUP,
    aggregated,
    group_list,
    groups,
    kinds_of,
    resource_list,
)


def test_the_core_group_has_no_name_in_versions_and_paths() -> None:
    assert (SECRET.api_version, SECRET.root) == ("v1", "/api/v1")


def test_a_named_group_stands_in_versions_and_paths() -> None:
    assert SELDON_DEPLOYMENT.api_version == "machinelearning.seldon.io/v1"
    assert SELDON_DEPLOYMENT.root == "/apis/machinelearning.seldon.io/v1"


@pytest.mark.parametrize("group", ["coordination.k8s.io", SELDON_GROUP])
def test_discovery_names_each_group_with_its_version(group: str) -> None:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    found = {"name": group, "versions": [version], "preferredVersion": version}
    assert found in group_list()["groups"]


def test_discovery_tells_kubectl_the_short_name() -> None:
    resources = resource_list(SELDON_GROUP)["resources"]
    assert resources[0]["name"] == "seldondeployments"
    assert resources[0]["shortNames"] == ("sdep",)
    assert resources[0]["singularName"] == "seldondeployment"


def test_discovery_tells_what_lies_in_namespaces() -> None:
    namespaced = {each["name"]: each["namespaced"] for each in resource_list("")["resources"]}
    assert namespaced["secrets"]
    assert not namespaced["namespaces"]


def test_what_the_cluster_alone_writes_can_only_be_read() -> None:
    verbs = {each["name"]: each["verbs"] for each in resource_list("")["resources"]}
    assert verbs["services"] == ("get", "list", "watch")


def test_a_pod_has_logs_and_a_proxy() -> None:
    names = [each["name"] for each in resource_list("")["resources"]]
    assert {"pods/log", "pods/proxy"} <= set(names)


def test_kubectl_get_all_lists_what_serves() -> None:
    listed = [each["name"] for each in resource_list("")["resources"] if each.get("categories")]
    assert listed == ["pods", "services"]
    assert resource_list(SELDON_GROUP)["resources"][0]["categories"] == ("all",)


def test_scale_is_a_kind_of_its_own() -> None:
    scale = resource_list(SELDON_GROUP)["resources"][1]
    assert scale["name"] == "seldondeployments/scale"
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert scale["verbs"] == ("get", "patch", "update")


@pytest.mark.parametrize("group", ["", *groups()])
def test_all_groups_at_once_tell_what_each_group_tells(group: str) -> None:
    (item,) = aggregated([group])["items"]
    (version,) = item["versions"]
    together = [
        name
        for each in version["resources"]
        for name in (
            each["resource"],
            *(f"{each['resource']}/{below['subresource']}" for below in each["subresources"]),
        )
    ]
    assert together == [each["name"] for each in resource_list(group)["resources"]]
    verbs = {each["resource"]: each["verbs"] for each in version["resources"]}
    assert verbs == {kind.plural: kind.verbs for kind in kinds_of(group)}


def test_the_core_group_has_no_name_among_all_groups_either() -> None:
    assert [each["metadata"] for each in aggregated(["", *groups()])["items"]] == [
        {},
        {"name": "coordination.k8s.io"},
        {"name": SELDON_GROUP},
    ]
