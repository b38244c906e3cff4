import pytest

from abserve.promotion import Kubernetes
from tests.abserve.promotion.local_api import LocalApi


@pytest.fixture
def cluster(api: LocalApi) -> Kubernetes:
    return Kubernetes(api.kubeconfig, "shop")
