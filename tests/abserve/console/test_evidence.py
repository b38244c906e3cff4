import pytest

from abserve.console.evidence import BAR, RATIO_BAR, EvidenceLog, Setting, Totals
from abserve.telemetry import VersionCounts

HALF = Setting(1, "v1", "v2", 50)


def totals(
    v1: tuple[int, int], v2: tuple[int, int], n_requests: tuple[int, int] = (0, 0)
) -> Totals:
    """Totals of correct and incorrect rows of two versions."""
    judged = {"v1": VersionCounts(0, 0, 0, *v1), "v2": VersionCounts(0, 0, 0, *v2)}
    return Totals(*n_requests, judged)


@pytest.fixture
def log() -> EvidenceLog:
    log = EvidenceLog()
    log.end_block(0, HALF, totals((1000, 0), (0, 1000)))
    return log


def test_what_was_judged_before_the_first_block_is_not_counted(log: EvidenceLog) -> None:
    assert (log.n_baseline, log.n_candidate, log.points) == (0, 0, [])


def test_a_block_holds_what_was_judged_in_it(log: EvidenceLog) -> None:
    log.end_block(10, HALF, totals((1006, 4), (9, 1001)))
    assert (log.n_baseline, log.n_candidate) == (10, 10)
    assert log.points[0].effect == pytest.approx(0.3)


def test_a_better_candidate_reaches_the_bar(log: EvidenceLog) -> None:
    for block in range(1, 11):
        now = totals((1000 + 70 * block, 30 * block), (90 * block, 1000 + 10 * block))
        log.end_block(10 * block, HALF, now)
    last = log.points[-1]
    assert last.better > BAR
    assert last.worse == 0
    assert last.lower is not None
    assert last.upper is not None
    assert 0 < last.lower < 0.2 < last.upper


def test_an_interval_without_feedback_adds_no_point(log: EvidenceLog) -> None:
    log.end_block(10, HALF, totals((1000, 0), (0, 1000)))
    assert log.points == []


def test_an_interval_in_which_the_weights_changed_is_left_out(log: EvidenceLog) -> None:
    after = Setting(2, "v1", "v2", 10)
    log.end_block(10, after, totals((1050, 0), (50, 1000)))
    log.end_block(20, after, totals((1060, 0), (60, 1000)))
    assert (log.n_baseline, log.n_candidate) == (10, 10)


def test_another_version_is_another_experiment(log: EvidenceLog) -> None:
    log.end_block(10, HALF, totals((1050, 0), (50, 1000)))
    log.end_block(20, Setting(2, "v1", "v3", 50), totals((1060, 0), (60, 1000)))
    assert (log.versions, log.began, log.n_baseline) == (("v1", "v3"), 20, 0)


def test_without_two_variants_there_is_no_experiment(log: EvidenceLog) -> None:
    log.end_block(10, None, totals((1050, 0), (50, 1000)))
    assert log.versions is None


def test_requests_in_the_configured_weights_raise_no_doubt(log: EvidenceLog) -> None:
    log.end_block(10, HALF, totals((1000, 0), (0, 1000), (5050, 4950)))
    assert log.sample_ratio < 0


def test_requests_in_other_weights_are_found_out(log: EvidenceLog) -> None:
    log.end_block(10, HALF, totals((1000, 0), (0, 1000), (6000, 4000)))
    assert log.sample_ratio > RATIO_BAR


def test_points_stay_few_and_cover_the_whole_time(log: EvidenceLog) -> None:
    for block in range(1, 401):
        log.end_block(10 * block, HALF, totals((1000 + block, block), (block, 1000 + block)))
    assert len(log.points) <= 360
    assert log.points[0].at == 10
    assert log.points[-1].at == 4000
