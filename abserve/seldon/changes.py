"""Changes to a running SeldonDeployment, as JSON patches (RFC 6902).

Predictors are a list, and a patch names a place in it. Each change therefore first tests that the
predictor it means still stands there and that nobody changed the resource since it was read; if
not, the API refuses the patch as a whole.

A promotion must not fail one request, so it is three changes, and the next one waits until the
one before is in effect:

::

    baseline v1  90%      0%      0% now v2      100%, v2
    candidate v2 10%    100%    100%             gone
                 ──shift_all── ──adopt──    ──finish──

The baseline is never restarted while it answers, and the gateway always has a ready predictor.

A rollback is one change, back from anywhere in this picture: all to the baseline, and without the
predictors that are not ready, for which the operator would hold the routes as they are. What leads
into the picture is one change as well: `open_experiment` adds a version as the candidate.
"""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any

from abserve.errors import ManifestError, UnderWayError
from abserve.seldon.naming import SERVICE_NAME
from abserve.seldon.own_pods import serve, spread_by_itself, version_label
from abserve.weights import WHOLE, Weights

BASELINE = "baseline"
CANDIDATE = "candidate"

Patch = list[dict[str, Any]]

# What a predictor keeps when it gets what another serves: its name and its place in the split, and
# how it is sized.
_OWN = ("name", "traffic", "replicas", "labels")
_OWN_OF_PODS = ("replicas", "hpaSpec", "kedaSpec", "pdbSpec")


def roles(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of the baseline and the candidate.

    They are the predictors of these names. Of two variants, if one bears such a name the other
    has the other role, and if none does, the first is the baseline.

    Raises
    ------
    ManifestError
        If there are not two variants, or it cannot be told which is which.
    """
    names = list(_variants(document))
    if len(names) < 2:  # noqa: PLR2004 - it takes two to compare
        raise ManifestError(
            f"nothing to promote: SeldonDeployment {_name(document)!r} has "
            f"{f'only the predictor {names[0]!r}' if names else 'no predictor that answers'}, "
            "expected a baseline and a candidate; add the candidate as a second predictor"
        )
    if BASELINE in names and CANDIDATE in names:
        return BASELINE, CANDIDATE
    if len(names) > 2:  # noqa: PLR2004 - beyond two, their names must tell
        raise ManifestError(
            f"found predictors {', '.join(names)}, expected two of them to be named "
            f"{BASELINE!r} and {CANDIDATE!r}; rename them"
        )
    first, second = names
    return (second, first) if first == CANDIDATE or second == BASELINE else (first, second)


def baseline_and_candidate(document: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the names of the baseline and of the candidate, None if the baseline is alone.

    Raises
    ------
    ManifestError
        If there is no baseline, or it cannot be told which is which.
    """
    names = list(_variants(document))
    if len(names) != 1:
        return roles(document)
    (name,) = names
    if name == CANDIDATE:
        raise ManifestError(
            f"nothing to roll back to: SeldonDeployment {_name(document)!r} has only the predictor "
            f"{CANDIDATE!r}, expected a baseline; add the baseline as a second predictor"
        )
    return name, None


def weights_patch(document: Mapping[str, Any], weights: Weights) -> Patch:
    """Return the patch that gives each variant its weight.

    Raises
    ------
    ManifestError
        If `weights` does not name every variant, or names something else.
    """
    variants = _variants(document)
    unknown = [each for each in weights.by_variant if each not in variants]
    missing = [each for each in variants if each not in weights.by_variant]
    if unknown or missing:
        found = ", ".join(weights.by_variant)
        raise ManifestError(
            f"found weights for {found}, expected one for each of {', '.join(variants) or 'none'} "
            f"(SeldonDeployment {_name(document)!r}); "
            + (f"remove {', '.join(unknown)}" if unknown else f"add {', '.join(missing)}")
        )
    patch = _same_resource(document)
    for name, index in variants.items():
        patch += _set_traffic(document, name, index, weights.by_variant[name])
    return patch


def shift_all(document: Mapping[str, Any], to: str, without: Collection[str] = ()) -> Patch:
    """Return the patch that sends all traffic to one variant: a promotion's first change.

    It is also how a candidate is rolled back. Nothing is scaled: the variant must have the
    replicas for all traffic.

    Parameters
    ----------
    document
        The SeldonDeployment as it is.
    to : str
        The variant that gets all traffic; other variants stay, with none.
    without : collection of str
        Predictors, shadows among them, that are removed in the same change.

    Raises
    ------
    ManifestError
        If `to` is no variant, or is to be removed itself.
    """
    _index_of(document, to)
    if to in without:
        raise ManifestError(
            f"predictor {to!r} is to get all traffic and to be removed; expected one or the other"
        )
    patch = _same_resource(document)
    for name, index in _variants(document).items():
        if name not in without:
            patch += _set_traffic(document, name, index, WHOLE * (name == to))
    # From the last on, so that a place means the same until it is reached.
    for index, each in reversed(list(enumerate(_predictors(document)))):
        if each["name"] in without:
            patch += [
                _test_name(each["name"], index),
                {"op": "remove", "path": f"/spec/predictors/{index}"},
            ]
    return patch


def adopt(document: Mapping[str, Any], baseline: str, candidate: str) -> Patch:
    """Return the patch that gives the baseline what the candidate serves: the second change.

    The baseline keeps its name, weight, labels and Service, and what is sized for full traffic:
    replicas, autoscaling and disruption budget.

    Raises
    ------
    ManifestError
        If either is no variant, or the baseline still has traffic, which its restart would fail.
    """
    into, source = _index_of(document, baseline), _index_of(document, candidate)
    traffic = _predictors(document)[into].get("traffic", 0)
    if traffic:
        raise ManifestError(
            f"predictor {baseline!r} still has {traffic}% of the traffic, expected 0% before it "
            f"is restarted with another version; shift all traffic to {candidate!r} first"
        )
    return [
        *_same_resource(document),
        _test_name(baseline, into),
        _test_name(candidate, source),
        {
            "op": "replace",
            "path": f"/spec/predictors/{into}",
            "value": _adopted(document, into=baseline, source=candidate),
        },
    ]


def finish(document: Mapping[str, Any], baseline: str, candidate: str) -> Patch:
    """Return the patch that returns all traffic to the baseline and removes the candidate.

    It is the third change. Other variants, of which `shift_all` left none with traffic, stay.

    Raises
    ------
    ManifestError
        If either is no variant, or the baseline does not yet serve what the candidate serves.
    """
    if _predictors(document)[_index_of(document, baseline)] != _adopted(
        document, into=baseline, source=candidate
    ):
        raise ManifestError(
            f"predictor {baseline!r} does not serve what {candidate!r} serves, expected them to "
            "be equal before the candidate is removed; let the baseline adopt it first"
        )
    return shift_all(document, baseline, without=(candidate,))


def check_no_experiment(document: Mapping[str, Any]) -> None:
    """Check that the baseline is compared with nothing, so that a candidate may be added.

    Raises
    ------
    UnderWayError
        If another version has requests, or the baseline has none because it is being promoted.
    """
    baseline, candidate = baseline_and_candidate(document)
    predictors = _predictors(document)
    own = predictors[_index_of(document, baseline)]
    if candidate is not None and not own.get("traffic"):
        raise UnderWayError(
            f"{baseline} of SeldonDeployment {_name(document)!r} has no requests, as in the middle "
            f"of a promotion; finish that first, with 'abserve promote {_name(document)}'"
        )
    for name, index in _variants(document).items():
        other = predictors[index]
        if other.get("traffic") and _model_uri(other) != _model_uri(own):
            raise UnderWayError(
                f"an experiment is going on: SeldonDeployment {_name(document)!r} gives {name} "
                f"({_model_uri(other)}) {other['traffic']}% of the traffic beside {baseline} "
                f"({_model_uri(own)}); finish it first, with 'abserve promote {_name(document)}' "
                f"or 'abserve rollback {_name(document)}'"
            )


def open_experiment(
    document: Mapping[str, Any], model_uri: str, weight: int, candidate: str = CANDIDATE
) -> Patch:
    """Return the patch that makes a version the candidate and gives it its first weight.

    The candidate is what the baseline is, with another version. One that stands there already
    keeps what `adopt` leaves a predictor: its name, labels, Service and size.

    Parameters
    ----------
    document
        The SeldonDeployment as it is.
    model_uri : str
        Where the version lies.
    weight : int
        Its share of the requests, 1 to 99 percent; the baseline has the rest.
    candidate : str
        What to call a candidate that does not stand there already.

    Raises
    ------
    ManifestError
        If an experiment is going on, the candidate still has traffic, which its restart would
        fail, or its name is a shadow's.
    """
    check_no_experiment(document)
    baseline, standing = baseline_and_candidate(document)
    predictors = _predictors(document)
    patch = _same_resource(document)
    patch += _set_traffic(document, baseline, _index_of(document, baseline), WHOLE - weight)
    if standing is None:
        if any(each["name"] == candidate for each in predictors):
            raise ManifestError(
                f"SeldonDeployment {_name(document)!r} has a shadow named {candidate!r}, expected "
                "that name to be free for the candidate; rename the shadow"
            )
        value = _copied(predictors[_index_of(document, baseline)], candidate)
        place = {"op": "add", "path": "/spec/predictors/-"}
    else:
        index = _index_of(document, standing)
        if traffic := predictors[index].get("traffic"):
            raise ManifestError(
                f"predictor {standing!r} still has {traffic}% of the traffic, expected 0% before "
                f"it is restarted with another version; shift all traffic to {baseline!r} first"
            )
        value = _adopted(document, into=standing, source=baseline)
        patch.append(_test_name(standing, index))
        place = {"op": "replace", "path": f"/spec/predictors/{index}"}
    serve(value, model_uri)
    value["traffic"] = weight
    return [*patch, {**place, "value": value}]


def _copied(predictor: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the predictor under another name, without what names only one."""
    copy = {**deepcopy(dict(predictor)), "name": name}
    for field, key in (("annotations", SERVICE_NAME), ("labels", "version")):
        if key in copy.get(field, {}):
            del copy[field][key]
    spread_by_itself(copy, version_label(dict(predictor)))
    return copy


def _model_uri(predictor: Mapping[str, Any]) -> str:
    return str(predictor["graph"].get("modelUri") or "no version").rstrip("/")


def _adopted(document: Mapping[str, Any], *, into: str, source: str) -> dict[str, Any]:
    """Return the predictor `into` as it is when it serves what `source` serves."""
    predictors = _predictors(document)
    old = predictors[_index_of(document, into)]
    new = deepcopy(dict(predictors[_index_of(document, source)]))
    its_label = version_label(new)
    _keep(_OWN, old, new)
    spread_by_itself(new, its_label)
    for own, pods in zip(
        old.get("componentSpecs", ()), new.get("componentSpecs", ()), strict=False
    ):
        _keep(_OWN_OF_PODS, own, pods)
    # Seldon refuses two predictors with one Service.
    annotations = new.setdefault("annotations", {})
    _keep((SERVICE_NAME,), old.get("annotations", {}), annotations)
    if not annotations:
        del new["annotations"]
    return new


def _keep(fields: Sequence[str], old: Mapping[str, Any], new: dict[str, Any]) -> None:
    for field in fields:
        new.pop(field, None)
        if field in old:
            new[field] = deepcopy(old[field])


def _set_traffic(document: Mapping[str, Any], name: str, index: int, weight: int) -> Patch:
    present = "traffic" in _predictors(document)[index]
    return [
        _test_name(name, index),
        {
            "op": "replace" if present else "add",
            "path": f"/spec/predictors/{index}/traffic",
            "value": weight,
        },
    ]


def _test_name(name: str, index: int) -> dict[str, Any]:
    return {"op": "test", "path": f"/spec/predictors/{index}/name", "value": name}


def _same_resource(document: Mapping[str, Any]) -> Patch:
    """Return the test that nobody changed the spec; a file has no generation to test.

    Not the `resourceVersion`: that changes with every status the operator writes, too.
    """
    generation = document.get("metadata", {}).get("generation")
    if generation is None:
        return []
    return [{"op": "test", "path": "/metadata/generation", "value": generation}]


def _variants(document: Mapping[str, Any]) -> dict[str, int]:
    """Return the place of each variant by its name, in their order."""
    return {
        each["name"]: index
        for index, each in enumerate(_predictors(document))
        if not each.get("shadow")
    }


def _index_of(document: Mapping[str, Any], name: str) -> int:
    variants = _variants(document)
    if name not in variants:
        raise ManifestError(
            f"found no variant {name!r} in SeldonDeployment {_name(document)!r}, expected one of "
            f"{', '.join(variants) or 'none'}; name one of them"
        )
    return variants[name]


def _predictors(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    try:
        predictors: Sequence[Mapping[str, Any]] = document["spec"]["predictors"]
        names = [each["name"] for each in predictors]
    except (KeyError, TypeError) as error:
        raise ManifestError(
            f"SeldonDeployment {_name(document)!r} has no list of named predictors; check that "
            "the document is one"
        ) from error
    if len(set(names)) < len(names):
        raise ManifestError(f"found predictors {', '.join(names)}, expected each name once")
    return predictors


def _name(document: Mapping[str, Any]) -> str:
    return str(document.get("metadata", {}).get("name", ""))
