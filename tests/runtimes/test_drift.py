import math

import numpy as np
import pytest

from abserve.metadata import Distribution
from runtimes.drift import MIN_ROWS, WINDOW_ROWS, Drift, Window, population_stability_index

TENTHS = (0.1,) * 10
HALVES = Distribution(edges=(5.0,), shares=(0.5, 0.5))


def drift(rows: list[float], distribution: Distribution = HALVES) -> float:
    """The index of one feature of these values."""
    watched = Drift(["width"], {"width": distribution})
    watched.add(np.array(rows, dtype=np.float32)[:, np.newaxis])
    return watched.indices()["width"]


def test_equal_shares_have_the_index_zero() -> None:
    assert population_stability_index(TENTHS, [1000] * 10) == 0
    assert population_stability_index([0.7, 0.3], [70, 30]) == pytest.approx(0, abs=1e-12)


def test_a_known_answer_by_hand() -> None:
    """(0.75 - 0.5) ln(0.75 / 0.5) + (0.25 - 0.5) ln(0.25 / 0.5) = 0.25 ln 3."""
    index = population_stability_index([0.5, 0.5], [750_000_000, 250_000_000])
    assert index == pytest.approx(0.25 * math.log(3), abs=1e-7)
    assert index == pytest.approx(0.2746530, abs=1e-7)


def test_a_known_answer_with_the_half_rows_that_smooth_it() -> None:
    """Of 100 + 1 rows, 75.5 and 25.5 were seen and 50.5 and 50.5 expected."""
    by_hand = 25 / 101 * math.log(75.5 / 50.5) + -25 / 101 * math.log(25.5 / 50.5)
    assert population_stability_index([0.5, 0.5], [75, 25]) == pytest.approx(by_hand, rel=1e-12)


def test_the_index_does_not_ask_which_of_two_distributions_came_first() -> None:
    one_way = population_stability_index([0.8, 0.2], [300, 700])
    other_way = population_stability_index([0.3, 0.7], [800, 200])
    assert one_way == pytest.approx(other_way, rel=1e-12)


def test_an_empty_bin_gives_a_large_index_and_not_an_infinite_one() -> None:
    assert 5 < population_stability_index([0.0, 1.0], [10_000, 0]) < 25
    assert 0.25 < population_stability_index([0.5, 0.5], [100, 0]) < 25


def test_rows_that_follow_the_reference_give_what_the_paper_says() -> None:
    """n times the index is chi-squared with 9 degrees of freedom.

    Its mean is 9, its variance 18 and its fourth moment 1404; the tolerances are 4 standard errors.
    """
    draws = np.random.default_rng(7).multinomial(10_000, TENTHS, size=1000)
    indices = [population_stability_index(TENTHS, counts.tolist()) for counts in draws]
    assert 10_000 * np.mean(indices) == pytest.approx(9, abs=4 * math.sqrt(18 / 1000))
    variance = 10_000**2 * np.var(indices)
    assert variance == pytest.approx(18, abs=4 * math.sqrt((1404 - 18**2) / 1000))


def test_rows_like_the_reference_have_little_drift() -> None:
    normal = np.random.default_rng(7).normal(size=20_000)
    edges = tuple(np.quantile(normal[:10_000], np.arange(1, 10) / 10).tolist())
    distribution = Distribution(edges=edges, shares=TENTHS)
    assert drift(normal[10_000:].tolist(), distribution) < 0.01


def test_shifted_rows_have_much_drift() -> None:
    normal = np.random.default_rng(7).normal(size=20_000)
    edges = tuple(np.quantile(normal[:10_000], np.arange(1, 10) / 10).tolist())
    distribution = Distribution(edges=edges, shares=TENTHS)
    assert drift((normal[10_000:] + 1).tolist(), distribution) > 0.25


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    assert drift([5.0] * 50 + [5.0001] * 50) == 0


def test_an_edge_means_the_same_in_fp32_as_in_the_file() -> None:
    edge = float(np.float32(0.1))
    assert edge != 0.1
    assert drift([0.1] * 50 + [0.2] * 50, Distribution(edges=(edge,), shares=(0.5, 0.5))) == 0


def test_below_a_hundred_rows_there_is_no_number() -> None:
    watched = Drift(["width"], {"width": HALVES})
    watched.add(np.zeros((MIN_ROWS - 1, 1), dtype=np.float32))
    assert watched.indices() == {}
    watched.add(np.zeros((1, 1), dtype=np.float32))
    assert watched.indices()["width"] > 0.25


def test_missing_values_are_a_bin_of_their_own_where_the_reference_has_one() -> None:
    with_missing = Distribution(edges=(5.0,), shares=(0.4, 0.4), missing=0.2)
    alike = [1.0] * 40 + [9.0] * 40 + [math.nan] * 20
    assert drift(alike, with_missing) == pytest.approx(0, abs=1e-12)
    assert drift([1.0] * 50 + [9.0] * 50, with_missing) > 0.25


def test_a_feature_that_was_always_missing_drifts_when_it_no_longer_is() -> None:
    always_missing = Distribution(edges=(), shares=(0.0,), missing=1.0)
    assert drift([math.nan] * 100, always_missing) == 0
    assert drift([1.0] * 100, always_missing) > 0.25


def test_missing_values_count_for_nothing_where_the_reference_has_none() -> None:
    assert drift([1.0] * 50 + [9.0] * 50 + [math.nan] * 1000) == 0


def test_rows_without_a_value_are_too_few_however_many() -> None:
    watched = Drift(["width"], {"width": HALVES})
    watched.add(np.full((1000, 1), np.nan, dtype=np.float32))
    assert watched.indices() == {}


def test_features_without_a_reference_have_no_index() -> None:
    watched = Drift(["length", "width", "height"], {"width": HALVES})
    rows = np.zeros((100, 3), dtype=np.float32)
    rows[:50, 1] = 9
    watched.add(rows)
    assert watched.indices() == {"width": 0}


def test_the_window_forgets_the_oldest_rows_first() -> None:
    window = Window(2, size_rows=5)
    rows = np.arange(16, dtype=np.float32).reshape(8, 2)
    for row in rows:
        window.add(row[np.newaxis])
    assert window.n_rows == 5
    assert sorted(window.column(0)) == [6, 8, 10, 12, 14]
    assert sorted(window.column(1)) == [7, 9, 11, 13, 15]


@pytest.mark.parametrize("sizes", [[3], [5], [7], [3, 1, 4], [4, 5], [2, 12], [5, 5, 1], [1] * 11])
def test_the_window_holds_the_latest_rows_however_they_came(sizes: list[int]) -> None:
    window = Window(1, size_rows=5)
    values = np.arange(sum(sizes), dtype=np.float32)
    for part in np.split(values, np.cumsum(sizes)[:-1]):
        window.add(part[:, np.newaxis])
    assert sorted(window.column(0)) == values[-5:].tolist()


def test_the_window_slides_over_ten_thousand_rows() -> None:
    watched = Drift(["width"], {"width": HALVES})
    watched.add(np.full((WINDOW_ROWS, 1), 1, dtype=np.float32))
    assert watched.indices()["width"] > 0.25
    watched.add(np.full((WINDOW_ROWS // 2, 1), 9, dtype=np.float32))
    assert (watched.n_rows, watched.indices()) == (10_000, {"width": 0})
