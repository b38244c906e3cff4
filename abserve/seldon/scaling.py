"""Whether versions that are compared are scaled together.

A predictor is a Deployment of its own. An HPA scales one by its own load, so that of 90 to 10 one
version gets more replicas than the other; so does a `kedaSpec` with a trigger of that kind. What
its other triggers ask may be the load of both.
"""

from typing import Any

from abserve.errors import ManifestError
from abserve.seldon.resource import SeldonDeployment, SeldonPodSpec

# Triggers of KEDA that look at the pods they scale, and at no others.
_OWN_PODS = ("cpu", "memory")


def scaled_by_its_own_load(pods: SeldonPodSpec) -> str:
    """Return the field by which pods are scaled by their own load; empty if none does."""
    if pods.hpa_spec is not None:
        return "hpaSpec"
    triggers: tuple[Any, ...] = tuple(pods.keda_spec.triggers) if pods.keda_spec else ()
    return "kedaSpec" if any(each.get("type") in _OWN_PODS for each in triggers) else ""


def check_scaled_together(deployment: SeldonDeployment) -> None:
    """Check that no variant is scaled by the load of its own pods.

    Raises
    ------
    ManifestError
        If one is.
    """
    found = [
        (each.name, field)
        for each in deployment.variants
        for pods in each.component_specs
        if (field := scaled_by_its_own_load(pods))
    ]
    if found:
        apart, fields = (" and ".join(dict.fromkeys(each)) for each in zip(*found, strict=True))
        raise ManifestError(
            f"{apart} of SeldonDeployment {deployment.name!r} is scaled by the load of its own "
            f"pods ({fields}), so that of two versions the one with more requests gets more "
            "replicas; expected none to be while versions are compared: scale both by what they do "
            "together (docs/scaling.md), or state `replicas`"
        )
