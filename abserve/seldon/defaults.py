"""What the operator fills in where a SeldonDeployment is silent."""

from abserve.errors import ManifestError
from abserve.seldon.containers import Container, PodSpec
from abserve.seldon.prepackaged import (
    UNKNOWN_IMPLEMENTATION,
    is_prepackaged,
    prepackaged_server,
)
from abserve.seldon.resource import PredictiveUnit, Predictor, SeldonDeployment, SeldonPodSpec
from abserve.weights import WHOLE, Weights


def with_defaults(deployment: SeldonDeployment) -> SeldonDeployment:
    """Return the deployment with what the operator would assume written out.

    Every predictor then has the label ``version`` (its name, if none is given), `replicas` (those
    of the pods, of the predictor, of the deployment, or 1) and `traffic`; a lone variant gets all,
    and a shadow of no stated traffic copies all. A node that says nothing of itself is a MODEL, and
    a prepackaged one has a container, with the image of its server.
    """
    alone = len(deployment.variants) == 1
    predictors = tuple(
        each.model_copy(
            update={
                "labels": {"version": each.name, **each.labels},
                "replicas": _replicas(deployment, each),
                "traffic": _traffic(each, alone=alone),
                "graph": _node(each.graph),
                "component_specs": _component_specs(each),
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


def _node(node: PredictiveUnit) -> PredictiveUnit:
    silent = node.type is None and not node.methods and node.implementation is None
    return node.model_copy(
        update={
            "type": "MODEL" if silent or is_prepackaged(node) else node.type,
            "implementation": UNKNOWN_IMPLEMENTATION
            if node.implementation is None
            else node.implementation,
            "children": tuple(_node(child) for child in node.children),
        }
    )


def _component_specs(predictor: Predictor) -> tuple[SeldonPodSpec, ...]:
    """Return the pods with a container for the prepackaged server, where the node names one."""
    server, name = prepackaged_server(predictor.graph), predictor.graph.name
    if server is None:
        return predictor.component_specs
    pods = list(predictor.component_specs or (SeldonPodSpec(),))
    place = next(
        (i for i, pod in enumerate(pods) if any(each.name == name for each in pod.containers)), 0
    )
    spec = pods[place].spec or PodSpec(containers=())
    by_name = {each.name: each for each in spec.containers}
    own = by_name.get(name, Container(name=name))
    by_name[name] = own.model_copy(update={"image": own.image or server.image})
    spec = spec.model_copy(update={"containers": tuple(by_name.values())})
    pods[place] = pods[place].model_copy(update={"spec": spec})
    return tuple(pods)


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
