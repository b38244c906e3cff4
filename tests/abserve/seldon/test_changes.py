import jsonpatch
import pytest

from abserve.errors import ManifestError
from abserve.seldon import (
    admit,
    adopt,
    baseline_and_candidate,
    finish,
    roles,
    shift_all,
    weights_patch,
)
from abserve.weights import Weights
from tests.abserve.seldon.documents import Document, document, parsed, predictor, without

SAME = {"op": "test", "path": "/metadata/generation", "value": 3}


def applied(value: Document, patch: list[dict]) -> Document:
    return jsonpatch.apply_patch(value, patch)


def traffic(value: Document) -> dict[str, int]:
    return {each["name"]: each.get("traffic") for each in value["spec"]["predictors"]}


def test_weights_are_set_where_the_predictors_stand_and_nowhere_else() -> None:
    assert weights_patch(document(), Weights({"candidate": 30, "baseline": 70})) == [
        SAME,
        {"op": "test", "path": "/spec/predictors/0/name", "value": "baseline"},
        {"op": "replace", "path": "/spec/predictors/0/traffic", "value": 70},
        {"op": "test", "path": "/spec/predictors/1/name", "value": "candidate"},
        {"op": "replace", "path": "/spec/predictors/1/traffic", "value": 30},
    ]


def test_a_predictor_without_traffic_gets_the_field() -> None:
    value = document(predictor("a", "v1", traffic=100), predictor("b", "v2"))
    patch = weights_patch(value, Weights({"a": 50, "b": 50}))
    assert patch[-1] == {"op": "add", "path": "/spec/predictors/1/traffic", "value": 50}
    assert traffic(applied(value, patch)) == {"a": 50, "b": 50}


def test_a_file_has_no_resource_version_to_test() -> None:
    value = without(document(), "metadata", "generation")
    patch = weights_patch(value, Weights({"baseline": 70, "candidate": 30}))
    assert patch[0]["path"] == "/spec/predictors/0/name"


def test_a_shadow_has_no_weight() -> None:
    value = document(
        predictor("old", "v0", shadow=True, traffic=5),
        predictor("baseline", "v1", traffic=90),
        predictor("candidate", "v2", traffic=10),
    )
    patch = weights_patch(value, Weights({"baseline": 70, "candidate": 30}))
    assert traffic(applied(value, patch)) == {"old": 5, "baseline": 70, "candidate": 30}
    with pytest.raises(ManifestError, match="remove old"):
        weights_patch(value, Weights({"baseline": 70, "candidate": 20, "old": 10}))


def test_an_unknown_variant_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ManifestError, match=r"each of baseline, candidate .*; remove canary"):
        weights_patch(document(), Weights({"baseline": 70, "canary": 30}))


def test_a_variant_left_out_is_refused() -> None:
    with pytest.raises(ManifestError, match="add candidate"):
        weights_patch(document(), Weights({"baseline": 100}))


def test_a_patch_is_refused_when_predictors_moved() -> None:
    patch = weights_patch(document(), Weights({"baseline": 70, "candidate": 30}))
    moved = document(
        predictor("candidate", "v2", traffic=10), predictor("baseline", "v1", traffic=90)
    )
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        applied(moved, patch)


def test_a_patch_is_refused_when_somebody_else_changed_the_resource() -> None:
    patch = weights_patch(document(), Weights({"baseline": 70, "candidate": 30}))
    changed = document()
    changed["metadata"]["generation"] = 4
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        applied(changed, patch)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("baseline", "candidate"), ("baseline", "candidate")),
        (("candidate", "baseline"), ("baseline", "candidate")),
        (("stable", "canary"), ("stable", "canary")),
        (("canary", "baseline"), ("baseline", "canary")),
        (("candidate", "stable"), ("stable", "candidate")),
        (("other", "candidate", "baseline"), ("baseline", "candidate")),
    ],
)
def test_roles_are_told_by_name_and_then_by_order(
    names: tuple[str, ...], expected: tuple[str, str]
) -> None:
    assert roles(document(*(predictor(name, "v1") for name in names))) == expected


def test_a_shadow_has_no_role() -> None:
    value = document(
        predictor("old", "v0", shadow=True), predictor("a", "v1"), predictor("b", "v2")
    )
    assert roles(value) == ("a", "b")


def test_one_predictor_is_nothing_to_promote() -> None:
    with pytest.raises(
        ManifestError, match=r"nothing to promote: .* only the predictor 'baseline'"
    ):
        roles(document(predictor("baseline", "v1")))


def test_three_variants_without_roles_are_refused() -> None:
    value = document(*(predictor(name, "v1") for name in ("a", "b", "c")))
    with pytest.raises(ManifestError, match="found predictors a, b, c"):
        roles(value)


@pytest.mark.parametrize("value", [{}, {"spec": {"predictors": [{}]}}, {"spec": None}])
def test_a_document_without_predictors_is_refused(value: dict) -> None:
    with pytest.raises(ManifestError, match="no list of named predictors"):
        roles(value)


def test_predictors_of_one_name_are_refused() -> None:
    with pytest.raises(ManifestError, match="each name once"):
        roles(document(predictor("a", "v1"), predictor("a", "v2")))


def test_all_traffic_goes_to_one_variant() -> None:
    value = document(
        predictor("a", "v1", traffic=50),
        predictor("b", "v2", traffic=30),
        predictor("c", "v3", traffic=20),
    )
    assert traffic(applied(value, shift_all(value, "b"))) == {"a": 0, "b": 100, "c": 0}


def test_traffic_cannot_shift_to_what_is_not_there() -> None:
    with pytest.raises(ManifestError, match=r"no variant 'canary'.* one of baseline, candidate"):
        shift_all(document(), "canary")


@pytest.mark.parametrize("gone", [("b",), ("a", "b"), ("b", "d"), ("a", "b", "d")])
def test_predictors_are_removed_in_the_change_that_shifts_their_traffic(
    gone: tuple[str, ...],
) -> None:
    value = document(
        predictor("a", "v1", traffic=20),
        predictor("b", "v2", traffic=30),
        predictor("c", "v3", traffic=50),
        predictor("d", "v4", shadow=True, traffic=5),
    )
    left = {"a": 0, "b": 0, "c": 100, "d": 5}
    after = applied(value, shift_all(value, "c", without=gone))
    admit(parsed(after))
    assert traffic(after) == {name: left[name] for name in left if name not in gone}


def test_what_gets_all_traffic_is_not_removed() -> None:
    with pytest.raises(ManifestError, match="'baseline' is to get all traffic and to be removed"):
        shift_all(document(), "baseline", without=("baseline",))


def test_a_baseline_may_be_alone() -> None:
    only = document(predictor("stable", "v1"), predictor("shadow", "v2", shadow=True))
    assert baseline_and_candidate(only) == ("stable", None)
    assert baseline_and_candidate(document()) == ("baseline", "candidate")


def test_a_candidate_alone_is_no_baseline() -> None:
    with pytest.raises(ManifestError, match="nothing to roll back to"):
        baseline_and_candidate(document(predictor("candidate", "v2")))


def test_the_baseline_adopts_the_version_and_keeps_what_is_its_own() -> None:
    old = predictor("baseline", "v1", traffic=0, replicas=5, labels={"tier": "gold"})
    old["componentSpecs"][0] |= {"hpaSpec": {"maxReplicas": 9}}
    new = predictor("candidate", "v2", traffic=100, replicas=1, labels={"tier": "test"})
    new["componentSpecs"][0] |= {"replicas": 1, "pdbSpec": {"minAvailable": 1}}
    new["componentSpecs"][0]["spec"]["containers"][0]["image"] = "abserve/runtimes:0.2.0"
    value = document(old, new)
    adopted, kept = applied(value, adopt(value, "baseline", "candidate"))["spec"]["predictors"]
    assert kept == new
    assert adopted == {
        "name": "baseline",
        "traffic": 0,
        "replicas": 5,
        "labels": {"tier": "gold"},
        "annotations": {"seldon.io/no-engine": "true"},
        "graph": {"name": "iris", "modelUri": "s3://models/iris/v2"},
        "componentSpecs": [
            {
                "hpaSpec": {"maxReplicas": 9},
                "spec": {"containers": [{"name": "iris", "image": "abserve/runtimes:0.2.0"}]},
            }
        ],
    }


def test_the_baseline_keeps_its_own_service() -> None:
    value = document(
        predictor("baseline", "v1", traffic=0, annotations={"seldon.io/svc-name": "one"}),
        predictor("candidate", "v2", traffic=100, annotations={"seldon.io/svc-name": "two"}),
    )
    after = applied(value, adopt(value, "baseline", "candidate"))
    admit(parsed(after))
    assert after["spec"]["predictors"][0]["annotations"] == {"seldon.io/svc-name": "one"}


def test_a_candidate_without_annotations_leaves_none() -> None:
    value = document(
        predictor("baseline", "v1", traffic=0), predictor("candidate", "v2", traffic=100)
    )
    del value["spec"]["predictors"][1]["annotations"]
    after = applied(value, adopt(value, "baseline", "candidate"))
    assert "annotations" not in after["spec"]["predictors"][0]


def test_adopting_tests_both_predictors() -> None:
    value = document(
        predictor("baseline", "v1", traffic=0), predictor("candidate", "v2", traffic=100)
    )
    assert adopt(value, "baseline", "candidate")[:3] == [
        SAME,
        {"op": "test", "path": "/spec/predictors/0/name", "value": "baseline"},
        {"op": "test", "path": "/spec/predictors/1/name", "value": "candidate"},
    ]


def test_a_baseline_that_answers_is_not_restarted() -> None:
    with pytest.raises(ManifestError, match="'baseline' still has 90% of the traffic"):
        adopt(document(), "baseline", "candidate")


def test_the_candidate_is_not_removed_before_the_baseline_serves_its_version() -> None:
    value = document(
        predictor("baseline", "v1", traffic=0), predictor("candidate", "v2", traffic=100)
    )
    with pytest.raises(ManifestError, match="does not serve what 'candidate' serves"):
        finish(value, "baseline", "candidate")


@pytest.mark.parametrize("names", [("baseline", "candidate"), ("candidate", "baseline")])
def test_a_promotion_is_three_changes_that_seldon_admits(names: tuple[str, str]) -> None:
    shares = {"baseline": ("v1", 90), "candidate": ("v2", 10)}
    value = document(
        *(predictor(name, shares[name][0], traffic=shares[name][1]) for name in names),
        predictor("shadow", "v3", shadow=True),
    )
    baseline, candidate = roles(value)

    value = applied(value, shift_all(value, candidate))
    admit(parsed(value))
    assert parsed(value).predictor("candidate").traffic == 100

    value = applied(value, adopt(value, baseline, candidate))
    admit(parsed(value))
    assert parsed(value).predictor("baseline").traffic == 0

    value = applied(value, finish(value, baseline, candidate))
    admit(parsed(value))
    assert traffic(value) == {"baseline": 100, "shadow": None}
    assert parsed(value).predictor("baseline").graph.model_uri == "s3://models/iris/v2"


def test_a_promotion_that_was_interrupted_may_be_begun_again() -> None:
    value = document()
    value = applied(value, shift_all(value, "candidate"))
    value = applied(value, adopt(value, "baseline", "candidate"))
    assert applied(value, shift_all(value, "candidate")) == value
    assert applied(value, adopt(value, "baseline", "candidate")) == value


def test_a_third_variant_stays_without_traffic() -> None:
    value = document(
        predictor("baseline", "v1", traffic=50),
        predictor("candidate", "v2", traffic=30),
        predictor("other", "v3", traffic=20),
    )
    value = applied(value, shift_all(value, "candidate"))
    value = applied(value, adopt(value, "baseline", "candidate"))
    value = applied(value, finish(value, "baseline", "candidate"))
    assert traffic(value) == {"baseline": 100, "other": 0}
