import io

import pytest
from rich.console import Console

from abserve.cli.render import deployments_table, milliseconds, share, status_table
from abserve.promotion import DeploymentStatus, DeploymentSummary, PredictorStatus
from abserve.telemetry import Histogram, VersionCounts

HEADINGS = "predictor version weight ready requests errors p50 ms p99 ms accuracy feedback"
# The slowest answer that the buckets of the runtimes can tell, and a week of traffic.
SLOW = Histogram((5.0, 10.0, float("inf")), (0, 0, 1))
BUSY = VersionCounts(9_999_999, 0, 99_999, 999_999, 0, SLOW)

BASELINE = PredictorStatus("baseline", "v1", 90, False, 2, 2, VersionCounts())
CANDIDATE = PredictorStatus("candidate", "v2", 10, False, 0, 1, VersionCounts())
SHADOW = PredictorStatus("shadow", "v3", 20, True, 1, 1, VersionCounts())


def shown(*predictors: PredictorStatus, description: str = "") -> list[str]:
    status = DeploymentStatus("iris", "shop", "iris", "Failed", description, None, predictors)
    file = io.StringIO()
    Console(file=file, width=80).print(status_table(status))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_table_says_what_it_is_of() -> None:
    assert shown(BASELINE)[0] == "iris in shop: Failed"


def test_there_is_a_row_for_each_predictor_in_their_order() -> None:
    assert [line.split()[0] for line in shown(BASELINE, CANDIDATE)[2:]] == ["baseline", "candidate"]


def test_a_row_says_who_serves_how_much_and_how_well() -> None:
    seconds = Histogram((0.001, 0.002, float("inf")), (10, 20, 20))
    counts = VersionCounts(20, 1, 2, 9, 3, seconds)
    row = shown(PredictorStatus("baseline", "v1", 90, False, 1, 2, counts))[2]
    assert " ".join(row.split()) == "baseline v1 90 % 1/2 20 3 1.00 1.98 75.0% 12"


def test_what_is_unknown_is_a_dash() -> None:
    unknown = PredictorStatus("baseline", None, 90, False, 0, 0, VersionCounts())
    assert " ".join(shown(unknown)[2].split()) == "baseline - 90 % 0/0 - - - - - -"


def test_a_shadow_has_no_weight_and_the_share_it_gets_copies_of_stands_below() -> None:
    row, below = shown(BASELINE, SHADOW)[3:]
    assert row.split()[:4] == ["shadow", "v3", "-", "1/1"]
    assert below == "shadow gets copies of 20 % of the requests"


@pytest.mark.parametrize(
    "predictors",
    [
        (BASELINE,),
        (BASELINE, CANDIDATE),
        (BASELINE, CANDIDATE, SHADOW),
        (
            PredictorStatus("baseline", "v10", 100, False, 10, 10, BUSY),
            PredictorStatus("candidate", "v11", 0, False, 10, 10, BUSY),
            PredictorStatus("shadow", "v12", 100, True, 10, 10, BUSY),
        ),
    ],
    ids=["one", "two", "a shadow", "busy"],
)
def test_a_table_fits_a_terminal_of_80_columns(predictors: tuple[PredictorStatus, ...]) -> None:
    lines = shown(*predictors)
    assert max(len(line) for line in lines) <= 80
    assert " ".join(lines[1].split()) == HEADINGS
    assert not any("…" in line for line in lines)


def test_a_description_is_shown_as_it_is() -> None:
    description = "candidate: no folder [/models/iris] at :key: [bold]"
    assert shown(BASELINE, description=description)[-1] == description


def test_without_a_description_the_table_ends_with_its_last_row() -> None:
    assert shown(BASELINE)[-1].startswith("baseline")


def listed(*, everywhere: bool) -> list[str]:
    iris = DeploymentSummary("iris", "shop", "Creating", "a: starting [1]", {"a": 90, "b": 10}, "c")
    file = io.StringIO()
    Console(file=file, width=80).print(deployments_table([iris], everywhere=everywhere))
    return [" ".join(line.split()) for line in file.getvalue().splitlines()]


def test_a_list_has_a_row_for_each_deployment_and_what_holds_it_up_below() -> None:
    assert listed(everywhere=False) == [
        "name state predictors",
        "iris Creating a 90 %, b 10 %, c shadow",
        "a: starting [1]",
    ]


def test_a_list_of_all_namespaces_names_them() -> None:
    assert listed(everywhere=True)[1].startswith("shop iris Creating")


def test_times_are_told_in_milliseconds() -> None:
    assert (milliseconds(0.00123), milliseconds(1.2345), milliseconds(None)) == (
        "1.23",
        "1234",
        "-",
    )


def test_shares_are_told_in_percent() -> None:
    assert (share(0.9751), share(None)) == ("97.5%", "-")
