"""In what the overlays of a model differ, file by file and as they render.

::

    overlays/production/iris/kustomization.yaml   the same in staging, and in local but for what a
                                                  cluster has beside the base
    overlays/production/iris/weights.yaml         the difference: versions, weights, replicas
"""

import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import yaml

from tests.manifests.models import Document, beyond, differences
from tests.manifests.rendering import rendered

# The paths that may differ, by the kind of object.
Allowed = Mapping[str, tuple[str, ...]]

FILES = {"kustomization.yaml", "weights.yaml"}

_PREDICTOR = r"\.spec\.predictors\[(baseline|candidate)\]"
_POD = rf"{_PREDICTOR}\.componentSpecs\[0\]"
WEIGHT_AND_VERSION: Allowed = {
    "SeldonDeployment": (
        rf"{_PREDICTOR}\.traffic",
        rf"{_PREDICTOR}\.graph\.modelUri",
        rf"{_POD}\.spec\.initContainers\[[a-z-]+-model-initializer\]\.args\[1\]",
    ),
    "PrometheusRule": (
        r"\.spec\.groups\[abserve\.wanted-version\]\.rules\[[01]\]\.labels\.version",
    ),
}
OF_A_MODEL: Allowed = {
    **WEIGHT_AND_VERSION,
    "SeldonDeployment": (
        *WEIGHT_AND_VERSION["SeldonDeployment"],
        rf"{_POD}\.kedaSpec\.m(in|ax)ReplicaCount",
    ),
}
_OF_AN_ENVIRONMENT: Allowed = {
    **OF_A_MODEL,
    "SeldonDeployment": (
        *OF_A_MODEL["SeldonDeployment"],
        # CI writes digests to each environment when it is that one's turn.
        rf"{_POD}\.spec\.containers\[[a-z-]+\]\.image",
    ),
}
_OF_A_CLUSTER: Allowed = {
    **_OF_AN_ENVIRONMENT,
    "SeldonDeployment": (
        *_OF_AN_ENVIRONMENT["SeldonDeployment"],
        r"\.metadata\.namespace",
        rf"{_POD}\.kedaSpec\..*",
        rf"{_POD}\.spec\.containers\[[a-z-]+\]\.resources\.requests\.cpu",
        rf"{_POD}\.spec\.initContainers.*",
        rf"{_POD}\.spec\.nodeSelector\.abserve\.io/pool",
        rf"{_POD}\.spec\.volumes\[[a-z-]+-provision-location\].*",
        rf"{_POD}\.spec\.containers\[[a-z-]+\]\.env\[ABSERVE_PUBLIC_KEY\].*",
        rf"{_POD}\.spec\.containers\[[a-z-]+\]\.volumeMounts\[signing-keys\].*",
        rf"{_POD}\.spec\.volumes\[signing-keys\].*",
    ),
    "ConfigMap": (r"\.metadata\.namespace",),
}
_VALUES = re.compile(r"/spec/predictors/[01]/(traffic|graph/modelUri)")
_REPLICAS = re.compile(r"/spec/predictors/[01]/componentSpecs/0/kedaSpec/m(in|ax)ReplicaCount")


def undeclared(manifests: Path, model: str) -> list[str]:
    """Return in what the overlays of a model differ beyond weights, versions and replicas."""
    folders = {
        each: manifests / "overlays" / each / model for each in ("local", "staging", "production")
    }
    base = rendered(manifests / "base" / model)
    local, staging, production = (rendered(each) for each in folders.values())
    return [
        *_unlike_files(folders),
        *_unlike(base, local, WEIGHT_AND_VERSION),
        *_unlike(local, production, _OF_A_CLUSTER, {"PodDisruptionBudget", "PrometheusRule"}),
        *_unlike(staging, production, _OF_AN_ENVIRONMENT),
    ]


def changed(before: list[Document], after: list[Document]) -> set[tuple[str, str]]:
    """Return the kind and path of each field that is not the same in two renders."""
    old, new = _by_name(before), _by_name(after)
    assert old.keys() == new.keys()
    return {
        (kind, path) for kind, name in old for path in differences(old[kind, name], new[kind, name])
    }


def with_values(text: str, traffic: tuple[int, int], versions: tuple[str, str]) -> str:
    """Return a difference file with other weights and versions, as somebody would type them."""
    for index in (0, 1):
        place = f"/spec/predictors/{index}"
        text = re.sub(rf"({place}/traffic, +value: )\d+", rf"\g<1>{traffic[index]}", text)
        text = re.sub(rf"({place}/graph/modelUri, .*/)v\d+", rf"\g<1>{versions[index]}", text)
    return text


def _unlike_files(folders: dict[str, Path]) -> Iterator[str]:
    for environment, folder in folders.items():
        found = {each.relative_to(folder).as_posix() for each in folder.rglob("*")}
        if found != FILES:
            yield f"{environment} has the files {sorted(found)}"
    wholes = {name: yaml.safe_load(_text(each)) for name, each in folders.items()}
    if _text(folders["staging"]) != _text(folders["production"]):
        yield "the kustomizations of staging and production"
    of_cluster = {
        key: value
        for key, value in wholes["production"].items()
        if key not in {"components", "transformers"}
    }
    if wholes["local"] != of_cluster:
        yield "the kustomization of local, beside components and transformers"
    masked = {name: list(_masked(each / "weights.yaml")) for name, each in folders.items()}
    if masked["staging"] != masked["production"]:
        yield "the operations of staging and production"
    # `replace` of what a predictor has anyway, after a `test` of where it stands.
    if not set(masked["local"]) <= set(masked["production"]):
        yield "the operations of local"


def _text(folder: Path) -> str:
    return (folder / "kustomization.yaml").read_text()


def _masked(file: Path) -> Iterator[tuple[str, ...]]:
    """Yield the operations of a difference file, without what is the difference.

    How many replicas there are may be left to the base.
    """
    for each in yaml.safe_load(file.read_text()):
        kept = dict(each)
        if each["op"] == "replace" and _REPLICAS.fullmatch(each["path"]):
            continue
        if each["op"] == "replace" and _VALUES.fullmatch(each["path"]):
            del kept["value"]
        yield tuple(f"{key}: {value}" for key, value in kept.items())


def _unlike(
    one: list[Document], other: list[Document], allowed: Allowed, more: Set[str] = frozenset()
) -> Iterator[str]:
    """Yield in what two renders differ; the other may have more objects of the kinds of `more`."""
    left, right = _by_name(one), _by_name(other)
    for kind, name in left.keys() ^ right.keys():
        if (kind, name) in left or kind not in more:
            yield f"{kind} {name} is in one only"
    for kind, name in left.keys() & right.keys():
        found = differences(left[kind, name], right[kind, name])
        yield from (f"{kind} {name}: {each}" for each in beyond(found, allowed.get(kind, ())))


def _by_name(documents: list[Document]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}
