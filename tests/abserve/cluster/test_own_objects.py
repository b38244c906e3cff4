import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import CONFIG_MAP, NAMESPACE, SERVICE
from abserve.cluster.api.schemas import faults
from abserve.cluster.own_objects import gateway_service, make_own_objects
from abserve.cluster.state import State
from abserve.errors import ClusterError
from tests.abserve.cluster.conftest import NOW


def test_the_gateway_is_a_service_that_cluster_info_prints() -> None:
    service = gateway_service("http://localhost:8080")
    assert service["metadata"]["labels"] == {"kubernetes.io/cluster-service": "true"}
    assert service["status"]["loadBalancer"]["ingress"] == [{"hostname": "localhost"}]
    assert [port["port"] for port in service["spec"]["ports"]] == [8080]


def test_a_gateway_with_tls_is_not_printed_as_one_without() -> None:
    service = gateway_service("https://localhost:8443")
    assert service["metadata"]["labels"] == {}
    assert service["spec"]["ports"][0]["name"] == "https"


def test_the_service_has_the_fields_that_explain_knows() -> None:
    assert faults(SERVICE, gateway_service("http://localhost:8080")) == ()


@pytest.mark.parametrize("url", ["http://localhost", "localhost:8080", ""])
def test_a_url_without_host_and_port_is_refused(url: str) -> None:
    with pytest.raises(ClusterError, match="expected one with a host and a port"):
        gateway_service(url)


async def test_a_later_cluster_says_where_its_own_gateway_is() -> None:
    state = State()
    make_own_objects(Store(lambda: NOW, state), "http://localhost:8080")
    store = Store(lambda: NOW, state)
    make_own_objects(store, "http://localhost:9090")
    assert store.get(CONFIG_MAP, "kube-public", "abserve-gateway")["data"] == {
        "url": "http://localhost:9090"
    }
    names = [each["metadata"]["name"] for each in store.list(NAMESPACE)]
    assert names == ["default", "kube-public", "kube-system"]
