"""How long a prediction of one row takes with the model as it is served."""

import time
from statistics import median

from threadpoolctl import threadpool_limits

from training.dataset import Rows
from training.served import Predict

_WARM_UP = 10
_REPETITIONS = 200
_LONGEST_SECONDS = 1.0


def latency_ms(predict: Predict, rows: Rows) -> float:
    """Return the median time of predicting one row, in milliseconds, on one thread.

    Parameters
    ----------
    predict : callable
        Answers as a runtime does. Reading a request and writing the response are no part of it.
    rows : ndarray of shape (n_rows, n_features)
        Predicted one at a time, in turn: 200 times, or for a second if that is over first, but
        once at least.
    """
    n_rows = len(rows)
    with threadpool_limits(limits=1):
        began = time.perf_counter()
        for index in range(_WARM_UP):
            predict(rows[index % n_rows][None])
            if time.perf_counter() - began > _LONGEST_SECONDS:
                break
        taken = []
        began = time.perf_counter()
        for index in range(_REPETITIONS):
            before = time.perf_counter()
            predict(rows[index % n_rows][None])
            after = time.perf_counter()
            taken.append(after - before)
            if after - began > _LONGEST_SECONDS:
                break
    return median(taken) * 1000
