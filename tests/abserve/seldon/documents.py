"""Documents that tests change in one place."""

from copy import deepcopy
from typing import Any

from abserve.seldon import SeldonDeployment

Document = dict[str, Any]


def predictor(name: str, version: str, **fields: Any) -> Document:
    return {
        "name": name,
        "annotations": {"seldon.io/no-engine": "true"},
        "graph": {"name": "iris", "modelUri": f"s3://models/iris/{version}"},
        "componentSpecs": [
            {"spec": {"containers": [{"name": "iris", "image": "abserve/runtimes:0.1.0"}]}}
        ],
        **fields,
    }


def document(*predictors: Document, **spec: Any) -> Document:
    """Return iris with `predictors`, or with a baseline at 90 and a candidate at 10."""
    usual = (predictor("baseline", "v1", traffic=90), predictor("candidate", "v2", traffic=10))
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": "iris", "namespace": "shop", "resourceVersion": "7", "generation": 3},
        "spec": {"protocol": "v2", "predictors": list(predictors or usual), **spec},
    }


def prepackaged(implementation: str = "SKLEARN_SERVER", **fields: Any) -> Document:
    """Return a lone predictor that a prepackaged server serves, without any container."""
    only = without(predictor("baseline", "v1"), "componentSpecs")
    only["graph"]["implementation"] = implementation
    return document(only | fields)


def with_node(**fields: Any) -> Document:
    """Return a lone predictor whose graph node has these fields besides its name and model."""
    only = predictor("baseline", "v1")
    only["graph"] |= fields
    return document(only)


def with_container(**fields: Any) -> Document:
    """Return a lone predictor whose container has these fields besides its name and image."""
    only = predictor("baseline", "v1")
    only["componentSpecs"][0]["spec"]["containers"][0] |= fields
    return document(only)


def with_pod(**fields: Any) -> Document:
    """Return a lone predictor whose PodSpec has these fields besides its container."""
    only = predictor("baseline", "v1")
    only["componentSpecs"][0]["spec"] |= fields
    return document(only)


def without(value: Document, *path: str | int) -> Document:
    """Return a copy of `value` without the field at `path`."""
    copy = deepcopy(value)
    within: Any = copy
    for step in path[:-1]:
        within = within[step]
    del within[path[-1]]
    return copy


def parsed(value: Document | None = None) -> SeldonDeployment:
    return SeldonDeployment.parse(document() if value is None else value)
