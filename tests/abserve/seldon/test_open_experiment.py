import jsonpatch
import pytest

from abserve.errors import ManifestError
from abserve.seldon import admit, check_no_experiment, open_experiment
from tests.abserve.seldon.documents import Document, document, parsed, predictor, without

URI = "s3://models/iris/v3"


def opened(value: Document, weight: int = 10, **options: str) -> Document:
    patched: Document = jsonpatch.apply_patch(value, open_experiment(value, URI, weight, **options))
    return patched


def predictors(value: Document) -> dict[str, Document]:
    return {each["name"]: each for each in value["spec"]["predictors"]}


ALONE = document(predictor("baseline", "v1", traffic=100, replicas=3))


def test_a_lone_baseline_gets_a_candidate_that_is_as_it_is_but_for_the_version() -> None:
    changed = opened(ALONE)
    assert predictors(changed) == {
        "baseline": predictor("baseline", "v1", traffic=90, replicas=3),
        "candidate": predictor("candidate", "v3", traffic=10, replicas=3),
    }
    admit(parsed(changed))


def test_a_lone_baseline_that_says_nothing_of_traffic_gets_its_part() -> None:
    changed = opened(document(predictor("main", "v1")), weight=25)
    assert [(each["name"], each["traffic"]) for each in changed["spec"]["predictors"]] == [
        ("main", 75),
        ("candidate", 25),
    ]


def test_what_names_one_predictor_only_is_not_copied() -> None:
    named = predictor(
        "baseline",
        "v1",
        traffic=100,
        labels={"version": "old", "team": "flowers"},
        annotations={"seldon.io/no-engine": "true", "seldon.io/svc-name": "iris"},
    )
    candidate = predictors(opened(document(named)))["candidate"]
    assert candidate["labels"] == {"team": "flowers"}
    assert candidate["annotations"] == {"seldon.io/no-engine": "true"}


def test_the_candidate_is_called_as_the_experiment_calls_it() -> None:
    assert list(predictors(opened(ALONE, candidate="challenger"))) == ["baseline", "challenger"]


def test_a_candidate_that_was_rolled_back_is_replaced_and_keeps_what_is_its_own() -> None:
    own = {"replicas": 1, "labels": {"version": "candidate"}}
    rolled_back = document(
        predictor("shadow", "v4", shadow=True),
        predictor("candidate", "v2", traffic=0, **own),
        predictor("baseline", "v1", traffic=100, replicas=3),
    )
    rolled_back["spec"]["predictors"][2]["componentSpecs"][0]["spec"]["containers"][0]["image"] = (
        "abserve/runtimes:0.2.0"
    )
    changed = opened(rolled_back)
    assert list(predictors(changed)) == ["shadow", "candidate", "baseline"]
    candidate = predictors(changed)["candidate"]
    [container] = candidate["componentSpecs"][0]["spec"]["containers"]
    assert container["image"] == "abserve/runtimes:0.2.0"
    assert candidate["graph"]["modelUri"] == URI
    assert {field: candidate[field] for field in ("traffic", *own)} == {"traffic": 10, **own}
    assert predictors(changed)["baseline"]["traffic"] == 90


def test_another_variant_without_requests_stays() -> None:
    value = document(
        predictor("other", "v0", traffic=0),
        predictor("baseline", "v1", traffic=100),
        predictor("candidate", "v2", traffic=0),
    )
    traffic = {name: each["traffic"] for name, each in predictors(opened(value)).items()}
    assert traffic == {"other": 0, "baseline": 90, "candidate": 10}


@pytest.mark.parametrize("name", ["candidate", "other"])
def test_while_another_version_has_requests_nothing_is_opened(name: str) -> None:
    value = document(
        predictor("baseline", "v1", traffic=90),
        predictor("candidate", "v1", traffic=0),
        predictor("other", "v1", traffic=0),
    )
    busy = predictors(value)[name]
    busy["traffic"], busy["graph"]["modelUri"] = 10, "s3://models/iris/v2"
    with pytest.raises(
        ManifestError,
        match=rf"an experiment is going on: .* gives {name} \(s3://models/iris/v2\) 10% .* beside "
        r"baseline \(s3://models/iris/v1\); finish it first, with 'abserve promote iris' or",
    ):
        open_experiment(value, URI, 10)


def test_in_the_middle_of_a_promotion_nothing_is_opened() -> None:
    value = document(
        predictor("baseline", "v2", traffic=0), predictor("candidate", "v2", traffic=100)
    )
    with pytest.raises(ManifestError, match=r"baseline .* has no requests, as in the middle of a"):
        check_no_experiment(value)


def test_a_comparison_of_a_version_with_itself_is_none_but_has_to_give_its_requests_back() -> None:
    same = document(
        predictor("baseline", "v1", traffic=50), predictor("candidate", "v1", traffic=50)
    )
    check_no_experiment(same)
    with pytest.raises(ManifestError, match="'candidate' still has 50% of the traffic"):
        open_experiment(same, URI, 10)


def test_a_shadow_does_not_become_the_candidate() -> None:
    value = document(
        predictor("baseline", "v1", traffic=100), predictor("candidate", "v2", shadow=True)
    )
    with pytest.raises(ManifestError, match=r"a shadow named 'candidate'.*rename the shadow"):
        open_experiment(value, URI, 10)


def test_a_patch_is_refused_when_somebody_changed_the_resource_meanwhile() -> None:
    later = {**ALONE, "metadata": {**ALONE["metadata"], "generation": 4}}
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        jsonpatch.apply_patch(later, open_experiment(ALONE, URI, 10))


def test_a_file_can_be_changed_as_well() -> None:
    changed = opened(without(ALONE, "metadata", "generation"))
    assert list(predictors(changed)) == ["baseline", "candidate"]
