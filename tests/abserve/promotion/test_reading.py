import pytest

from abserve.cluster.api.kinds import EVENT
from abserve.errors import KubernetesError
from abserve.promotion import Kubernetes
from abserve.promotion.reading import event_documents, pod_documents
from tests.abserve.promotion.local_api import LocalApi


def test_pods_are_what_the_api_sends(api: LocalApi, cluster: Kubernetes) -> None:
    api.run_pod("b-1", "baseline", "")
    (pod,) = pod_documents(cluster)
    assert pod["metadata"]["labels"]["seldon-app"] == "iris-baseline"
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_events_are_what_the_api_sends(api: LocalApi, cluster: Kubernetes) -> None:
    metadata = {"name": "iris.1", "namespace": "shop"}
    api.create(EVENT, {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "count": 3})
    assert [each["count"] for each in event_documents(cluster)] == [3]


def test_a_refusal_is_told(api: LocalApi) -> None:
    nowhere = Kubernetes(api.kubeconfig, "no/where")
    with pytest.raises(KubernetesError, match="refused"):
        pod_documents(nowhere)
