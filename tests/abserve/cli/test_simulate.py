import json
from pathlib import Path

import pytest

from tests.abserve.cli.conftest import Run

EXAMPLE = Path(__file__).parents[3] / "manifests/base/iris/experiment.yaml"
ASSUMED = ("--baseline", "0.90", "--candidate", "0.92", "--units-per-hour", "600")


def test_a_person_is_shown_power_durations_and_false_promotions(abserve: Run) -> None:
    ended = abserve("simulate", EXAMPLE, *ASSUMED, "--runs", "20")
    assert ended.code == 0
    assert ended.out.startswith("iris: 20 experiments each; 600 units per hour")
    for row in (
        "accuracy of the candidate",
        "promoted",
        "rolled back for a harm",
        "undecided at the end",
        "duration, median",
        "prediction drift",
    ):
        assert f"\n{row} " in ended.out
    assert "Power: 100.0% of candidates like the assumed one are promoted." in ended.out
    assert "of candidates that are no better; expected at most 5.0%." in ended.out


def test_stdout_is_json_alone_where_it_is_asked_for(abserve: Run) -> None:
    ended = abserve("simulate", EXAMPLE, *ASSUMED, "--runs", "20", "--seed", "7", "--json")
    answer = json.loads(ended.out)
    assert (answer["runs"], answer["seed"]) == (20, 7)
    assert answer["assumed"]["candidate"] == 0.92
    assert answer["claim_is_true"] is True
    assert answer["remedies"] == []
    for candidate, outcome in ((0.92, answer["as_assumed"]), (0.9, answer["at_the_border"])):
        assert outcome["candidate"] == candidate
        ends = [outcome[end] for end in ("promoted", "rolled_back", "undecided", "invalid")]
        assert sum(end["share"] for end in ends) == pytest.approx(1)
        assert all(end["standard_error"] > 0 for end in ends)
        assert set(outcome["duration"]) == {"mean_seconds", "standard_error", "median_seconds"}
        assert [claim["metric"] for claim in outcome["claims"]] == [
            "accuracy",
            "error_rate",
            "rejection_rate",
            "latency",
            "prediction_drift",
        ]
    assert answer["as_assumed"]["undecided"]["duration"] is None


def test_a_candidate_that_does_not_deserve_it_has_no_power(abserve: Run) -> None:
    worse = (*ASSUMED, "--candidate", "0.8", "--runs", "5")
    ended = abserve("simulate", EXAMPLE, *worse)
    assert "its promotions (0.0%) are false" in ended.out
    assert "Power" not in ended.out


def test_what_would_help_is_told_where_power_is_low(abserve: Run) -> None:
    low = ("--baseline", "0.90", "--candidate", "0.92", "--units-per-hour", "60", "--runs", "20")
    ended = abserve("simulate", EXAMPLE, *low)
    assert "With maximum_seconds: " in ended.out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nowhere.yaml", *ASSUMED),
        (EXAMPLE, "--baseline", "0.9", "--candidate", "0.92"),
        (EXAMPLE, *ASSUMED, "--baseline", "90"),
        (EXAMPLE, *ASSUMED, "--units-per-hour", "0"),
        (EXAMPLE, *ASSUMED, "--labelled", "0"),
        (EXAMPLE, *ASSUMED, "--runs", "0"),
        (EXAMPLE, *ASSUMED, "--seed", "-1"),
        (EXAMPLE, *ASSUMED, "--classes", "1"),
    ],
    ids=str,
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], abserve: Run) -> None:
    ended = abserve("simulate", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err


def test_a_mistake_in_the_file_ends_with_1_and_its_line(tmp_path: Path, abserve: Run) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("deployment: Iris\n")
    ended = abserve("simulate", path, *ASSUMED)
    assert (ended.code, ended.out) == (1, "")
    assert f"{path}, line 1: deployment is 'Iris'; expected" in ended.err


def test_a_rate_that_is_no_number_ends_with_1(abserve: Run) -> None:
    ended = abserve("simulate", EXAMPLE, *ASSUMED, "--baseline", "nan")
    assert ended.code == 1
    assert "baseline is assumed to be nan; expected a rate" in ended.err
