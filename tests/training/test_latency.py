import numpy as np

from training.dataset import Predictions, Rows
from training.latency import latency_ms

ROWS = np.arange(6.0).reshape(3, 2)


class Slow:
    """Answers at its leisure, and keeps what it was asked."""

    def __init__(self, work: int) -> None:
        self._work = np.random.default_rng(1).random((work, work))
        self.asked: list[Rows] = []

    def __call__(self, rows: Rows) -> Predictions:
        self.asked.append(rows)
        np.linalg.svd(self._work)
        return Predictions(np.zeros(len(rows)), None)


def test_it_is_the_time_of_one_row_in_milliseconds() -> None:
    quick, slow = Slow(2), Slow(60)
    assert 0 < latency_ms(quick, ROWS) < latency_ms(slow, ROWS) < 1000
    assert {rows.shape for rows in quick.asked} == {(1, 2)}


def test_all_rows_have_their_turn_and_no_more_than_so_many_are_predicted() -> None:
    quick = Slow(2)
    latency_ms(quick, ROWS)
    assert len(quick.asked) <= 210
    assert {tuple(rows[0]) for rows in quick.asked} == {tuple(row) for row in ROWS}


def test_a_model_that_takes_long_is_asked_less_often() -> None:
    slow = Slow(400)
    assert latency_ms(slow, ROWS) > 5
    assert len(slow.asked) < 210
