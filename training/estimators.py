"""Which classifiers a definition may name, and which parameters they take.

Everything here answers before a single row is loaded. Problems are `ValueError`, because pydantic
turns those into problems of the field they concern.
"""

import difflib
import importlib
import inspect
from collections.abc import Iterable

from sklearn.base import ClassifierMixin

# Every estimator takes some of these and few definitions mean them: they are listed last.
_COMMON = ("random_state", "n_jobs", "verbose", "warm_start", "copy_X")
_MOST_LISTED = 8


def find_classifier(path: str) -> type[ClassifierMixin]:
    """Return the classifier class with an import path such as ``sklearn.svm.SVC``.

    Raises
    ------
    ValueError
        If the path leads out of scikit-learn, to nothing, to something that is no classifier
        with probabilities, or to a classifier made of other estimators.
    """
    module_name, _, name = path.rpartition(".")
    if module_name.split(".")[0] != "sklearn" or "._" in path:
        raise ValueError(f"is {path!r}, expected a classifier of scikit-learn by its import path")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"is {path!r}, which scikit-learn does not have ({error})") from error
    if not (inspect.isclass(found) and issubclass(found, ClassifierMixin)):
        raise ValueError(f"is {path!r}, which is no classifier")
    if not hasattr(found, "predict_proba"):
        raise ValueError(
            f"is {path!r}, which gives no probabilities, expected a classifier with predict_proba"
        )
    required = [
        name
        for name, parameter in inspect.signature(found).parameters.items()
        if parameter.default is inspect.Parameter.empty
    ]
    if required:
        raise ValueError(
            f"is {path!r}, which needs {required[0]!r}, "
            "expected a classifier that is not made of other estimators"
        )
    return found


def accepted_parameters(classifier: type[ClassifierMixin]) -> tuple[str, ...]:
    """Return the names of the parameters that `classifier` takes and has not deprecated."""
    return tuple(
        name
        for name, parameter in inspect.signature(classifier).parameters.items()
        if parameter.default != "deprecated"
    )


def short_list(accepted: Iterable[str], asked: str) -> str:
    """Return `accepted` as a sentence: first what resembles `asked`, then the most telling."""
    names = list(accepted)
    by_lower_case = {name.lower(): name for name in names}
    close = [
        by_lower_case[name]
        for name in difflib.get_close_matches(asked.lower(), by_lower_case, n=2, cutoff=0.5)
    ]
    common = [name for name in names if name in _COMMON and name not in close]
    rest = [name for name in names if name not in close and name not in common]
    ordered = [*close, *rest, *common]
    shown = ", ".join(ordered[:_MOST_LISTED])
    left = len(ordered) - _MOST_LISTED
    return f"{shown} and {left} more" if left > 0 else shown
