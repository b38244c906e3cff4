"""Which estimators a definition may name, and which parameters they take.

Everything here answers before a single row is loaded.
"""

import difflib
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable
from typing import Any

import sklearn
from sklearn.base import ClassifierMixin, RegressorMixin

from training.metric_names import Kind

Estimator = type[ClassifierMixin] | type[RegressorMixin]

# Modules that scikit-learn keeps to itself, and its tests, are left alone.
_MODULES = [module.name for module in pkgutil.iter_modules(sklearn.__path__)]
_PATH = re.compile(
    rf"(sklearn\.(?:{'|'.join(name for name in sklearn.__all__ if name in _MODULES)}))\.([A-Z]\w*)"
)

# Every estimator takes some of these and few definitions mean them: they are listed last.
_COMMON = ("random_state", "n_jobs", "verbose", "warm_start", "copy_X")
_MOST_LISTED = 8


def find_estimator(path: str) -> Any:
    """Return the class with an import path such as ``sklearn.svm.SVC``.

    It is a classifier that can say probabilities, or a regressor.

    Raises
    ------
    ValueError
        If the path leads out of scikit-learn, to nothing, to something else, or to an estimator
        made of others. The message goes on after words for the field.
    """
    found_path = _PATH.fullmatch(path)
    if found_path is None:
        raise ValueError(
            f"is {path!r}; expected a classifier or regressor of scikit-learn by its import path, "
            "as sklearn.tree.DecisionTreeClassifier"
        )
    module = importlib.import_module(found_path[1])
    found = getattr(module, found_path[2], None)
    if found is None:
        close = difflib.get_close_matches(found_path[2], dir(module))
        raise ValueError(
            f"is {path!r}, which scikit-learn does not have; "
            + (f"did you mean {found_path[1]}.{close[0]}?" if close else "correct it")
        )
    is_class = inspect.isclass(found)
    if is_class and issubclass(found, ClassifierMixin):
        if not hasattr(found, "predict_proba"):
            raise ValueError(
                f"is {path!r}, which gives no probabilities; expected a classifier with "
                "predict_proba, as sklearn.linear_model.LogisticRegression"
            )
    elif not (is_class and issubclass(found, RegressorMixin)):
        raise ValueError(f"is {path!r}, which is no estimator; expected a classifier or regressor")
    required = [
        name
        for name, parameter in inspect.signature(found).parameters.items()
        if parameter.default is inspect.Parameter.empty
    ]
    if required:
        raise ValueError(
            f"is {path!r}, which needs {required[0]!r}; expected an estimator that can be made "
            "without, of numbers and texts alone"
        )
    return found


def kind_of(estimator: Estimator) -> Kind:
    """Return what an estimator predicts: classes or numbers."""
    return "regression" if issubclass(estimator, RegressorMixin) else "classification"


def accepted_parameters(estimator: Estimator) -> tuple[str, ...]:
    """Return the names of the parameters that `estimator` takes and has not deprecated."""
    return tuple(
        name
        for name, parameter in inspect.signature(estimator).parameters.items()
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
