"""What the pods of a predictor say of the predictor itself, and of its version.

Pods are spread over nodes by a selector of their own labels, and a manifest may write out the
container that copies the version, so that a namespace takes it which refuses what Seldon would add.
Both repeat what the predictor says elsewhere. Who gives a predictor the pods of another, or another
version, changes them with it: else the pods would be spread by where others run, or serve the
version before.
"""

from collections.abc import Iterator
from typing import Any

INITIALIZER = "model-initializer"
"""How Seldon ends the name of the container that copies the version: ``iris-model-initializer``.

One that a manifest calls so is left as it is, arguments and all.
"""


def version_label(predictor: dict[str, Any]) -> str:
    """Return the label ``version`` that the operator gives the pods of a predictor."""
    return str(predictor.get("labels", {}).get("version", predictor["name"]))


def spread_by_itself(predictor: dict[str, Any], before: str) -> None:
    """Spread the pods by the predictor's own label, where they were by that of another."""
    for pod in _pods(predictor):
        for constraint in pod.get("topologySpreadConstraints", ()):
            labels = constraint.get("labelSelector", {}).get("matchLabels", {})
            if labels.get("version") == before:
                labels["version"] = version_label(predictor)


def serve(predictor: dict[str, Any], model_uri: str) -> None:
    """Let a predictor serve a version, and the container that copies it copy that one."""
    before = predictor["graph"].get("modelUri")
    predictor["graph"]["modelUri"] = model_uri
    for pod in _pods(predictor):
        for container in pod.get("initContainers", ()):
            if container["name"] == f"{predictor['graph']['name']}-{INITIALIZER}":
                container["args"] = [
                    model_uri if each == before else each for each in container.get("args", ())
                ]


def _pods(predictor: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for each in predictor.get("componentSpecs", ()):
        yield each.get("spec", {})
