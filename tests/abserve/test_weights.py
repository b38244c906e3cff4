import pytest

from abserve.errors import ManifestError
from abserve.weights import Weights


def test_whole_percents_that_sum_to_100_are_weights() -> None:
    assert Weights({"baseline": 90, "candidate": 10}).by_variant == {
        "baseline": 90,
        "candidate": 10,
    }


def test_one_variant_may_have_everything() -> None:
    assert Weights({"baseline": 100, "candidate": 0}).by_variant["candidate"] == 0


@pytest.mark.parametrize("weights", [{"baseline": 90}, {"baseline": 90, "candidate": 20}])
def test_weights_that_do_not_sum_to_100_are_refused_with_their_sum(
    weights: dict[str, int],
) -> None:
    with pytest.raises(ManifestError, match=f"sum to {sum(weights.values())}, expected 100"):
        Weights(weights)


def test_no_weights_are_none() -> None:
    with pytest.raises(ManifestError, match="found none"):
        Weights({})


def test_a_weight_outside_0_to_100_is_refused_even_if_the_sum_is_right() -> None:
    with pytest.raises(ManifestError, match="weight of 'baseline' is 150"):
        Weights({"baseline": 150, "candidate": -50})


def test_weights_are_read_as_people_type_them() -> None:
    weights = Weights.parse(["baseline=90", "candidate=10"])
    assert weights == Weights({"baseline": 90, "candidate": 10})


@pytest.mark.parametrize(
    "typed",
    ["baseline", "=90", "baseline=", "baseline=9.5", "baseline=90%", "baseline=٩٠"],
)
def test_what_is_no_assignment_is_refused_with_an_example(typed: str) -> None:
    with pytest.raises(ManifestError, match="expected NAME=PERCENT, for example baseline=90"):
        Weights.parse([typed])


def test_two_minus_signs_are_no_weight() -> None:
    with pytest.raises(ManifestError, match="expected NAME=PERCENT"):
        Weights.parse(["baseline=--1"])


def test_a_variant_is_named_once() -> None:
    with pytest.raises(ManifestError, match="'baseline' is given twice"):
        Weights.parse(["baseline=50", "baseline=50"])
