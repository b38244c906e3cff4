"""What the operator fills in where a SeldonDeployment is silent."""

from abserve.errors import ManifestError
from abserve.seldon.resource import Predictor, SeldonDeployment
from abserve.weights import WHOLE, Weights


def with_defaults(deployment: SeldonDeployment) -> SeldonDeployment:
    """Return the deployment with what the operator would assume written out.

    Every predictor then has the label ``version`` (its name, if none is given), `replicas` (those
    of the pods, of the predictor, of the deployment, or 1), `traffic`, and a graph node of type
    MODEL. A lone variant gets all traffic, and a shadow of no stated traffic copies all.
    """
    alone = len(deployment.variants) == 1
    predictors = tuple(
        each.model_copy(
            update={
                "labels": {"version": each.name, **each.labels},
                "replicas": _replicas(deployment, each),
                "traffic": _traffic(each, alone=alone),
                "graph": each.graph.model_copy(update={"type": each.graph.type or "MODEL"}),
            }
        )
        for each in deployment.spec.predictors
    )
    spec = deployment.spec.model_copy(update={"predictors": predictors})
    return deployment.model_copy(update={"spec": spec})


def weights_of(deployment: SeldonDeployment) -> Weights:
    """Return the weight of each variant; shadows have none.

    Raises
    ------
    ManifestError
        If the weights are not weights; `admit` and `supported` refuse such a deployment.
    """
    predictors = with_defaults(deployment).variants
    return Weights({each.name: each.traffic or 0 for each in predictors})


def mirror_percent(shadow: Predictor) -> int:
    """Return the share of requests that a shadow gets copies of, in percent.

    Raises
    ------
    ManifestError
        If the predictor is no shadow.
    """
    if not shadow.shadow:
        raise ManifestError(f"predictor {shadow.name!r} is no shadow; it has a weight instead")
    return shadow.traffic or WHOLE


def _replicas(deployment: SeldonDeployment, predictor: Predictor) -> int:
    of_pods = next(
        (
            pod.replicas
            for pod in predictor.component_specs
            if any(each.name == predictor.graph.name for each in pod.containers)
        ),
        None,
    )
    given = (of_pods, predictor.replicas, deployment.spec.replicas)
    return next((each for each in given if each is not None), 1)


def _traffic(predictor: Predictor, *, alone: bool) -> int:
    if predictor.shadow:
        return mirror_percent(predictor)
    # A lone destination gets every request, whatever its weight says.
    return WHOLE if alone else predictor.traffic or 0
