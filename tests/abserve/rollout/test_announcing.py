import pytest

from abserve.cluster.api.kinds import NAMESPACE
from abserve.promotion import Kubernetes
from abserve.promotion.reading import event_documents
from abserve.rollout.announcing import Announcer
from abserve.rollout.records import End, Note, SetWeights
from tests.abserve.promotion.local_api import LocalApi
from tests.abserve.rollout.test_audit import BEGIN

AT = BEGIN.at + 60


@pytest.fixture
def cluster(api: LocalApi) -> Kubernetes:
    return Kubernetes(api.kubeconfig, "shop")


def test_weights_and_the_end_are_events_of_the_deployment(
    api: LocalApi, cluster: Kubernetes
) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    api.create(NAMESPACE, namespace)
    announcer = Announcer(cluster, pytest.fail)
    announcer.announce(BEGIN, SetWeights(at=AT, weights={"baseline": 90, "candidate": 10}))
    announcer.announce(BEGIN, End(at=AT, outcome="rolled back", text="v2 is rolled back"))
    announcer.announce(BEGIN, Note(at=AT, text="nothing to announce"))
    found = {each["reason"]: each for each in event_documents(cluster)}
    assert found.keys() == {"RolloutWeights", "RolloutEnded"}
    weights = found["RolloutWeights"]
    assert (weights["type"], weights["message"]) == (
        "Normal",
        "weights become baseline=90 candidate=10",
    )
    assert weights["involvedObject"]["uid"] == BEGIN.uid


def test_an_event_that_is_refused_is_said_once_and_stops_nothing(api: LocalApi) -> None:
    said: list[str] = []
    announcer = Announcer(Kubernetes(api.kubeconfig, "nowhere"), said.append)
    end = End(at=AT, outcome="kept", text="the weights stay")
    announcer.announce(BEGIN, end)
    announcer.announce(BEGIN, end)
    assert len(said) == 1
    assert "no Event is written" in said[0]
