"""Whether the predictors of a SeldonDeployment are what they say, and may be compared.

Seldon takes all of what is refused here. Requests then go to a name that one predictor does not
have, a pod serves another version than its predictor names, or two variants differ in more than
their versions.
"""

from collections.abc import Iterator

from abserve.seldon import (
    INITIALIZER,
    Fault,
    Predictor,
    SeldonDeployment,
    SeldonPodSpec,
    scaled_by_its_own_load,
)


def predictor_faults(deployment: SeldonDeployment) -> Iterator[tuple[str, Fault]]:
    """Yield what is wrong with the predictors of a SeldonDeployment that Seldon would take.

    Yields
    ------
    tuple of str and Fault
        The rule, ``admission``, ``version`` or ``scaling``, and what is wrong.
    """
    yield from (("admission", each) for each in _requests(deployment))
    yield from (("version", each) for each in _copied(deployment))
    yield from (("scaling", each) for each in _scaled_unlike(deployment))


def _requests(deployment: SeldonDeployment) -> Iterator[Fault]:
    nodes = list(dict.fromkeys(each.graph.name for each in deployment.spec.predictors))
    if len(nodes) > 1:
        yield Fault(
            "spec.predictors",
            f"graph nodes are named {', '.join(nodes)}, expected one name: a request names the "
            "node, and the other predictors answer it with 404; give all the same name",
            "FieldValueInvalid",
        )
    for index, predictor in enumerate(deployment.spec.predictors):
        if not 0 <= (predictor.traffic or 0) <= 100:  # noqa: PLR2004  # percent
            # Seldon's webhook looks at the sum only, and Istio then refuses the VirtualService.
            yield Fault(
                f"spec.predictors[{index}].traffic",
                f"found {predictor.traffic}, expected 0 to 100; change it",
                "FieldValueInvalid",
            )


def _copied(deployment: SeldonDeployment) -> Iterator[Fault]:
    """Yield the containers that copy another version into a pod than its predictor names."""
    for index, predictor in enumerate(deployment.spec.predictors):
        uri = predictor.graph.model_uri
        for position, pod in enumerate(predictor.component_specs):
            for place, container in enumerate(pod.spec.init_containers if pod.spec else ()):
                if container.name != f"{predictor.graph.name}-{INITIALIZER}":
                    continue
                if uri not in container.args:
                    pods = f"spec.predictors[{index}].componentSpecs[{position}].spec"
                    found = " ".join(container.args) or "nothing"
                    yield Fault(
                        f"{pods}.initContainers[{place}].args",
                        f"found {found}, expected {uri} among it, as graph.modelUri of "
                        f"{predictor.name!r} says: Seldon leaves this container as it is, and the "
                        "pod would serve what it copies; write that there",
                        "FieldValueInvalid",
                    )


def _scaled_unlike(deployment: SeldonDeployment) -> Iterator[Fault]:
    """Yield how predictors that share the requests are scaled by anything but what they share."""
    sharing = [
        (index, each)
        for index, each in enumerate(deployment.spec.predictors)
        if not each.shadow and (each.traffic or 0) > 0
    ]
    if len(sharing) < 2:  # noqa: PLR2004 - it takes two to compare
        return
    _, first = sharing[0]
    for index, predictor in sharing:
        field = f"spec.predictors[{index}]"
        here, there = _replicas(deployment, predictor), _replicas(deployment, first)
        if here != there:
            yield _unlike(f"{field}.replicas", f"found {here}, expected {there} as", first)
        for position, pod in enumerate(predictor.component_specs):
            path = f"{field}.componentSpecs[{position}]"
            alone = scaled_by_its_own_load(pod)
            if alone:
                yield Fault(
                    f"{path}.{alone}",
                    f"found for {predictor.name!r}, which shares the requests with others: it "
                    "scales by the load of these pods only, so the one with the larger weight "
                    "gets more of them; scale both by what all do (docs/scaling.md), or give all "
                    "weight to one",
                    "FieldValueForbidden",
                )
            other = first.component_specs[position : position + 1]
            fields = ", ".join(_differing(pod, other[0])) if other and not alone else ""
            if fields:
                yield _unlike(f"{path}.kedaSpec", f"{fields}: expected what", first)


def _unlike(field: str, found: str, first: Predictor) -> Fault:
    return Fault(
        field,
        f"{found} {first.name!r} has, with which it shares the requests; write the same for both, "
        "so that they differ in their versions only",
        "FieldValueInvalid",
    )


def _differing(one: SeldonPodSpec, other: SeldonPodSpec) -> list[str]:
    """Return the fields of kedaSpec in which two pods differ."""
    here, there = (each.model_dump(by_alias=True)["kedaSpec"] or {} for each in (one, other))
    return [key for key in {**here, **there} if here.get(key) != there.get(key)]


def _replicas(deployment: SeldonDeployment, predictor: Predictor) -> str:
    """Return how many pods each component has, where nothing scales them."""
    given = [
        (each.replicas, predictor.replicas, deployment.spec.replicas)
        for each in predictor.component_specs
        if each.hpa_spec is None and each.keda_spec is None
    ]
    found = [next((each for each in wishes if each is not None), 1) for wishes in given]
    return " and ".join(map(str, found))
