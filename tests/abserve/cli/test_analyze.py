import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.abserve.cli.conftest import Ended, Run
from tests.abserve.promotion.local_api import LocalApi
from tests.abserve.rollout.logs import write_log
from tests.abserve.seldon.documents import document, predictor

HEADER = "weight_candidate,n_baseline,k_baseline,n_candidate,k_candidate"
BETTER = "50,500,400,500,450"
EVEN = "50,500,400,500,400"
WORSE = "50,500,450,500,400"


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    return tmp_path / "counts.csv"


def write(counts: Path, *rows: str) -> Path:
    counts.write_text("\n".join([HEADER, *rows, ""]))
    return counts


def answer(ended: Ended) -> Any:
    assert ended.err == ""
    return json.loads(ended.out)


def test_a_decision_ends_with_0(abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "--counts", write(counts, *[BETTER] * 5))
    assert ended.code == 0
    assert ended.out.startswith("counts.csv: PROMOTE: the candidate may take the baseline's place")


def test_a_rollback_is_a_decision(abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "--counts", write(counts, *[WORSE] * 5), "--json")
    assert (ended.code, answer(ended)["decision"]) == (0, "ROLLBACK")


def test_no_decision_yet_ends_with_3(abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "--counts", write(counts, *[EVEN] * 5), "--json")
    assert (ended.code, answer(ended)["decision"]) == (3, "CONTINUE")


def test_a_margin_asks_for_non_inferiority(abserve: Run, counts: Path) -> None:
    write(counts, *[EVEN] * 20)
    ended = abserve("analyze", "--counts", counts, "--margin", "0.05", "--json")
    assert answer(ended)["decision"] == "PROMOTE"


def test_a_smaller_alpha_asks_for_more(abserve: Run, counts: Path) -> None:
    write(counts, *[BETTER] * 3)
    strict = answer(abserve("analyze", "--counts", counts, "--alpha", "1e-9", "--json"))
    usual = answer(abserve("analyze", "--counts", counts, "--json"))
    assert (strict["decision"], usual["decision"]) == ("CONTINUE", "PROMOTE")
    assert strict["interval"][0] < usual["interval"][0] < usual["interval"][1]


def test_the_answer_for_machines_has_what_is_promised(abserve: Run, counts: Path) -> None:
    told = answer(abserve("analyze", "--counts", write(counts, *[BETTER] * 5), "--json"))
    assert told["decision"] == "PROMOTE"
    assert len(told["reasons"]) == 1
    assert told["effect"] == pytest.approx(0.1)
    lower, upper = told["interval"]
    assert lower < 0.1 < upper
    assert told["log_evidence"].keys() == {
        "superiority",
        "non_inferiority",
        "harm",
        "sample_ratio",
    }


# ../shared/facts/experiments.md and the papers it names. A block whose guessed rates are t_a, t_b
# follows one that makes it guess so: (K + 1/2) / (N + 1).
KNOWN = {
    "sample ratio, 5200 and 4800": (["50,5200,0,4800,0"], "0", "sample_ratio", 5.6136134),
    "sample ratio, 5050 and 4950": (["50,5050,0,4950,0"], "0", "sample_ratio", -1.8149289),
    "superiority": (["50,99,14.5,99,19.5", "50,100,13,100,21"], "0", "superiority", 0.96644717),
}


@pytest.mark.parametrize(("rows", "margin", "which", "known"), KNOWN.values(), ids=KNOWN.keys())
def test_answers_that_are_known_come_out(
    rows: list[str], margin: str, which: str, known: float, abserve: Run, counts: Path
) -> None:
    ended = abserve("analyze", "--counts", write(counts, *rows), "--margin", margin, "--json")
    assert answer(ended)["log_evidence"][which] == pytest.approx(known, abs=1e-6)


def test_the_known_answer_for_a_margin_comes_out(abserve: Run, counts: Path) -> None:
    first, second = "50,99,14.5,99,19.5", "50,100,13,100,21"
    before, both = (
        answer(abserve("analyze", "--counts", write(counts, *rows), "--margin", ".05", "--json"))
        for rows in ([first], [first, second])
    )
    # The first block is held against the line as well, from the guess that all rates are 1/2.
    added = both["log_evidence"]["non_inferiority"] - before["log_evidence"]["non_inferiority"]
    assert added == pytest.approx(2.79024185, abs=1e-6)


def test_counts_are_read_from_stdin(abserve: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = io.TextIOWrapper(io.BytesIO("\n".join([HEADER, *[BETTER] * 5]).encode()))
    monkeypatch.setattr(sys, "stdin", piped)
    ended = abserve("analyze", "--counts", "-")
    assert (ended.code, ended.out.partition(":")[0]) == (0, "stdin")


def test_rows_that_cannot_be_make_it_invalid(abserve: Run, counts: Path) -> None:
    write(counts, BETTER, "50,10,11,10,9", BETTER, "50,ten,9,10,9")
    ended = abserve("analyze", "--counts", counts, "--json")
    told = answer(ended)
    assert (ended.code, told["decision"]) == (0, "INVALID")
    assert [reason.partition(":")[0] for reason in told["reasons"]] == ["line 3", "line 5"]
    assert (told["effect"], told["interval"]) == (None, None)
    assert set(told["log_evidence"].values()) == {None}


def test_rows_that_cannot_be_are_told_to_people(abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "--counts", write(counts, "50,10,11,10,9"))
    assert "INVALID: nothing may be concluded from these counts" in ended.out
    assert "- line 2: k_baseline is 11 of n_baseline = 10" in ended.out


def test_units_that_arrive_otherwise_than_the_weights_say_make_it_invalid(
    abserve: Run, counts: Path
) -> None:
    write(counts, "50,6000,3000,4000,3000")
    assert answer(abserve("analyze", "--counts", counts, "--json"))["decision"] == "INVALID"


def test_a_file_with_nothing_but_a_header_is_waited_for(abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "--counts", write(counts), "--json")
    told = answer(ended)
    assert (ended.code, told["decision"]) == (3, "CONTINUE")
    assert "nothing was counted" in told["reasons"][0]


def test_blocks_with_one_variant_only_are_waited_for(abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "--counts", write(counts, "0,500,400,0,0"), "--json")
    told = answer(ended)
    assert (ended.code, told["decision"], told["effect"]) == (3, "CONTINUE", None)
    assert "no block has units of both variants" in told["reasons"][-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing; expected a header"),
        (b"day,units\n1,2\n", "begins with day, units; expected a header"),
        (b"\x89PNG\r\n\x1a\n\x00", "holds the byte 0x89 at position 0; expected a CSV file"),
    ],
    ids=["empty", "other columns", "a picture"],
)
def test_what_is_no_file_of_counts_is_refused(
    content: bytes, message: str, abserve: Run, counts: Path
) -> None:
    counts.write_bytes(content)
    ended = abserve("analyze", "--counts", counts, "--json")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"abserve: {counts} {message}")


def test_a_file_that_is_not_there_is_refused(abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "--counts", counts)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"abserve: {counts} cannot be read (No such file or directory)")


def test_a_folder_is_refused(abserve: Run, tmp_path: Path) -> None:
    assert abserve("analyze", "--counts", tmp_path).code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["iris", "--counts", "counts.csv"],
        ["iris", "--alpha", "0.1"],
        ["iris", "--margin", "0.1"],
        ["--counts", "counts.csv", "--log", "log.jsonl"],
        ["--counts", "counts.csv", "--experiment", "experiment.yaml"],
        ["--counts", "counts.csv", "--prometheus", "http://prometheus:9090"],
        ["iris", "--log", "log.jsonl", "--prometheus", "http://prometheus:9090"],
        ["--counts", "counts.csv", "--alpha", "0"],
        ["--counts", "counts.csv", "--alpha", "1"],
        ["--counts", "counts.csv", "--margin", "-0.01"],
        ["--counts", "counts.csv", "--margin", "1"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: list[str], abserve: Run) -> None:
    ended = abserve("analyze", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err


def test_a_prometheus_of_the_environment_does_not_stand_in_the_way(
    abserve: Run, counts: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABSERVE_PROMETHEUS", "http://prometheus:9090")
    assert abserve("analyze", "--counts", write(counts, *[BETTER] * 5)).code == 0
    assert abserve("analyze", "iris", "--log", write_log(home)).code == 0


@pytest.mark.parametrize("option", ["--alpha", "--margin"])
def test_what_is_not_a_number_is_refused(option: str, abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "--counts", write(counts, BETTER), option, "nan")
    assert (ended.code, ended.out) == (1, "")


def test_a_table_fits_a_terminal_of_80_columns(abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "--counts", write(counts, *[BETTER] * 40), "--margin", "0.01")
    lines = ended.out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert not any("…" in line for line in lines)


def test_a_report_is_written_beside_the_answer(abserve: Run, counts: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    ended = abserve("analyze", "--counts", write(counts, *[BETTER] * 5), "--report", report)
    assert ended.code == 0
    assert ended.out.endswith(f"\nthe report is {report}\n")
    page = report.read_text()
    assert "<title>counts.csv: PROMOTE</title>" in page
    assert page.count("<svg ") == 5


def test_a_report_does_not_stand_in_the_way_of_the_answer_for_machines(
    abserve: Run, counts: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    write(counts, "50,10,11,10,9")
    ended = abserve("analyze", "--counts", counts, "--json", "--report", report)
    assert answer(ended)["decision"] == "INVALID"
    assert "k_baseline is 11" in report.read_text()


def test_a_report_that_cannot_be_written_is_an_error(
    abserve: Run, counts: Path, tmp_path: Path
) -> None:
    ended = abserve("analyze", "--counts", write(counts, BETTER), "--report", tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert "cannot be written (Is a directory)" in ended.err


def test_a_hundred_thousand_blocks_take_a_moment(abserve: Run, counts: Path) -> None:
    rng = np.random.default_rng(1)
    n_candidate = rng.binomial(200, 0.1, 100_000)
    k_baseline = rng.binomial(200 - n_candidate, 0.1)
    k_candidate = rng.binomial(n_candidate, 0.1)
    rows = zip(200 - n_candidate, k_baseline, n_candidate, k_candidate, strict=True)
    write(counts, *(f"10,{n_a},{k_a},{n_b},{k_b}" for n_a, k_a, n_b, k_b in rows))
    abserve("analyze", "--counts", write(counts.with_name("few.csv"), BETTER))
    began = time.process_time()
    ended = abserve("analyze", "--counts", counts, "--json")
    assert answer(ended)["n_blocks"] == 100_000
    # It takes 0.8 s, beside whatever else runs: a slow machine has its share.
    assert time.process_time() - began < 4


def test_an_audit_log_is_analysed_without_a_cluster(abserve: Run, home: Path) -> None:
    log = write_log(home)
    ended = abserve("analyze", "iris", "--log", log)
    assert ended.code == 0
    assert ended.out.startswith("iris in shop: PROMOTE: ")
    assert "versions:   baseline v1, candidate v2" in ended.out
    told = answer(abserve("analyze", "iris", "--log", log, "--json"))
    assert (told["name"], told["namespace"], told["decision"]) == ("iris", "shop", "PROMOTE")


def test_the_latest_rollout_is_analysed(api: LocalApi, on_cluster: Run, home: Path) -> None:
    log = write_log(home)
    ended = on_cluster("analyze", "iris", "--json")
    assert answer(ended)["sources"]["counts"].startswith(f"audit log {log}, ")


def test_a_report_of_a_rollout_says_when_things_happened(
    abserve: Run, home: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    abserve("analyze", "iris", "--log", write_log(home), "--report", report)
    page = report.read_text()
    assert "<title>iris in shop: PROMOTE</title>" in page
    assert "seconds since the first block began" in page


def test_a_log_that_is_none_is_refused(abserve: Run, counts: Path) -> None:
    ended = abserve("analyze", "iris", "--log", write(counts, BETTER))
    assert (ended.code, ended.out) == (1, "")
    assert "expected the first line of an audit log" in ended.err


def test_a_deployment_whose_counts_nobody_has_is_refused(api: LocalApi, on_cluster: Run) -> None:
    api.apply()
    ended = on_cluster("analyze", "iris")
    assert (ended.code, ended.out) == (1, "")
    assert "name a Prometheus that does with --prometheus URL" in ended.err


def test_a_deployment_without_a_second_variant_is_refused(
    api: LocalApi, on_cluster: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Where no experiment is written beside the manifests.
    monkeypatch.chdir(tmp_path)
    api.apply(document(predictor("baseline", "v1", traffic=100)))
    ended = on_cluster("analyze", "iris")
    assert (ended.code, ended.out) == (1, "")
    assert "has only the predictor 'baseline'" in ended.err


def test_without_a_cluster_it_is_said_how_to_get_one(
    abserve: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    ended = abserve("analyze", "iris")
    assert (ended.code, ended.out) == (1, "")
    assert "no cluster is known" in ended.err
