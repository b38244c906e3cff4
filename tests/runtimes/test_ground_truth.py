from typing import Any

import pytest
from mlserver.errors import MLServerError
from prometheus_client import REGISTRY

from runtimes.feedback import FeedbackTokens
from runtimes.ground_truth import CountedRows, GroundTruthCounter

TOKENS = FeedbackTokens(b"sixteen bytes at least")
CLASSES = ("setosa", "versicolor", "virginica")


@pytest.fixture
def counter() -> GroundTruthCounter:
    return GroundTruthCounter("iris", CLASSES, TOKENS, CountedRows())


def token(
    *indices: int, version: str = "v1", classes: tuple[str, ...] = CLASSES, request_id: str = "r-1"
) -> str:
    return TOKENS.sign(
        model="iris", version=version, request_id=request_id, classes=classes, indices=indices
    )


def message(ground_truth: Any, feedback_token: Any, **fields: Any) -> dict[str, Any]:
    return {"feedback_token": feedback_token, "ground_truth": ground_truth, **fields}


def counted(version: str, outcome: str) -> float:
    labels = {"model": "iris", "version": version, "outcome": outcome}
    return REGISTRY.get_sample_value("abserve_feedback_total", labels) or 0


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
        (message("setosa", token(0), reward=1), "fields other than id, feedback_token"),
        ({"feedback_token": token(0)}, "'ground_truth' is missing"),
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
    before = counted("v1", "correct"), counted("v1", "incorrect")
    with pytest.raises(MLServerError, match=error) as caught:
        counter.count(body)
    assert caught.value.status_code == 400
    assert (counted("v1", "correct"), counted("v1", "incorrect")) == before
