import math
from typing import Any

import numpy as np
import pytest
from mlserver.errors import MLServerError
from prometheus_client import REGISTRY

from abserve.slots import slot_of
from runtimes.feedback import FeedbackTokens
from runtimes.ground_truth import CountedRows, GroundTruthCounter
from runtimes.inference import Classified, Regressed

NOW = 1_800_000_000
TOKENS = FeedbackTokens(b"sixteen bytes at least", clock=lambda: NOW)
CLASSES = ("setosa", "versicolor", "virginica")


@pytest.fixture
def counter() -> GroundTruthCounter:
    return GroundTruthCounter("iris", CLASSES, TOKENS, CountedRows(), lambda: NOW)


@pytest.fixture
def measurer() -> GroundTruthCounter:
    return GroundTruthCounter("house", None, TOKENS, CountedRows(), lambda: NOW)


def token(
    *indices: int, version: str = "v1", classes: tuple[str, ...] = CLASSES, request_id: str = "r-1"
) -> str:
    probability = np.ones((len(indices), len(classes)), dtype=np.float32)
    return TOKENS.sign(
        model="iris",
        version=version,
        request_id=request_id,
        classes=classes,
        result=Classified(np.array(indices), probability),
    )


def repeated_token(*indices: int) -> str:
    probability = np.ones((len(indices), len(CLASSES)), dtype=np.float32)
    return TOKENS.sign(
        model="iris",
        version="v1",
        request_id="r-1",
        classes=CLASSES,
        result=Classified(np.array(indices), probability),
        first_exposure=False,
    )


def number_token(*numbers: float) -> str:
    return TOKENS.sign(
        model="house",
        version="v1",
        request_id="r-1",
        classes=None,
        result=Regressed(np.array(numbers, dtype=np.float32)),
    )


def message(ground_truth: Any, feedback_token: Any, **fields: Any) -> dict[str, Any]:
    return {"feedback_token": feedback_token, "ground_truth": ground_truth, **fields}


def rewarded(reward: Any, feedback_token: str) -> dict[str, Any]:
    return {"feedback_token": feedback_token, "reward": reward}


def value(name: str, model: str = "iris", version: str = "v1", **labels: str) -> float:
    labels = {"model": model, "version": version, **labels}
    return REGISTRY.get_sample_value(name, labels) or 0


def counted(version: str, outcome: str) -> float:
    return value("abserve_feedback_total", version=version, outcome=outcome)


def outcomes(metric: str, assigned_at: int = NOW, **labels: str) -> tuple[float, float]:
    """The outcomes counted in the slot of that minute, and their sum."""
    slot = {"metric": metric, "period": "60", "slot": str(slot_of(assigned_at, 60)), **labels}
    return value("abserve_outcomes_total", **slot), value("abserve_outcome_sum_total", **slot)


def all_counted() -> tuple[float, ...]:
    """All that feedback on iris and house can count."""
    return (
        counted("v1", "correct"),
        counted("v1", "incorrect"),
        value("abserve_rewards_total"),
        value("abserve_reward_sum_total"),
        value("abserve_feedback_total", "house", outcome="measured"),
        value("abserve_absolute_error_sum_total", "house"),
        value("abserve_squared_error_sum_total", "house"),
        value("abserve_rewards_total", "house"),
        *outcomes("accuracy"),
        *outcomes("reward"),
    )


def test_a_right_prediction_counts_as_correct(counter: GroundTruthCounter) -> None:
    assert counter.count(message("setosa", token(0), id="r-1")) == {
        "model_name": "iris",
        "model_version": "v1",
        "id": "r-1",
        "counted": 1,
        "correct": 1,
    }


def test_a_wrong_prediction_counts_as_incorrect(counter: GroundTruthCounter) -> None:
    before = counted("v1", "correct"), counted("v1", "incorrect")
    answer = counter.count(message("virginica", token(0)))
    assert (answer["counted"], answer["correct"]) == (1, 0)
    assert (counted("v1", "correct"), counted("v1", "incorrect")) == (before[0], before[1] + 1)


def test_each_row_has_its_own_ground_truth(counter: GroundTruthCounter) -> None:
    answer = counter.count(message(["setosa", "setosa", None], token(0, 1, 2)))
    assert (answer["counted"], answer["correct"]) == (2, 1)


def test_feedback_is_counted_for_the_version_that_predicted(counter: GroundTruthCounter) -> None:
    before = counted("v9", "correct")
    answer = counter.count(message("setosa", token(0, version="v9")))
    assert answer["model_version"] == "v9"
    assert counted("v9", "correct") == before + 1


def test_a_repeated_token_is_counted_once(counter: GroundTruthCounter) -> None:
    body = message("setosa", token(0))
    before = counted("v1", "correct")
    first, again = counter.count(body), counter.count(body)
    assert (first["counted"], again["counted"], again["correct"]) == (1, 0, 0)
    assert counted("v1", "correct") == before + 1


def test_the_first_ground_truth_of_a_row_stands(counter: GroundTruthCounter) -> None:
    sent = token(0)
    counter.count(message("setosa", sent))
    assert counter.count(message("virginica", sent))["counted"] == 0


def test_rows_unknown_at_first_are_counted_later(counter: GroundTruthCounter) -> None:
    sent = token(0, 1)
    assert counter.count(message([None, None], sent))["counted"] == 0
    assert counter.count(message(["setosa", None], sent))["counted"] == 1
    assert counter.count(message(["setosa", "versicolor"], sent))["counted"] == 1


def test_the_oldest_token_is_forgotten_first() -> None:
    rows = CountedRows(max_tokens=2)
    for name in (b"a", b"b", b"a", b"c"):
        rows.add(name, [0])
    assert [rows.add(name, [0]) for name in (b"a", b"b")] == [(), (0,)]


def test_the_oldest_reward_is_forgotten_first() -> None:
    rows = CountedRows(max_tokens=2)
    for name in (b"a", b"b", b"a", b"c"):
        rows.add_reward(name)
    assert [rows.add_reward(name) for name in (b"a", b"b")] == [False, True]


def test_rewards_do_not_make_ground_truth_be_forgotten() -> None:
    rows = CountedRows(max_tokens=2)
    rows.add(b"a", [0])
    for name in (b"b", b"c", b"d"):
        rows.add_reward(name)
    assert rows.add(b"a", [0]) == ()


@pytest.mark.parametrize("reward", [0, 0.25, 1, 1.0])
def test_a_reward_is_counted(counter: GroundTruthCounter, reward: float) -> None:
    before = value("abserve_rewards_total"), value("abserve_reward_sum_total")
    assert counter.count(rewarded(reward, token(0, 1, 2))) == {
        "model_name": "iris",
        "model_version": "v1",
        "id": "r-1",
        "reward_counted": True,
    }
    after = value("abserve_rewards_total"), value("abserve_reward_sum_total")
    assert after == (before[0] + 1, before[1] + reward)


def test_a_reward_is_counted_for_the_version_that_predicted(counter: GroundTruthCounter) -> None:
    counter.count(rewarded(0.5, token(0, version="v8")))
    assert value("abserve_reward_sum_total", version="v8") == 0.5


def test_the_first_reward_of_a_response_stands(counter: GroundTruthCounter) -> None:
    sent = token(0)
    before = value("abserve_reward_sum_total")
    counter.count(rewarded(0.5, sent))
    assert counter.count(rewarded(1, sent))["reward_counted"] is False
    assert value("abserve_reward_sum_total") == before + 0.5


def test_ground_truth_and_reward_are_counted_once_each(counter: GroundTruthCounter) -> None:
    sent = token(0)
    assert counter.count(rewarded(1, sent))["reward_counted"]
    answer = counter.count(message("setosa", sent, reward=1))
    assert (answer["counted"], answer["correct"], answer["reward_counted"]) == (1, 1, False)
    again = counter.count(message("setosa", sent, reward=1))
    assert (again["counted"], again["reward_counted"]) == (0, False)


def test_both_may_come_in_one_message(counter: GroundTruthCounter) -> None:
    answer = counter.count(message("setosa", token(0), reward=0.5))
    assert (answer["counted"], answer["correct"], answer["reward_counted"]) == (1, 1, True)


def test_a_reward_that_is_refused_takes_the_ground_truth_with_it(
    counter: GroundTruthCounter,
) -> None:
    sent = token(0)
    with pytest.raises(MLServerError, match="'reward'"):
        counter.count(message("setosa", sent, reward=2))
    assert counter.count(message("setosa", sent))["counted"] == 1


def test_ground_truth_that_is_refused_takes_the_reward_with_it(
    counter: GroundTruthCounter,
) -> None:
    sent = token(0)
    with pytest.raises(MLServerError, match="'ground_truth'"):
        counter.count(message("rose", sent, reward=1))
    assert counter.count(rewarded(1, sent))["reward_counted"]


def test_a_predicted_number_is_measured(measurer: GroundTruthCounter) -> None:
    before = all_counted()
    assert measurer.count(message([3, None, 0.5], number_token(1, 2, 1))) == {
        "model_name": "house",
        "model_version": "v1",
        "id": "r-1",
        "counted": 2,
        "mean_absolute_error": 1.25,
    }
    measured, absolute, squared = (
        after - earlier for after, earlier in zip(all_counted()[4:7], before[4:7], strict=True)
    )
    assert (measured, absolute, squared) == (2, 2.5, 4.25)


def test_where_nothing_was_measured_there_is_no_mean(measurer: GroundTruthCounter) -> None:
    sent = number_token(1)
    unknown = measurer.count(message(None, sent))
    assert unknown["counted"] == 0
    assert "mean_absolute_error" not in unknown
    assert measurer.count(message(1, sent))["mean_absolute_error"] == 0
    assert "mean_absolute_error" not in measurer.count(message(1, sent))


def test_a_predicted_number_may_be_rewarded(measurer: GroundTruthCounter) -> None:
    assert measurer.count(rewarded(0.5, number_token(1, 2)))["reward_counted"]


def test_errors_stay_finite_whatever_is_sent(measurer: GroundTruthCounter) -> None:
    largest = float(np.finfo(np.float32).max)
    measurer.count(message(-largest, number_token(largest)))
    assert math.isfinite(value("abserve_squared_error_sum_total", "house"))


@pytest.mark.parametrize(
    "ground_truth",
    ["3", True, [], {}, math.nan, math.inf, -math.inf, 1e39, -1e39, 10**400, [1.0], [[1.0], 2]],
)
def test_ground_truth_that_is_no_number_is_refused(
    measurer: GroundTruthCounter, ground_truth: Any
) -> None:
    before = all_counted()
    truths = ground_truth if isinstance(ground_truth, list) else [0, ground_truth]
    expected = "row [01] .* no finite number of FP32; numbers were predicted|names . numbers, but 2"
    with pytest.raises(MLServerError, match=expected) as caught:
        measurer.count(message(truths, number_token(1, 2)))
    assert caught.value.status_code == 400
    assert all_counted() == before


def test_a_regressor_that_succeeds_a_classifier_counts_the_classes_of_that() -> None:
    iris = GroundTruthCounter("iris", None, TOKENS, CountedRows())
    assert iris.count(message("setosa", token(0)))["correct"] == 1


def test_a_classifier_that_succeeds_a_regressor_counts_the_numbers_of_that() -> None:
    house = GroundTruthCounter("house", CLASSES, TOKENS, CountedRows())
    assert house.count(message(2, number_token(1)))["mean_absolute_error"] == 1


def test_a_class_only_the_predicting_version_knows_is_accepted(
    counter: GroundTruthCounter,
) -> None:
    sent = token(0, classes=("rose", "tulip"))
    assert counter.count(message("tulip", sent))["counted"] == 1


def test_a_class_only_this_version_knows_is_accepted(counter: GroundTruthCounter) -> None:
    answer = counter.count(message("virginica", token(0, classes=("setosa", "tulip"))))
    assert (answer["counted"], answer["correct"]) == (1, 0)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, "no JSON object; expected"),
        ([], "no JSON object"),
        ("text", "no JSON object"),
        (5, "no JSON object"),
        (b"{}", "add the header 'content-type: application/json'"),
        ({}, "'feedback_token' is missing"),
        (message("setosa", 5), "'feedback_token' is missing or no string"),
        (message("setosa", None), "'feedback_token' is missing or no string"),
        (message("setosa", ["a"]), "'feedback_token' is missing or no string"),
        (message("setosa", ""), "damaged or cut short"),
        (message("setosa", "abc"), "damaged or cut short"),
        (message("setosa", "\ud800"), "damaged or cut short"),
        (message("setosa", token(0)[:-5]), "feedback token"),
        (message("setosa", token(0), id=5), "'id' is no string"),
        (message("setosa", token(0), id="r-2"), "'id' is not the request id"),
        (message("setosa", token(0), id=""), "'id' is not the request id"),
        (message("setosa", token(0), score=1), "fields other than id, feedback_token"),
        ({"feedback_token": token(0)}, "'ground_truth' and 'reward' are both missing"),
        (rewarded(1.01, token(0)), "'reward' is no number from 0 to 1; expected one number"),
        (rewarded(-0.01, token(0)), "'reward' is no number from 0 to 1"),
        (rewarded(math.nan, token(0)), "'reward' is no number from 0 to 1"),
        (rewarded(math.inf, token(0)), "'reward' is no number from 0 to 1"),
        (rewarded(True, token(0)), "'reward' is no number from 0 to 1"),
        (rewarded("1", token(0)), "'reward' is no number from 0 to 1"),
        (rewarded([1], token(0)), "'reward' is no number from 0 to 1"),
        (rewarded(None, token(0)), "'reward' is no number from 0 to 1"),
        (rewarded(10**400, token(0)), "'reward' is no number from 0 to 1"),
        (rewarded(1, "abc"), "damaged or cut short"),
        (message("rose", token(0)), "row 0 .* expected one of 'setosa', 'versicolor', 'virginica'"),
        (message(0, token(0)), "row 0 .* is no class of iris"),
        (message(True, token(0)), "row 0 .* is no class"),
        (message({"a": []}, token(0)), "row 0 .* is no class"),
        (message([["setosa"]], token(0)), "row 0 .* is no class"),
        (message(["setosa", "rose"], token(0, 0)), "row 1 .* is no class"),
        (message([], token(0)), "names 0 classes, but 1 rows were predicted"),
        (message(["setosa"] * 2, token(0)), "names 2 classes, but 1 rows"),
        (message("setosa", token(0, 1)), "names 1 classes, but 2 rows"),
    ],
)
def test_a_malformed_message_is_refused_and_not_counted(
    counter: GroundTruthCounter, body: Any, error: str
) -> None:
    before = all_counted()
    with pytest.raises(MLServerError, match=error) as caught:
        counter.count(body)
    assert caught.value.status_code == 400
    assert all_counted() == before


# Outcomes: one for each response, by the time its request was assigned.


def test_the_outcome_of_a_response_is_the_share_of_its_labelled_rows_that_were_right(
    counter: GroundTruthCounter,
) -> None:
    n, total = outcomes("accuracy")
    counter.count(message(["setosa", "setosa", None, "virginica"], token(0, 1, 2, 2)))
    assert outcomes("accuracy") == (n + 1, pytest.approx(total + 2 / 3, abs=2**-20))


def test_only_the_first_ground_truth_of_a_response_is_its_outcome(
    counter: GroundTruthCounter,
) -> None:
    n, total = outcomes("accuracy")
    sent = token(0, 1)
    counter.count(message([None, None], sent))
    assert outcomes("accuracy") == (n, total)
    counter.count(message([None, "versicolor"], sent))
    assert counter.count(message(["virginica", "versicolor"], sent))["counted"] == 1
    assert outcomes("accuracy") == (n + 1, total + 1)


def test_the_first_reward_of_a_response_is_an_outcome(counter: GroundTruthCounter) -> None:
    n, total = outcomes("reward")
    sent = token(0, 1)
    for reward in (0.25, 0.75):
        counter.count(rewarded(reward, sent))
    assert outcomes("reward") == (n + 1, total + 0.25)


def test_ground_truth_and_reward_are_outcomes_of_their_own(counter: GroundTruthCounter) -> None:
    before = outcomes("accuracy")[0], outcomes("reward")[0]
    counter.count(message("setosa", token(0), reward=1))
    assert (outcomes("accuracy")[0], outcomes("reward")[0]) == (before[0] + 1, before[1] + 1)


def test_a_number_has_no_accuracy_and_may_have_a_reward(measurer: GroundTruthCounter) -> None:
    n, total = outcomes("reward", model="house")
    measurer.count(message(2.0, number_token(1), reward=0.5))
    assert outcomes("accuracy", model="house") == (0, 0)
    assert outcomes("reward", model="house") == (n + 1, total + 0.5)


def test_a_response_that_was_not_its_units_first_has_no_outcome(
    counter: GroundTruthCounter,
) -> None:
    before, rows = (outcomes("accuracy"), outcomes("reward")), counted("v1", "correct")
    answer = counter.count(message("setosa", repeated_token(0), reward=1))
    assert (answer["counted"], answer["reward_counted"]) == (1, True)
    assert counted("v1", "correct") == rows + 1
    assert (outcomes("accuracy"), outcomes("reward")) == before


def test_an_outcome_counts_for_the_version_that_predicted(counter: GroundTruthCounter) -> None:
    counter.count(message("setosa", token(0, version="v7")))
    assert outcomes("accuracy", version="v7") == (1, 1)


def test_an_outcome_is_counted_where_the_clock_says_that_it_still_may_be() -> None:
    late = GroundTruthCounter("iris", CLASSES, TOKENS, CountedRows(), lambda: NOW + 3600)
    hour = {"period": "3600", "slot": str(slot_of(NOW, 3600))}
    in_minute, (n, total) = outcomes("accuracy"), outcomes("accuracy", **hour)
    late.count(message("setosa", token(0)))
    assert outcomes("accuracy") == in_minute
    assert outcomes("accuracy", **hour) == (n + 1, total + 1)
