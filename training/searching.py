"""Find parameters by cross-validation on the rows to fit on; the held-out rows are not seen.

::

    space ─> points ─┬─> fit on 4 folds, measure on the fifth ─┐
                     ├─> ...                                   ├─> mean score ─> the best point
                     └─> ...                                   ┘

scikit-learn's own searchers do the work: `GridSearchCV`, `RandomizedSearchCV` and
`HalvingRandomSearchCV`. Folds and points come from the seed, and every fit runs on one thread in a
process that has no part in any other, so that the number of processes changes nothing but the time.
"""

import json
import math
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any

import joblib  # type: ignore[import-untyped]  # no stubs
import numpy as np
from scipy import stats
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # makes it importable
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
)
from sklearn.pipeline import Pipeline

from abserve.errors import TrainingError
from abserve.metadata import Search, Tried
from training.dataset import Predictions, Rows, Targets
from training.definition import Range, SearchSpace
from training.evaluation import measure
from training.metric_names import METRIC_NAMES
from training.predicting import predict

_MOST_RECORDED = 20

# A process holds its folds, the same scaled, and what the estimator makes of them. More cores than
# this allows for stay idle: a search may not need more memory than the training around it.
_COPIES_PER_PROCESS = 4
_MOST_BYTES = 2 * 2**30

# With fewer rows than this in all fits together, processes take longer to start than to fit.
_WORTH_PROCESSES_BYTES = 10 * 2**20

# Halving gives the best third of the points three times the rows. So many rows of the rarest class
# are expected in each fold of the first round: with fewer, one would now and then be without.
_FACTOR = 3
_ROWS_PER_CLASS_AND_FOLD = 10

_PREFIX = "estimator__"


@dataclass(frozen=True, slots=True)
class Found:
    """The parameters of the best point, as plain values, and the record of the search."""

    parameters: Mapping[str, Any]
    search: Search


def search(
    pipeline: Pipeline,
    rows: Rows,
    targets: Targets,
    space: SearchSpace,
    seed: int,
    report: Callable[[str], None],
) -> Found:
    """Find the point of a space whose mean score over the folds is best.

    A point whose estimator does not converge on some fold has no score: it counts as tried, and is
    neither chosen nor listed. With `halving`, points are ranked by the last round they took part
    in, and within it by their score.

    Parameters
    ----------
    pipeline : Pipeline
        With a step ``estimator``; it is not changed.
    rows : ndarray of shape (n_rows, n_features), float64
        All the rows to fit on.
    targets : ndarray of shape (n_rows,)
        Their targets; classes are divided evenly among the folds.
    space : SearchSpace
        What to try.
    seed : int
        Of the folds, and of points that are drawn.
    report : callable
        Told how much there is to do, and what was found.

    Raises
    ------
    TrainingError
        If there are fewer rows than folds, of any class; if the estimator refuses a point; if none
        converges.
    """
    rarest = int(np.unique(targets, return_counts=True)[1].min())
    n_smallest = rarest if is_classifier(pipeline) else len(rows)
    if n_smallest < space.folds:
        raise TrainingError(
            f"the search has {space.folds} folds, and there are {n_smallest} rows to fit on"
            f"{' of one class' if is_classifier(pipeline) else ''}; expected one for each fold: "
            "take fewer folds, or give more rows"
        )
    searcher = _searcher(pipeline, targets, space, seed, n_smallest)
    n_points = _n_points(space)
    processes = _processes(rows, n_points * space.folds)
    report(
        f"trying {n_points} points in {space.folds} folds for the best {space.scoring}, "
        f"{processes} at a time"
    )
    _run(searcher, rows, targets, processes)
    found = _found(searcher.cv_results_, space)
    best = found.search.best[0]
    report(f"{space.scoring} is {best.score:.4g} with {json.dumps(best.parameters)}")
    return found


class _Candidate(Pipeline):  # type: ignore[misc]  # scikit-learn is not typed
    """A pipeline that remembers whether its fit converged."""

    def fit(self, rows: Rows, targets: Targets) -> "_Candidate":
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                super().fit(rows, targets)
                self.converged_ = True
            except ConvergenceWarning:
                self.converged_ = False
        return self


def _searcher(
    pipeline: Pipeline, targets: Targets, space: SearchSpace, seed: int, n_smallest: int
) -> Any:
    candidate = _Candidate(pipeline.steps)
    points = {f"{_PREFIX}{name}": _choices(choice) for name, choice in space.space.items()}
    n_points = _n_points(space)
    kind, n_classes = (
        (StratifiedKFold, len(np.unique(targets))) if is_classifier(pipeline) else (KFold, 0)
    )
    how: dict[str, Any] = {
        "scoring": partial(_score, space.scoring, n_classes),
        "cv": kind(space.folds, shuffle=True, random_state=seed),
        "refit": False,
        "error_score": "raise",
    }
    match space.kind:
        case "grid":
            return GridSearchCV(candidate, points, **how)
        case "random":
            return RandomizedSearchCV(candidate, points, n_iter=n_points, random_state=seed, **how)
        case "halving":
            return HalvingRandomSearchCV(
                candidate,
                points,
                n_candidates=n_points,
                factor=_FACTOR,
                min_resources=_first_rows(len(targets), n_smallest, space.folds, n_points),
                random_state=seed,
                **how,
            )


def _first_rows(n_rows: int, n_smallest: int, folds: int, n_points: int) -> int:
    """Return with how many rows halving begins, such that its last round has all of them."""
    enough = _ROWS_PER_CLASS_AND_FOLD * folds * n_rows / n_smallest
    growth = max(1.0, min(n_points, n_rows / enough))
    return int(n_rows // _FACTOR ** math.floor(math.log(growth, _FACTOR)))


def _n_points(space: SearchSpace) -> int:
    """Return how many points are tried: never more than there are."""
    lists = [len(choice) for choice in space.space.values() if not isinstance(choice, Range)]
    finite = math.prod(lists) if len(lists) == len(space.space) else math.inf
    return int(min(finite, math.inf if space.candidates is None else space.candidates))


def _choices(choice: Range | tuple[Any, ...]) -> Any:
    """Return what scikit-learn draws the values of a parameter from."""
    if not isinstance(choice, Range):
        return list(choice)
    low, high = choice.low, choice.high
    whole = isinstance(low, int) and isinstance(high, int)
    if choice.log:
        return _WholeByLogarithm(int(low), int(high)) if whole else stats.loguniform(low, high)
    return stats.randint(int(low), int(high) + 1) if whole else stats.uniform(low, high - low)


@dataclass(frozen=True, slots=True)
class _WholeByLogarithm:
    """Whole numbers, evenly by their logarithm: n as often as loguniform falls in [n, n + 1)."""

    low: int
    high: int

    def rvs(self, size: int | None = None, random_state: Any = None) -> Any:
        drawn = stats.loguniform(self.low, self.high + 1).rvs(size, random_state=random_state)
        return np.minimum(np.floor(drawn).astype(np.int64), self.high)


def _score(
    metric: str, n_classes: int, candidate: _Candidate, rows: Rows, targets: Targets
) -> float:
    """Return the metric, the higher the better, or NaN where there is none."""
    if not candidate.converged_:
        return math.nan
    predictions = predict(candidate, rows)
    if predictions.probability is not None:
        # The rows of an early round of halving may lack a class.
        probability = np.zeros((len(rows), n_classes))
        probability[:, candidate.classes_] = predictions.probability
        predictions = Predictions(predictions.values, probability)
    value = measure(metric, predictions, targets)
    return math.nan if value is None else _sign(metric) * value


def _sign(metric: str) -> int:
    return 1 if METRIC_NAMES[metric].better == "higher" else -1


def _processes(rows: Rows, n_fits: int) -> int:
    if rows.nbytes * n_fits < _WORTH_PROCESSES_BYTES:
        return 1
    fit_in = _MOST_BYTES // (_COPIES_PER_PROCESS * rows.nbytes)
    return max(1, min(int(joblib.cpu_count()), fit_in))


def _run(searcher: Any, rows: Rows, targets: Targets, processes: int) -> None:
    with (
        warnings.catch_warnings(),
        joblib.parallel_config("loky", n_jobs=processes, inner_max_num_threads=1),
    ):
        # They are those that did not converge, which `_found` tells.
        warnings.filterwarnings("ignore", "One or more of the test scores are non-finite")
        try:
            searcher.fit(rows, targets)
        except BrokenProcessPool as error:
            raise TrainingError(
                "a process of the search was killed, most likely for lack of memory; search on "
                "fewer rows, or on a larger machine"
            ) from error


def _found(results: Mapping[str, Any], space: SearchSpace) -> Found:
    # In halving, a point has a result of each round it took part in: the last one counts.
    last = {json.dumps(_plain(point)): index for index, point in enumerate(results["params"])}
    score, spread = results["mean_test_score"], results["std_test_score"]
    round_ = results.get("iter", np.zeros(len(score)))
    scored = [index for index in last.values() if not math.isnan(score[index])]
    if not scored:
        raise TrainingError(
            f"none of the {len(last)} points that were tried converged in every fold; scale the "
            "features, or allow more iterations with the estimator's parameter max_iter"
        )
    best = sorted(scored, key=lambda index: (-round_[index], -score[index]))[:_MOST_RECORDED]
    tried = tuple(
        Tried(
            parameters=_plain(results["params"][index]),
            score=_sign(space.scoring) * float(score[index]),
            spread=float(spread[index]),
        )
        for index in best
    )
    return Found(
        parameters=tried[0].parameters,
        search=Search(
            kind=space.kind,
            scoring=space.scoring,
            folds=space.folds,
            n_tried=len(last),
            best=tried,
        ),
    )


def _plain(point: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(_PREFIX): value.item() if isinstance(value, np.generic) else value
        for name, value in sorted(point.items())
    }
