import pytest

from abserve.errors import GateError, RepositoryError, TrainingError
from training.steps import Steps


def test_a_step_is_told_before_it_is_taken_and_timed_after() -> None:
    told: list[tuple[str, str]] = []
    steps = Steps("iris v1", lambda step, what: told.append((step, what)))
    with steps.step("load", "reading the rows"):
        assert told == [("load", "reading the rows")]
        steps.say("100,000 rows read")
    assert told[-1] == ("load", "100,000 rows read")
    assert list(steps.durations_seconds) == ["load"]
    assert steps.durations_seconds["load"] >= 0


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (
            TrainingError("a column is missing; name it"),
            "^iris v1 failed while reading the rows: a column is missing; name it$",
        ),
        (
            ValueError("two\nlines"),
            "^iris v1 failed while reading the rows: ValueError: two lines; change what",
        ),
    ],
)
def test_what_goes_wrong_names_the_step(raised: Exception, expected: str) -> None:
    steps = Steps("iris v1", lambda _step, _what: None)
    with (
        pytest.raises(TrainingError, match=expected),
        steps.step("load", "reading the rows"),
    ):
        raise raised


@pytest.mark.parametrize("error", [GateError("not good enough", ()), RepositoryError("is full")])
def test_what_is_no_failure_of_a_step_is_told_as_it_is(error: Exception) -> None:
    steps = Steps("iris v1", lambda _step, _what: None)
    with pytest.raises(type(error)) as caught, steps.step("judge", "holding it against the gates"):
        raise error
    assert caught.value is error


def test_a_step_that_failed_has_no_duration() -> None:
    steps = Steps("iris v1", lambda _step, _what: None)
    with pytest.raises(TrainingError), steps.step("load", "reading the rows"):
        raise TrainingError("no")
    assert steps.durations_seconds == {}
