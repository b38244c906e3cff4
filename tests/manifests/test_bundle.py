"""The lists of an air-gapped bundle: no image is forgotten, wherever it is named."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from scripts.bundle_images import (
    ROOT,
    BundleError,
    Chart,
    charts_of,
    images_of,
    main,
    overlays,
    rendered,
    templated,
)

DIGEST = "sha256:" + "a1" * 32
CHART = Chart("https://example.com/charts", "nice", "1.2.3", "nice", "models", {"colour": "blue"})


def test_images_are_found_in_containers_arguments_variables_and_settings() -> None:
    pod = {
        "initContainers": [{"image": "busybox"}],
        "containers": [
            {
                "image": f"ghcr.io/abserve/runtimes@{DIGEST}",
                "args": ["--reloader=quay.io/prometheus-operator/reloader:v0.93.1", "--port=80"],
                "env": [{"name": "INIT", "value": "seldonio/rclone-storage-initializer:1.17.1"}],
            }
        ],
    }
    settings = {"data": {"config": '{"image": "docker.io/istio/proxyv2:1.30.3"}'}}
    assert images_of([{"spec": pod}, settings]) == {
        "busybox",
        f"ghcr.io/abserve/runtimes@{DIGEST}",
        "quay.io/prometheus-operator/reloader:v0.93.1",
        "seldonio/rclone-storage-initializer:1.17.1",
        "docker.io/istio/proxyv2:1.30.3",
    }


@pytest.mark.parametrize(
    "text",
    ["s3://models/iris/v1", "http://prometheus.monitoring:9090", "auto", "app.kubernetes.io/name"],
)
def test_what_is_no_image_is_not_taken_for_one(text: str) -> None:
    assert images_of([{"spec": {"value": text}}]) == set()


def test_the_word_that_the_mesh_replaces_is_no_image() -> None:
    assert images_of([{"spec": {"containers": [{"image": "auto"}]}}]) == set()


def injector(image: str) -> dict[str, Any]:
    """Return the settings of the mesh's injector, as its chart renders them."""
    settings = {"hub": "registry.istio.io/release", "tag": "1.30.3", "proxy": {"image": image}}
    return {
        "kind": "ConfigMap",
        "metadata": {"name": "istio-sidecar-injector"},
        "data": {"values": json.dumps({"global": settings})},
    }


def test_the_proxy_that_the_mesh_puts_into_pods_is_found_in_its_parts() -> None:
    assert images_of([injector("proxyv2")]) == {"registry.istio.io/release/proxyv2:1.30.3"}
    whole = "registry.customer.example/istio/proxyv2:1.30.3"
    assert images_of([injector(whole)]) == {whole}


def test_every_predictor_and_the_controller_have_an_image_of_ours() -> None:
    found = images_of(each for folder in overlays("production") for each in rendered(folder))
    names = {each.partition("@")[0] for each in found if each.startswith("ghcr.io/abserve/")}
    assert {"ghcr.io/abserve/runtimes", "ghcr.io/abserve/rollout"} <= names


def test_charts_are_listed_with_where_they_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["production", "--charts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "https://storage.googleapis.com/seldon-charts seldon-core-operator 1.17.1" in lines
    # What the cluster inside installs, and neither a cloud's autoscaler nor its secrets' operator.
    assert {each.split()[1] for each in lines} == {
        "base",
        "cert-manager",
        "cni",
        "gateway",
        "istiod",
        "keda",
        "kube-prometheus-stack",
        "seldon-core-operator",
    }


def test_a_release_without_its_repository_is_told() -> None:
    documents = rendered(ROOT / "manifests/infrastructure/controllers")
    without = [
        each
        for each in documents
        if (each["kind"], each["metadata"]["name"]) != ("HelmRepository", "seldon")
    ]
    with pytest.raises(BundleError, match="'seldon-core' names the HelmRepository 'seldon'"):
        charts_of(documents, without)


def test_a_chart_is_rendered_with_our_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Prints back what it was asked for, in the place of the program that needs a network.
    helm = tmp_path / "helm"
    helm.write_text('#!/bin/sh\necho "arguments: \\"$*\\""\necho values:\nsed "s/^/  /"\n')
    helm.chmod(helm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (answer,) = templated(CHART)
    assert answer["values"] == {"colour": "blue"}
    assert answer["arguments"] == (
        "template nice nice --repo https://example.com/charts --version 1.2.3 "
        "--namespace models --values - --skip-tests"
    )


def test_without_helm_the_list_is_not_whole_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match="helm is not on PATH"):
        templated(CHART)


def test_an_unknown_environment_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere", "--without-charts"]) == 1
    assert "environments are staging, production" in capsys.readouterr().err


def test_an_image_that_was_not_published_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = tmp_path / "extra.yaml"
    extra.write_text(f"image: ghcr.io/abserve/other@sha256:{'0' * 64}\n")
    assert main(["production", "--without-charts", "--manifests", str(extra)]) == 1
    assert "ghcr.io/abserve/other@sha256:0" in capsys.readouterr().err
