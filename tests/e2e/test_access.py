"""What the real Envoy does with our EnvoyFilters: as much as can be seen of them without Istio."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import requests
from scipy import stats

from abserve.gateway import Listener, bootstrap
from tests.e2e.istio_envoy import istio_envoy, merged, patch_of
from tests.e2e.running_envoy import (
    Replica,
    RunningEnvoy,
    replicas,
    route_to,
    running_envoy,
)

pytestmark = pytest.mark.e2e

UNITS = [f"user-{number}" for number in range(500)]
LONG = [f"tenant-{number}/" + "x" * (number % 70) for number in range(100)]
NAMED = (("seldon", "iris"), ("namespace", "shop"))
SPLIT = {"baseline": 70, "candidate": 30}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Replica]]:
    with replicas("baseline", "candidate") as running:
        yield running


@pytest.fixture(scope="module")
def istio(
    servers: dict[str, Replica], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningEnvoy]:
    behind = {name: [server] for name, server in servers.items()}
    with istio_envoy(tmp_path_factory.mktemp("istio"), SPLIT, behind) as running:
        yield running


@pytest.fixture(scope="module")
def local(
    servers: dict[str, Replica], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningEnvoy]:
    route = route_to(SPLIT, servers, unit_header="x-unit-id")
    with running_envoy(tmp_path_factory.mktemp("local"), route) as running:
        yield running


def variants(envoy: RunningEnvoy, headers: list[dict[str, str]]) -> list[str]:
    with requests.Session() as session:
        return [
            session.get(f"{envoy.path}/x", headers=each, timeout=5).json()["name"]
            for each in headers
        ]


def test_a_unit_gets_the_variant_in_the_cluster_that_it_gets_on_one_machine(
    istio: RunningEnvoy, local: RunningEnvoy
) -> None:
    units = [{"x-unit-id": each} for each in (*UNITS, *LONG, "é", "a,b")]
    assigned = variants(istio, units)
    assert set(assigned) == {"baseline", "candidate"}
    assert assigned == variants(local, units)


def test_grpc_of_a_unit_reaches_the_same_variant(istio: RunningEnvoy) -> None:
    assigned = variants(istio, [{"x-unit-id": each} for each in UNITS[:50]])
    with grpc.insecure_channel(f"localhost:{istio.port}") as channel:
        called = [istio.call_over(channel, *NAMED, ("x-unit-id", each)) for each in UNITS[:50]]
    assert called == assigned


@pytest.mark.parametrize("unit", [None, "", ",", ",,"])
def test_requests_of_no_unit_are_split_by_the_weights(
    istio: RunningEnvoy, unit: str | None
) -> None:
    headers = {} if unit is None else {"x-unit-id": unit}
    low, high = stats.binom.interval(1 - 1e-7, 1000, 0.30)
    assert low <= Counter(variants(istio, [headers] * 1000))["candidate"] <= high


def test_a_caller_chooses_neither_place_nor_replica(istio: RunningEnvoy) -> None:
    plain = [{"x-unit-id": each} for each in UNITS[:50]]
    for place in ("0", "99", "100"):
        chosen = {
            "x-abserve-place": place,
            "x-abserve-unit": "me",
            "x-abserve-baseline": "outbound|9000|candidate|iris-candidate.shop.svc.cluster.local",
        }
        assert variants(istio, [{**each, **chosen} for each in plain]) == variants(istio, plain)


def test_a_unit_that_is_named_several_times_is_one_in_whichever_order(istio: RunningEnvoy) -> None:
    with grpc.insecure_channel(f"localhost:{istio.port}") as channel:
        for first, second in zip(UNITS[:20], UNITS[20:40], strict=True):
            twice = (("x-unit-id", first), ("x-unit-id", second))
            one = istio.call_over(channel, *NAMED, *twice)
            assert istio.call_over(channel, *NAMED, *reversed(twice)) == one


@pytest.mark.parametrize("weights", [{"baseline": 100}, {"baseline": 100, "candidate": 0}])
def test_a_baseline_alone_has_all_requests_after_a_promotion_or_a_rollback(
    weights: dict[str, int], servers: dict[str, Replica], tmp_path: Path
) -> None:
    behind = {name: [servers[name]] for name in weights}
    with istio_envoy(tmp_path, weights, behind) as envoy:
        units = [{"x-unit-id": each} for each in UNITS[:100]]
        assert set(variants(envoy, [*units, *[{}] * 100])) == {"baseline"}
        assert envoy.call(*NAMED, ("x-unit-id", "anna")) == "baseline"
        assert envoy.call(*NAMED) == "baseline"


def test_all_go_to_the_candidate_when_it_has_all_the_weight(
    servers: dict[str, Replica], tmp_path: Path
) -> None:
    behind = {name: [server] for name, server in servers.items()}
    with istio_envoy(tmp_path, {"baseline": 0, "candidate": 100}, behind) as envoy:
        units = [{"x-unit-id": each} for each in UNITS]
        assert set(variants(envoy, [*units, *[{}] * 500])) == {"candidate"}


def test_a_unit_stays_with_one_replica_of_several(tmp_path: Path) -> None:
    with replicas("one", "two", "three") as running:
        with istio_envoy(tmp_path, {"baseline": 100}, {"baseline": [*running.values()]}) as envoy:
            units = [{"x-unit-id": each} for each in UNITS]
            first = variants(envoy, units)
            assert variants(envoy, units) == first
        assert min(Counter(first).values()) > 100


def test_the_merge_is_istios() -> None:
    one = {"route": {"cluster": "a", "hash_policy": [1]}}
    patch = {"route": {"weighted_clusters": {"clusters": [2]}, "hash_policy": [3]}}
    assert merged(one, patch) == {
        "route": {"weighted_clusters": {"clusters": [2]}, "hash_policy": [1, 3]}
    }


def test_the_rate_limit_is_the_local_gateways(tmp_path: Path) -> None:
    content = bootstrap(1, 2, tmp_path, Listener(requests_per_second=200))
    (listener,) = content["static_resources"]["listeners"]
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    assert patch_of("rate-limit", "HTTP_FILTER") == filters[0]
