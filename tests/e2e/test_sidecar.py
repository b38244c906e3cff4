"""What a version's sidecar lets in, at the real Envoy, by the policies of `models`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.istio_envoy import of_kind
from tests.e2e.istio_security import Mesh, sidecar
from tests.e2e.running_envoy import Replica, replicas

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    return Mesh(tmp_path_factory.mktemp("mesh"))


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Replica]]:
    with replicas("baseline") as running:
        yield running


@pytest.fixture(scope="module")
def version(
    mesh: Mesh, servers: dict[str, Replica], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, int]]:
    """The ports of a version's sidecar."""
    policies = [
        each
        for each in of_kind("AuthorizationPolicy", "models")
        if each["metadata"]["name"] in {"nothing-by-default", "inference", "metrics-of-models"}
    ]
    folder = tmp_path_factory.mktemp("sidecar")
    with sidecar(folder, mesh, policies, servers["baseline"]) as ports:
        yield ports


def asked(url: str, *, method: str = "GET", **options: Any) -> int:
    """Return the status; the path is sent as it is written."""
    with requests.Session() as session:
        request = requests.Request(method, url).prepare()
        request.url = url
        return session.send(request, timeout=5, verify=False, **options).status_code


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2", 200),
        ("/v2/health/live", 200),
        ("/v2/models/iris", 200),
        ("/v2/models/iris/versions/v1/infer", 200),
        ("/v2/models/iris/feedback", 200),
        ("/v2/repository/index", 403),
        ("/v2/repository/models/iris/unload", 403),
        ("//v2/repository/models/iris/unload", 403),
        ("/v2//repository/models/iris/unload", 403),
        ("/v2%2Frepository%2Fmodels%2Firis%2Funload", 403),
        ("/v2/%72epository/models/iris/unload", 403),
        ("/v2/models/../repository/models/iris/unload", 403),
        ("/v2/models/%2e%2e/repository/models/iris/unload", 403),
        ("/V2/repository/models/iris/unload", 403),
        ("/v2/docs", 403),
        ("/prometheus", 403),
        ("/", 403),
    ],
)
def test_the_gateway_may_ask_for_inference_and_for_nothing_else(
    version: dict[str, int], mesh: Mesh, path: str, status: int
) -> None:
    own = mesh.identity("istio-ingress/istio-ingress")
    assert asked(f"https://127.0.0.1:{version['9000']}{path}", cert=own) == status


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("inference.GRPCInferenceService/ModelInfer", 200),
        ("inference.GRPCInferenceService/ModelStreamInfer", 200),
        ("inference.GRPCInferenceService/ServerLive", 200),
        ("inference.GRPCInferenceService/RepositoryIndex", 403),
        ("inference.GRPCInferenceService/RepositoryModelUnload", 403),
        # An older name of the same.
        ("inference.model_repository.ModelRepositoryService/RepositoryModelUnload", 403),
        ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", 403),
        ("v2/models/iris", 403),
    ],
)
def test_over_grpc_the_same(version: dict[str, int], mesh: Mesh, method: str, status: int) -> None:
    own = mesh.identity("istio-ingress/istio-ingress")
    assert asked(f"https://127.0.0.1:{version['9500']}/{method}", cert=own) == status


@pytest.mark.parametrize(
    "account",
    ["models/default", "models/abserve-rollout-iris", "istio-ingress/default", "x/istio-ingress"],
)
def test_another_pod_of_the_mesh_may_not(version: dict[str, int], mesh: Mesh, account: str) -> None:
    url = f"https://127.0.0.1:{version['9000']}/v2/models/iris/infer"
    assert asked(url, cert=mesh.identity(account)) == 403


def test_whoever_is_not_of_the_mesh_is_not_heard(
    version: dict[str, int], mesh: Mesh, tmp_path: Path
) -> None:
    url = f"127.0.0.1:{version['9000']}/v2/models/iris/infer"
    stranger = Mesh(tmp_path).identity("istio-ingress/istio-ingress")
    with pytest.raises(requests.ConnectionError):
        asked(f"https://{url}")
    with pytest.raises(requests.ConnectionError):
        asked(f"https://{url}", cert=stranger)
    with pytest.raises(requests.ConnectionError):
        asked(f"http://{url}")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/prometheus", 200),
        ("POST", "/prometheus", 403),
        ("GET", "/", 403),
        ("GET", "/prometheus/../v2/models/iris", 403),
        ("POST", "/v2/models/iris/infer", 403),
        ("GET", "/v2/models/iris", 403),
    ],
)
def test_without_a_certificate_metrics_are_read_and_nothing_else(
    version: dict[str, int], method: str, path: str, status: int
) -> None:
    assert asked(f"http://127.0.0.1:{version['6000']}{path}", method=method) == status
