import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from abserve.metadata import Distribution
from abserve.schema import Feature, Schema
from runtimes.inference import Classified, Rows
from runtimes.tally import MAX_PENDING_REQUESTS, Buckets, Counts, Tally

HALVES = Distribution(edges=(5.0,), shares=(0.5, 0.5))


def schema(n_features: int = 1, n_classes: int = 2) -> Schema:
    return Schema(
        features=tuple(Feature(name=f"f{i}", minimum=0) for i in range(n_features)),
        classes=tuple(f"c{i}" for i in range(n_classes)),
    )


def rows(n_rows: int, n_features: int = 1, value: float = 1) -> Rows:
    return np.full((n_rows, n_features), value, dtype=np.float32)


def classified(n_rows: int, n_classes: int = 2) -> Classified:
    probability = np.full((n_rows, n_classes), 1 / n_classes, dtype=np.float32)
    return Classified(np.zeros(n_rows, dtype=np.int64), probability)


ONE_ROW = rows(1)
ONE_ANSWER = classified(1)


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def tally(counts: Counts) -> Tally:
    return Tally(schema(), {}, counts)


def test_answers_wait_until_somebody_counts_them(tally: Tally, counts: Counts) -> None:
    tally.add(0.1, rows(3), classified(3))
    assert counts.seconds.n == 0
    tally.count_pending()
    assert (counts.seconds.n, counts.batch_size.sum) == (1, 3)


def test_counting_twice_counts_once(tally: Tally, counts: Counts) -> None:
    tally.add(0.1, rows(1), classified(1))
    tally.count_pending()
    tally.count_pending()
    assert counts.seconds.n == 1


def test_many_requests_are_counted_unasked(tally: Tally, counts: Counts) -> None:
    for _ in range(MAX_PENDING_REQUESTS - 1):
        tally.add(0.1, rows(1), classified(1))
    assert counts.seconds.n == 0
    tally.add(0.1, rows(1), classified(1))
    assert counts.seconds.n == MAX_PENDING_REQUESTS


def test_many_rows_are_counted_unasked(tally: Tally, counts: Counts) -> None:
    tally.add(0.1, rows(8000), classified(8000))
    assert counts.seconds.n == 0
    tally.add(0.1, rows(200), classified(200))
    assert counts.batch_size.sum == 8200


@pytest.mark.parametrize(("n_features", "n_classes"), [(600_000, 2), (1, 600_000)])
def test_fewer_rows_wait_if_they_are_wide(counts: Counts, n_features: int, n_classes: int) -> None:
    made = Schema.model_construct(
        features=(Feature(name="f"),) * n_features, classes=("c",) * n_classes
    )
    tally = Tally(made, {}, counts)
    tally.add(0.1, rows(1, n_features), classified(1, n_classes))
    assert counts.seconds.n == 1


def test_whoever_counts_is_not_waited_for(tally: Tally, counts: Counts) -> None:
    """The event loop must go on while a scrape holds the lock; the next one counts it all."""
    with counts.lock:
        for _ in range(600):
            tally.add(0.1, rows(1), classified(1))
        assert counts.seconds.n == 0
    tally.add(0.1, rows(1), classified(1))
    assert counts.seconds.n == 601


def test_nothing_is_lost_between_two_threads(tally: Tally, counts: Counts) -> None:
    stopped = Event()

    def count_on() -> None:
        while not stopped.is_set():
            with counts.lock:
                tally.count_pending()

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as pool:
            counting = pool.submit(count_on)
            for _ in range(30_000):
                tally.add(0.1, ONE_ROW, ONE_ANSWER)
            stopped.set()
            counting.result()
    finally:
        sys.setswitchinterval(usual)
    tally.count_pending()
    assert counts.seconds.n == counts.predictions["c0"] == counts.batch_size.sum == 30_000


def test_only_the_first_fifty_features_are_watched(counts: Counts) -> None:
    tally = Tally(schema(60), {f"f{i}": HALVES for i in range(60)}, counts)
    tally.add(0.1, rows(100, 60, value=-1), classified(100))
    tally.count_pending()
    assert counts.out_of_range == {f"f{i}": 100 for i in range(50)}
    assert tally.drift is not None
    assert list(tally.drift.indices()) == [f"f{i}" for i in range(50)]


def test_without_a_reference_no_rows_are_kept(tally: Tally) -> None:
    assert tally.drift is None


def test_a_reference_of_unwatched_features_only_keeps_no_rows_either(counts: Counts) -> None:
    assert Tally(schema(60), {"f59": HALVES}, counts).drift is None


@pytest.mark.parametrize("n_classes", [2, 32, 33, 500])
def test_confidence_is_the_largest_probability_for_any_number_of_classes(
    counts: Counts, n_classes: int
) -> None:
    probability = np.random.default_rng(7).dirichlet([1] * n_classes, size=10).astype(np.float32)
    tally = Tally(schema(n_classes=n_classes), {}, counts)
    tally.add(0.1, rows(10), Classified(np.zeros(10, dtype=np.int64), probability))
    tally.count_pending()
    assert counts.confidence.sum == pytest.approx(sum(max(row) for row in probability.tolist()))


def test_a_bound_belongs_to_the_bucket_below_it() -> None:
    buckets = Buckets((1, 2.5))
    buckets.add([0.5, 1, 1.1, 2.5, 2.6, 100])
    assert buckets.cumulative() == [("1.0", 2), ("2.5", 4), ("+Inf", 6)]
    assert (buckets.n, buckets.sum) == (6, pytest.approx(107.7))


def test_buckets_add_up() -> None:
    buckets = Buckets((1, 2))
    buckets.add([0.5])
    buckets.add(np.array([1.5, 3], dtype=np.float32))
    assert buckets.cumulative() == [("1.0", 1), ("2.0", 2), ("+Inf", 3)]
