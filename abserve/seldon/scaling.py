"""Whether versions that are compared are scaled together.

A predictor is a Deployment of its own. An HPA scales one by its own load, so that of 90 to 10 one
version gets more replicas than the other. What a `kedaSpec` asks may be the load of both.
"""

from abserve.errors import ManifestError
from abserve.seldon.resource import SeldonDeployment


def check_scaled_together(deployment: SeldonDeployment) -> None:
    """Check that no variant is scaled by the load of its own pods.

    Raises
    ------
    ManifestError
        If one is.
    """
    apart = [
        each.name
        for each in deployment.variants
        if any(pods.hpa_spec is not None for pods in each.component_specs)
    ]
    if apart:
        raise ManifestError(
            f"{' and '.join(apart)} of SeldonDeployment {deployment.name!r} is scaled by the load "
            "of its own pods (hpaSpec), so that of two versions the one with more requests gets "
            "more replicas; expected none to be while versions are compared: scale both by what "
            "they do together (docs/scaling.md), or state `replicas`"
        )
