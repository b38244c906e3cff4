"""Load a fitted estimator from a skops file, if it is made of nothing that could run code."""

import json
import warnings
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import skops.io
from sklearn.base import BaseEstimator

from abserve.errors import ArtifactError
from abserve.skops_file.nodes import indices_fit
from abserve.skops_file.trusted import TRUSTED

_SCHEMA = "schema.json"
_MOST_LISTED = 10


def read_estimator(path: Path) -> Any:
    """Return the fitted estimator in the skops file at `path`, as `load_estimator` does.

    Raises
    ------
    ArtifactError
        If the file cannot be read, or not be loaded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read ({error.strerror}); expected the fitted estimator as training "
            "writes it with skops"
        ) from error
    return load_estimator(content, str(path))


def load_estimator(content: bytes, name: str) -> Any:
    """Return the fitted estimator in a skops file, ready to answer on one thread.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        What messages call it.

    Raises
    ------
    ArtifactError
        If the file names a type that is not trusted, before anything of it is built; if it is
        damaged, or holds no estimator.
    """
    try:
        untrusted = set(skops.io.get_untrusted_types(data=content)) - TRUSTED.keys()
        odd = {each for each, loader in _named_in(content) if TRUSTED.get(each, loader) != loader}
    except Exception as error:  # skops' errors have no common ancestor
        raise _damaged(name, error) from error
    if refused := sorted(untrusted | odd):
        listed = ", ".join(refused[:_MOST_LISTED])
        left = len(refused) - _MOST_LISTED
        raise ArtifactError(
            f"{name} is made of {listed}{f' and {left} more' if left > 0 else ''}, which may not "
            "be loaded: abserve.skops_file.trusted lists what may; train an estimator without it"
        )
    try:
        with warnings.catch_warnings():
            # Of another patch release of scikit-learn, which the runtime allows.
            warnings.simplefilter("ignore")
            estimator = skops.io.loads(content, trusted=list(TRUSTED))
    except Exception as error:  # whatever a damaged state makes of scikit-learn's classes
        raise _damaged(name, error) from error
    if not isinstance(estimator, BaseEstimator):
        raise ArtifactError(
            f"{name} holds {type(estimator).__name__}, expected a fitted estimator of scikit-learn"
        )
    parts = list(_parts_of(estimator))
    for part in parts:
        if not indices_fit(part):
            raise ArtifactError(
                f"{name} holds a {type(part).__name__} whose indices lead out of it; the file is "
                "damaged or forged: train it again"
            )
    _make_quiet_and_serial(parts)
    return estimator


def _named_in(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield each type that a skops file names, and the way in which it is to be built."""
    with ZipFile(BytesIO(content)) as file:
        left = [json.loads(file.read(_SCHEMA))]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left.extend(each.values())
            if "__loader__" in each:
                yield f"{each['__module__']}.{each['__class__']}", each["__loader__"]
        elif isinstance(each, list):
            left.extend(each)


def _parts_of(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and everything that it is made of, each once."""
    seen = set()
    left = [estimator]
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            left.extend(_held_by(each))
            yield each


def _held_by(part: Any) -> Iterable[Any]:
    if isinstance(part, dict):
        return part.values()
    if isinstance(part, list | tuple):
        return part
    if isinstance(part, np.ndarray):
        return part.ravel() if part.dtype == object else ()
    return vars(part).values() if _has_attributes_of_sklearn(part) else ()


def _make_quiet_and_serial(parts: Iterable[Any]) -> None:
    # joblib would start threads for every request, which takes longer than 100 trees do: a forest
    # of them answers in 3 ms, and on two threads in 12. And a forest fitted with `verbose` reports
    # each request on stderr. Not by `set_params`, which reaches parameters, not what was fitted.
    for part in parts:
        if _has_attributes_of_sklearn(part):
            attributes = vars(part)
            if "n_jobs" in attributes:
                part.n_jobs = 1
            if "verbose" in attributes:
                part.verbose = 0


def _has_attributes_of_sklearn(part: Any) -> bool:
    return type(part).__module__.startswith("sklearn.") and hasattr(part, "__dict__")


def _damaged(name: str, error: Exception) -> ArtifactError:
    return ArtifactError(
        f"{name} is no skops file that can be loaded: {type(error).__name__}: {error}; "
        "train it again"
    )
