"""The demo, as ``make demo`` runs it."""

from pathlib import Path

import pytest

from tests.e2e.local_cluster import LocalCluster, infer

pytestmark = pytest.mark.e2e


def test_the_demo_does_the_whole_loop_and_leaves_nothing(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path)
    done = cluster.abserve("demo", "--requests", "300")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    steps = (
        "train two versions",
        "start a local cluster",
        "apply the SeldonDeployment",
        "send 300 requests",
        "move to 50/50",
        "promote the candidate",
        "shut down",
        "The same by hand",
    )
    places = [said.index(step) for step in steps]
    assert places == sorted(places)
    assert "300 requests, 0 failed" in said
    assert said.count("requests meanwhile, 0 failed") == 2
    assert "50/50" in said
    assert "since the change: v1" in said
    assert not (tmp_path / "demo" / "cluster.json").exists()
    assert LocalCluster(tmp_path / "demo").processes() == []


def test_the_demo_can_be_repeated_and_kept(repository: Path, tmp_path: Path) -> None:
    demo = LocalCluster(tmp_path)
    cluster = LocalCluster(tmp_path / "demo")
    url = repository.as_uri()
    try:
        done = demo.abserve("demo", "--requests", "100", "--keep", "--repository", url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "published before" in done.stdout
        assert infer(cluster.url()).json()["model_version"] == "v2"
        # Training goes to where the running cluster reads from, and finds the version taken.
        refused = cluster.abserve("train", "iris", "--version", "v1")
        assert url in refused.stderr
        second = demo.abserve("demo")
        assert second.returncode == 1
        assert "still running" in second.stderr
    finally:
        cluster.must("abserve", "down")
