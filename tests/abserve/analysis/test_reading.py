"""Every mistake in an experiment file is told with its line, and all of them at once."""

import doctest
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from abserve.analysis import reading
from abserve.analysis.experiment_file import Experiment, Latency, UnitHeader
from abserve.analysis.reading import EXPERIMENT_FILE, read_experiment
from abserve.errors import ExperimentError

TEXT = """\
deployment: iris
primary: {metric: accuracy}
guardrails:
  - {metric: error_rate, margin: 0.01}
  - metric: latency
    within_seconds: 0.05
    margin: 0.02
interval_seconds: 600
maturity_seconds: 1800
maximum_seconds: 604800
weight_steps: [10, 25, 50]
step_seconds: 21600
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(ExperimentError) as caught:
        read_experiment(text, "e.yaml")
    return str(caught.value).splitlines()


def with_line(number: int, line: str) -> str:
    """Return the text with another line in the place of one."""
    lines = TEXT.splitlines()
    lines[number - 1] = line
    return "\n".join(lines)


def test_what_is_not_stated_is_usual() -> None:
    experiment = read_experiment(TEXT, "e.yaml")
    assert (experiment.baseline, experiment.candidate) == ("baseline", "candidate")
    assert (experiment.unit, experiment.alpha, experiment.at_the_end) == (
        "request",
        0.05,
        "rollback",
    )
    assert experiment.weight_steps == (10, 25, 50)
    assert experiment.guardrails[1] == Latency(metric="latency", within_seconds=0.05, margin=0.02)


def test_a_unit_may_be_what_a_header_names() -> None:
    text = with_line(11, "weight_steps: [50]") + "\nunit: {header: x-user}\n"
    assert read_experiment(text, "e.yaml").unit == UnitHeader(header="x-user")


def test_units_of_a_header_have_one_weight() -> None:
    assert mistakes(TEXT + "unit: {header: x-user}\n") == [
        "e.yaml, line 11: weight_steps has 3 steps, and units are what the header 'x-user' names; "
        "expected one step, since a unit that a raise moves is new to the candidate only: write "
        "for example `weight_steps: [50]`"
    ]


def test_the_audit_log_may_hold_it_as_json() -> None:
    experiment = read_experiment(TEXT, "e.yaml")
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment
    assert Experiment.model_validate(experiment.model_dump(mode="json")) == experiment


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(reading).failed == 0


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("- iris\n", 1, "the file is a list; expected a mapping"),
        ("\n\niris\n", 3, "the file is 'iris'; expected a mapping"),
        ("a: [1,\n2\n", 3, "this is not YAML: .*; mend that line"),
        ("a: b\nb: c: d\n", 2, "mapping values are not allowed here; mend that line"),
        ("a: b\n\tc: d\n", 2, "this is not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "expected a single document"),
        ("a: 1\nb: \x07\n", 2, r"a character '\\x07' is not allowed"),
        ("a: 1\nb: 2026-13-45\n", 2, "'2026-13-45' is no timestamp"),
        ("a: 1\nb: !!int x\n", 2, "'x' is no int"),
        ("a: 1\nb: !!python/name:os.system\n", 2, "could not determine a constructor"),
        ("a: 1\n? [b]\n: c\n", 2, "found unhashable key"),
        ("a: &b [1]\nc: *b\n", 2, r"\*b is an alias; expected the value itself"),
        ("a: 1\nb: " + "[" * 20_000, 2, "nested too deeply"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, line: int, said: str) -> None:
    (mistake,) = mistakes(text)
    assert mistake.startswith(f"e.yaml, line {line}: ")
    with pytest.raises(ExperimentError, match=said):
        read_experiment(text, "e.yaml")


def test_a_few_lines_cannot_stand_for_millions_of_values() -> None:
    bomb = "a: &a [1, 1]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
    )
    assert mistakes(bomb) == [
        "e.yaml, line 2: this is no experiment: *a is an alias; expected the value itself: write "
        "it here"
    ]


def test_a_long_file_is_refused() -> None:
    assert "longer than 65536 bytes" in mistakes("#" * (EXPERIMENT_FILE.most_bytes + 1))[0]


@pytest.mark.parametrize(
    ("number", "line", "said"),
    [
        (1, "deployment: Iris", "deployment is 'Iris'; expected at most 63 lower-case letters"),
        (1, "deployment:", "deployment is empty; expected"),
        (1, "deployment: 7", "deployment is 7; expected"),
        (2, "primary: accuracy", "primary is 'accuracy'; expected a mapping; write for example"),
        (2, "primary: {metric: auc}", "primary.metric is 'auc'; expected accuracy or reward"),
        (2, "primary: {claim: superiority}", "primary.metric is missing; expected accuracy or"),
        (2, "primary: {metric: reward, direction: up}", "expected higher or lower"),
        (4, "  - error_rate", "guardrails[0] is 'error_rate'; expected a mapping"),
        (4, "  - {margin: 0.1}", "guardrails[0].metric is missing; expected error_rate or"),
        (4, "  - {metric: errors, margin: 0.1}", "guardrails[0].metric is 'errors'; expected"),
        (4, "  - {metric: error_rate}", "guardrails[0].margin is missing; expected a number above"),
        (6, "    within: 0.05", "guardrails[1].within is no field here; did you mean within_sec"),
        (6, "    within_seconds: .inf", "guardrails[1].within_seconds is inf; expected a number"),
        (6, "    within_seconds: 50ms", "guardrails[1].within_seconds is '50ms'; expected a num"),
        (7, "    margin: 1", "guardrails[1].margin is 1; expected a number above 0 and below 1"),
        (8, "interval_seconds: 0", "interval_seconds is 0; expected a whole number above 0"),
        (8, "interval_seconds: 1.5", "interval_seconds is 1.5; expected a whole number"),
        (8, "interval_seconds: 6e2", "interval_seconds is the text '6e2'; expected a whole num"),
        (8, "interval_seconds: true", "interval_seconds is true; expected a whole number"),
        (9, "maturity_second: 1800", "maturity_second is no field here; did you mean maturity_s"),
        (10, "maximum_seconds: 10000000000", "expected a whole number above 0 and at most 10000"),
        (11, "weight_steps: 50", "weight_steps is 50; expected a list of at least 1"),
        (11, "weight_steps: []", "weight_steps is an empty list; expected a list of at least 1"),
        (11, "weight_steps: [10, 100]", "weight_steps[1] is 100; expected a whole number of at"),
        (12, "step_seconds: 21600\nalpha: 5", "alpha is 5; expected a number above 0 and below 1"),
    ],
)
def test_a_wrong_field_is_told_with_its_line(number: int, line: str, said: str) -> None:
    (mistake,) = mistakes(with_line(number, line))
    number += line.count("\n")
    assert mistake.startswith(f"e.yaml, line {number}: ")
    assert said in mistake


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("unit: user", "unit is 'user'; expected request or a mapping; write for example `unit: "),
        ("unit: 3", "unit is 3; expected request or a mapping"),
        ("unit: {headr: x-user}", "unit.headr is no field here; did you mean header?"),
        ("unit: {header: X User}", "unit.header is 'X User'; expected a header's name in lower"),
        ("unit: {}", "unit.header is missing; expected a header's name in lower case"),
        ("3: 4", "3 is no field here; expected one of deployment, "),
        ("at_the_end: explode", "at_the_end is 'explode'; expected rollback or keep"),
        ("deployment: wine", "deployment is given twice, first on line 1"),
        ("candidate: baseline", "candidate is 'baseline', and so is baseline"),
        ("baseline: candidate", "baseline is 'candidate', and so is candidate"),
        ("minimum_seconds: 604801", "minimum_seconds is 604801; expected at most maximum_seconds"),
    ],
)
def test_a_wrong_line_more_is_told(line: str, said: str) -> None:
    (mistake,) = mistakes(TEXT + line)
    assert mistake.startswith("e.yaml, line 13: ")
    assert said in mistake


@pytest.mark.parametrize(
    ("number", "line", "said"),
    [
        (2, "primary: {metric: accuracy, margin: 0.1}", "primary.margin is 0.1, and the claim su"),
        (2, "primary: {metric: accuracy, claim: non-inferiority}", "without a margin; expected by"),
        (2, "primary: {metric: accuracy, direction: lower}", "a higher accuracy is better"),
        (4, "  - {metric: latency, within_seconds: 1, margin: 0.1}", "guards latency once more"),
        (9, "maturity_seconds: 3000", "or maturity_seconds below 3000"),
        (9, "maturity_seconds: 3000000", "interval_seconds does not fit maturity_seconds: blocks"),
        (10, "maximum_seconds: 64799", "expected at least 64800, which is 3 steps of 21600 sec"),
        (11, "weight_steps: [10, 10]", "weight_steps[1] is 10, after 10; expected rising weights"),
        (11, "weight_steps: [50, 10]", "weight_steps[1] is 10, after 50; expected rising weights"),
        (12, "step_seconds: 1500", "step_seconds is 1500; expected a multiple of interval_secon"),
        (12, "step_seconds: 300", "step_seconds is 300; expected a multiple of interval_seconds"),
    ],
)
def test_what_does_not_fit_together_is_told(number: int, line: str, said: str) -> None:
    assert said in "\n".join(mistakes(with_line(number, line)))


def test_time_for_no_feedback_is_no_time() -> None:
    text = TEXT.replace("604800", "1800").replace("21600", "600")
    assert mistakes(text) == [
        "e.yaml, line 10: maximum_seconds is 1800; expected at least 2400, which is "
        "interval_seconds and maturity_seconds: before that no feedback counts"
    ]


def test_all_mistakes_are_told_in_the_order_of_lines() -> None:
    text = with_line(2, "primary: {metric: auc}") + "\nalpha: 2\ndeployment: wine\nminimum_unit: 3"
    assert [mistake.split(":")[0] for mistake in mistakes(text)] == [
        "e.yaml, line 2",
        "e.yaml, line 13",
        "e.yaml, line 14",
        "e.yaml, line 15",
    ]


def test_a_missing_field_is_told_with_the_line_of_what_lacks_it() -> None:
    assert mistakes(with_line(8, "")) == [
        "e.yaml, line 1: interval_seconds is missing; expected a whole number above 0 and at most "
        "1000000000; write for example `interval_seconds: 600`"
    ]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.binary()
    | st.sampled_from(["accuracy", "latency", "request", "metric", "header"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metric", "margin", "header", "claim"]) | st.integers() | st.dates(),
            children,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(st.sampled_from([*Experiment.model_fields, "colour", 3]), VALUES)
def test_whatever_stands_in_a_field_is_taken_or_told_with_a_line(
    field: object, value: object
) -> None:
    text = yaml.safe_dump({**yaml.safe_load(TEXT), field: value}, sort_keys=False)
    try:
        experiment = read_experiment(text, "e.yaml")
    except ExperimentError as error:
        for mistake in str(error).splitlines():
            assert re.match(r"e\.yaml, line [1-9][0-9]*: ", mistake)
    else:
        assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment


@given(st.text())
def test_whatever_a_file_says_is_taken_or_told(text: str) -> None:
    with pytest.raises(ExperimentError, match=r"^e\.yaml, line [1-9][0-9]*: "):
        read_experiment(text, "e.yaml")
