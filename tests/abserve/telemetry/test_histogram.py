import pytest

from abserve.errors import TelemetryError
from abserve.telemetry import Histogram

INFINITY = float("inf")
# 2 at most 0.1, 4 more at most 0.5, 2 more at most 1, 2 beyond.
TEN = Histogram((0.1, 0.5, 1.0, INFINITY), (2, 6, 8, 10))


def test_buckets_are_put_in_the_order_of_their_bounds() -> None:
    buckets = {INFINITY: 10.0, 0.5: 6.0, 0.1: 2.0, 1.0: 8.0}
    assert Histogram.from_buckets(buckets) == TEN


def test_the_last_bucket_has_counted_everything() -> None:
    assert TEN.n == 10


def test_a_quantile_lies_in_its_bucket_in_proportion() -> None:
    # The 5th of 10 is the 3rd of the 4 between 0.1 and 0.5.
    assert TEN.quantile(0.5) == pytest.approx(0.1 + 0.4 * 3 / 4)


def test_the_first_bucket_begins_at_zero() -> None:
    assert TEN.quantile(0.1) == pytest.approx(0.05)


def test_the_smallest_quantile_is_where_the_first_bucket_begins() -> None:
    assert TEN.quantile(0) == 0.0


def test_a_quantile_at_the_end_of_a_bucket_is_its_bound() -> None:
    assert TEN.quantile(0.6) == pytest.approx(0.5)


def test_a_bucket_without_observations_is_passed_over() -> None:
    assert Histogram((0.1, 0.5, 1.0, INFINITY), (0, 0, 4, 4)).quantile(0.5) == pytest.approx(0.75)


@pytest.mark.parametrize("q", [0.81, 0.99, 1.0])
def test_a_quantile_in_the_open_bucket_is_where_that_begins(q: float) -> None:
    assert TEN.quantile(q) == 1.0


def test_what_no_bound_divides_has_no_quantile() -> None:
    assert Histogram((INFINITY,), (10,)).quantile(0.5) is None


def test_nothing_has_no_quantile() -> None:
    assert Histogram.empty().quantile(0.5) is None


def test_buckets_that_counted_nothing_have_no_quantile() -> None:
    assert Histogram((0.1, INFINITY), (0, 0)).quantile(0.5) is None


def test_nothing_has_counted_nothing() -> None:
    assert Histogram.empty().n == 0


def test_histograms_are_added_bucket_by_bucket() -> None:
    twice = TEN + TEN
    assert twice == Histogram((0.1, 0.5, 1.0, INFINITY), (4, 12, 16, 20))


def test_nothing_added_changes_nothing() -> None:
    assert TEN + Histogram.empty() == TEN
    assert Histogram.empty() + TEN == TEN


def test_histograms_of_other_bounds_are_not_added() -> None:
    with pytest.raises(TelemetryError, match="cannot be added"):
        TEN + Histogram((0.2, INFINITY), (1, 1))


def test_what_was_observed_later_is_the_difference() -> None:
    assert (TEN + TEN) - TEN == TEN
    assert TEN - Histogram.empty() == TEN


def test_a_histogram_follows_one_with_fewer_observations_in_the_same_buckets() -> None:
    assert (TEN + TEN).follows(TEN)
    assert TEN.follows(Histogram.empty())
    assert not TEN.follows(TEN + TEN)
    assert not TEN.follows(Histogram((0.2, INFINITY), (1, 1)))
