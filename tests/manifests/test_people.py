"""What people may do in the cluster: what the commands that they use ask for, and no more."""

import pytest

from abserve.cluster.api.kinds import NAMESPACE
from abserve.promotion import Kubernetes, gateway_of, promote, read_status, roll_back, set_weights
from abserve.weights import Weights
from tests.abserve.cluster.documents import namespace as namespace_document
from tests.abserve.promotion.local_api import LocalApi, Server
from tests.abserve.telemetry.replica import Replica
from tests.manifests.access import ENVIRONMENTS, Documents, documents, of_kind
from tests.manifests.rights import RecordedRequests, Right, not_granted, rights_of

SELDON = "machinelearning.seldon.io"


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def access(request: pytest.FixtureRequest) -> Documents:
    return documents(request.param)


def test_no_right_is_for_everything_or_for_secrets_or_for_rights(access: Documents) -> None:
    for role in of_kind(access, "Role").values():
        for right in rights_of(role):
            assert "*" not in right
            assert right.resource not in {"secrets", "pods/exec", "pods/attach"}
            assert right.resource not in {"roles", "rolebindings", "serviceaccounts"}
            assert right.verb not in {"escalate", "bind", "impersonate", "deletecollection"}


def granted_to(group: str, access: Documents) -> set[Right]:
    granted = set()
    for (kind, namespace, _), binding in access.items():
        if kind == "RoleBinding" and group in {each["name"] for each in binding["subjects"]}:
            granted |= rights_of(access["Role", namespace, binding["roleRef"]["name"]])
    return granted


@pytest.mark.parametrize(
    ("group", "verbs"),
    [
        ("abserve-viewers", {"get", "list", "watch"}),
        ("abserve-operators", {"get", "list", "watch", "patch"}),
        (
            "abserve-deployers",
            {"get", "list", "watch", "patch", "create", "update", "delete"},
        ),
    ],
)
def test_groups_may_do_this_to_a_seldondeployment(
    group: str, verbs: set[str], access: Documents
) -> None:
    granted = {each for each in granted_to(group, access) if each.group == SELDON}
    assert {each.verb for each in granted} == verbs
    assert {each.resource for each in granted} == {"seldondeployments"}


def recording(api: LocalApi, server: Server) -> RecordedRequests:
    api.create(NAMESPACE, namespace_document("shop"))
    api.apply()
    api.run_pod("iris-baseline-0", "baseline", Replica().text)
    assert server.app is not None
    recorder = RecordedRequests(server.app)
    server.app = recorder
    return recorder


def test_a_viewer_may_do_what_status_does(access: Documents, api: LocalApi, server: Server) -> None:
    recorded = recording(api, server)
    cluster = Kubernetes(api.kubeconfig, "shop")
    read_status(cluster, "iris", gateway_of(cluster))
    cluster.names()
    assert Right("get", "", "configmaps", "abserve-gateway") in recorded.needed
    assert Right("get", "", "pods/proxy", "iris-baseline-0:6000") in recorded.needed
    assert not_granted(recorded.needed, granted_to("abserve-viewers", access)) == set()


def test_an_operator_may_change_weights_roll_back_and_promote(
    access: Documents, api: LocalApi, server: Server
) -> None:
    recorded = recording(api, server)
    cluster = Kubernetes(api.kubeconfig, "shop")
    half = Weights({"baseline": 50, "candidate": 50})
    set_weights(cluster, "iris", half, 5)
    roll_back(cluster, "iris", print, 5)
    promote(cluster, "iris", print, 5)
    patch = Right("patch", SELDON, "seldondeployments", "iris")
    assert patch in recorded.needed
    assert not_granted(recorded.needed, granted_to("abserve-operators", access)) == set()
    assert patch in not_granted(recorded.needed, granted_to("abserve-viewers", access))


def test_every_role_is_somebodys(access: Documents) -> None:
    roles = {(namespace, name) for kind, namespace, name in access if kind == "Role"}
    bound = {
        (namespace, binding["roleRef"]["name"])
        for (kind, namespace, _), binding in access.items()
        if kind == "RoleBinding"
    }
    assert roles == bound
