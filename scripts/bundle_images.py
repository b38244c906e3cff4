"""List what a cluster without internet needs: all charts, and all images, theirs and ours.

    manifests/overlays/<environment>/*  ── kubectl kustomize ──> our images, by digest
    manifests/infrastructure/airgapped ── kubectl kustomize ──> releases ── helm template ──> theirs

    python scripts/bundle_images.py production > images.txt
    python scripts/bundle_images.py production --charts > charts.txt

Charts need `helm`, and a network to fetch them with: inside they come from the customer's registry,
outside from where the charts' makers have them. What Flux itself runs is in no chart: give its
manifests as a file (`flux install --export > flux.yaml`, then `--manifests flux.yaml`).
docs/air-gapped.md says what is then done with the lists.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
UNPUBLISHED = "sha256:" + "0" * 64
# In arguments, variables and settings an image stands among other words: there it has a host, or a
# user of docker.io, and a version. A field called `image` may hold anything that a node can pull.
IMAGE = re.compile(
    r"(?:[\w.-]+(?::\d+)?/)(?:[\w.-]+/)*[\w.-]+(?::v?\d[\w.-]*(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"
)


class BundleError(Exception):
    """The list cannot be made whole; the message says what is missing."""


@dataclass(frozen=True)
class Chart:
    """A release of a chart, as its HelmRelease and HelmRepository describe it."""

    repository: str
    name: str
    version: str
    release: str
    namespace: str
    values: Mapping[str, Any] = field(default_factory=dict, compare=False)


def rendered(folder: Path) -> list[dict[str, Any]]:
    """Return what kustomize makes of a folder."""
    beside = Path(sys.executable).with_name("kubectl")
    kubectl = str(beside) if beside.exists() else "kubectl"
    return _documents([kubectl, "kustomize", str(folder)])


def charts_of(
    releases: Iterable[Mapping[str, Any]], sources: Iterable[Mapping[str, Any]]
) -> list[Chart]:
    """Return the charts that HelmReleases install, each with the address of its repository."""
    repositories = {
        each["metadata"]["name"]: each["spec"]["url"]
        for each in sources
        if each["kind"] == "HelmRepository"
    }
    charts = []
    for each in releases:
        if each["kind"] != "HelmRelease":
            continue
        spec, chart = each["spec"], each["spec"]["chart"]["spec"]
        source = chart["sourceRef"]["name"]
        if source not in repositories:
            raise BundleError(
                f"HelmRelease {each['metadata']['name']!r} names the HelmRepository {source!r}, "
                f"and there are {sorted(repositories)}; write it into repositories.yaml"
            )
        charts.append(
            Chart(
                repository=repositories[source],
                name=chart["chart"],
                version=chart["version"],
                release=spec["releaseName"],
                namespace=spec["targetNamespace"],
                values=spec.get("values", {}),
            )
        )
    return sorted(charts, key=lambda each: (each.repository, each.name))


def images_of(documents: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return every image that documents name, wherever in them."""
    found = list(documents)
    return {image for each in found for image in _images(each)} | {
        image for each in found for image in _injected(each)
    }


def templated(chart: Chart) -> list[dict[str, Any]]:
    """Return what Helm makes of a chart with our values."""
    helm = shutil.which("helm")
    if helm is None:
        raise BundleError(
            "helm is not on PATH, so the images of charts cannot be listed; install it, or list "
            "only ours with --without-charts"
        )
    command = [helm, "template", chart.release, chart.name, "--repo", chart.repository]
    command += ["--version", chart.version, "--namespace", chart.namespace, "--values", "-"]
    # Nobody runs a chart's own tests.
    command += ["--skip-tests"]
    return _documents(command, stdin=yaml.safe_dump(dict(chart.values)))


def _images(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _images(below, str(name))
    elif isinstance(value, list):
        for below in value:
            yield from _images(below, key)
    elif isinstance(value, str):
        # The mesh's injector puts its own image in the place of this word.
        if key == "image" and value != "auto":
            yield value
        else:
            yield from IMAGE.findall(value)


def _injected(document: Mapping[str, Any]) -> Iterator[str]:
    # The proxy of the mesh is in no pod that a chart renders: the injector makes its name of parts.
    name = document.get("metadata", {}).get("name")
    if (document.get("kind"), name) != ("ConfigMap", "istio-sidecar-injector"):
        return
    settings = json.loads(document["data"]["values"])["global"]
    image = settings["proxy"]["image"]
    yield image if "/" in image else f"{settings['hub']}/{image}:{settings['tag']}"


def _documents(command: list[str], stdin: str | None = None) -> list[dict[str, Any]]:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise BundleError(f"{' '.join(command)}: {done.stderr.strip()}")
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def overlays(environment: str) -> list[Path]:
    """Return what is applied in an environment."""
    folder = ROOT / "manifests/overlays" / environment
    found = sorted(each.parent for each in folder.glob("*/kustomization.yaml"))
    kinds = {each: yaml.safe_load((each / "kustomization.yaml").read_text()) for each in found}
    # A component is a part of the others.
    found = [each for each in found if kinds[each].get("kind") != "Component"]
    if not found:
        raise BundleError(f"{folder} holds nothing to apply; environments are staging, production")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print images, or charts, one on each line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("environment")
    parser.add_argument("--charts", action="store_true", help="charts instead of images")
    parser.add_argument("--without-charts", action="store_true", help="only images of ours")
    parser.add_argument("--manifests", type=Path, action="append", default=[], metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        infrastructure = ROOT / "manifests/infrastructure"
        charts = charts_of(
            rendered(infrastructure / "airgapped/controllers"),
            rendered(infrastructure / "controllers"),
        )
        if options.charts:
            lines = [f"{each.repository} {each.name} {each.version}" for each in charts]
        else:
            documents = [
                each for folder in overlays(options.environment) for each in rendered(folder)
            ]
            for path in options.manifests:
                documents += [each for each in yaml.safe_load_all(path.read_text()) if each]
            if not options.without_charts:
                documents += [each for chart in charts for each in templated(chart)]
            lines = sorted(images_of(documents))
            missing = [each for each in lines if each.endswith(UNPUBLISHED)]
            if missing:
                raise BundleError(
                    f"{', '.join(missing)}: the digest is zeros, so nothing was published yet; let "
                    "CI publish the images, which writes their digests to the overlays"
                )
    except BundleError as error:
        sys.stderr.write(f"bundle_images: {error}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in dict.fromkeys(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
