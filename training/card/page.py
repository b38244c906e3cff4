"""Set what is known of a version into a page.

``page.html.jinja`` says what stands where, this module what stands there: numbers as text, rows in
their order. Whatever comes from a definition or from data is escaped by the template.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from numpy.typing import NDArray

from abserve.metadata import Estimate, Metadata
from abserve.pages.style import SECURITY_POLICY, STYLE
from training.card import wording
from training.card.evidence import Evidence
from training.card.example import example
from training.card.plots import HOW_TO_READ, heat_map, plots_of_predictions
from training.importance import Importance
from training.metric_names import METRIC_NAMES

_FOLDER = Path(__file__).parent
_MOST_FEATURES = 50
_MOST_IMPORTANT = 15
_MOST_CLASSES_IN_MATRIX = 20
_MOST_CONFUSIONS = 20
_MOST_TRIED = 10
# Longer names stand upright above a matrix, or it would be wider than a page.
_UPRIGHT_CLASSES, _UPRIGHT_LETTERS = 6, 5
_HEADLINE = ("accuracy", "roc_auc", "log_loss", "mean_absolute_error", "r2")


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    meaning: str
    better: str
    value: str
    interval: str
    baseline: tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Share:
    """A share of rows with its interval, to be drawn as a bar from 0 to 100 %."""

    name: str
    n_rows: int
    value: str
    interval: str
    low: float
    at: float
    high: float


@dataclass(frozen=True, slots=True)
class _Reliance:
    """The importance of a feature; `low`, `at` and `high` are shares of the largest."""

    name: str
    value: str
    spread: str
    low: float
    at: float
    high: float


@dataclass(frozen=True, slots=True)
class _Cell:
    n_rows: int
    share: float


@dataclass(frozen=True, slots=True)
class _Confusion:
    truth: str
    answer: str
    n_rows: int
    share: float


@dataclass(frozen=True, slots=True)
class _Confusions:
    """How often a class was taken for which: all pairs, or those of most rows if all are many."""

    matrix: list[tuple[str, int, list[_Cell]]]
    most: list[_Confusion]
    upright: bool


def card(metadata: Metadata, evidence: Evidence) -> bytes:
    """Make the card of a version.

    Parameters
    ----------
    metadata : Metadata
        What the version says of itself, its evaluation and gates included.
    evidence : Evidence
        The held-out rows, and what the model as it is served says of them.

    Returns
    -------
    bytes
        The content of ``card.html``, UTF-8.
    """
    schema = metadata.schema_
    target = metadata.target or "the number"
    importance = evidence.importance
    page = _template().render(
        metadata=metadata,
        schema=schema,
        style=Markup(STYLE + _FOLDER.joinpath("card.css").read_text("utf-8")),  # noqa: S704
        security_policy=SECURITY_POLICY,
        headline=_headline(metadata),
        n_passed=sum(outcome.passed for outcome in metadata.gates),
        libraries=", ".join(f"{name} {each}" for name, each in metadata.libraries.items()),
        metrics=_metrics(metadata, evidence),
        baseline=evidence.baseline,
        class_recall=list(_class_recall(metadata, evidence)),
        confusions=_confusions(schema.classes, evidence) if schema.classes else None,
        how_to_read=HOW_TO_READ,
        plots=list(plots_of_predictions(schema, target, evidence)),
        importance=importance,
        importance_of=wording.metric_in_words(importance.metric)[0],
        reliance=[] if schema.picture else _reliance(schema.feature_names, importance),
        heat_map=heat_map(importance) if schema.picture else None,
        tried=metadata.search.best[:_MOST_TRIED] if metadata.search else (),
        features=() if schema.picture else schema.features[:_MOST_FEATURES],
        example=example(metadata, evidence),
    )
    return page.encode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "estimate": wording.estimate,
        "exact": wording.exact,
        "kind": wording.kind,
        "metric": lambda name: wording.metric_in_words(name)[0],
        "number": wording.number,
        "parameter": wording.parameter,
        "percent": wording.percent,
        "seconds": wording.seconds,
        "breakable": _breakable,
        # Made by matplotlib, with every text in it escaped.
        "svg": lambda plot: Markup(plot.svg),  # noqa: S704
    }
    return environment.get_template("page.html.jinja")


def _breakable(name: str) -> Markup:
    """Return a name that a narrow page may break after each part of it."""
    return Markup("_<wbr>").join(name.split("_"))


def _headline(metadata: Metadata) -> list[tuple[str, str, str]]:
    """Return a few numbers to begin with: their name, value and interval."""
    return [
        (wording.metric_in_words(name)[0], *wording.estimate(metadata.evaluation[name]))
        for name in _HEADLINE
        if name in metadata.evaluation
    ]


def _metrics(metadata: Metadata, evidence: Evidence) -> list[_Metric]:
    found = []
    for name, of_version in metadata.evaluation.items():
        other = evidence.baseline.evaluation.get(name) if evidence.baseline else None
        better = f"{METRIC_NAMES[name].better} is better" if name in METRIC_NAMES else ""
        value, interval = wording.estimate(of_version)
        found.append(
            _Metric(
                *wording.metric_in_words(name),
                better,
                value,
                interval,
                ("", "") if other is None else wording.estimate(other),
            )
        )
    return found


def _class_recall(metadata: Metadata, evidence: Evidence) -> Iterator[_Share]:
    classes = metadata.schema_.classes or ()
    for index, name in enumerate(classes):
        if name in metadata.class_recall:
            n_rows = int(np.count_nonzero(evidence.targets == index))
            yield _share(name, n_rows, metadata.class_recall[name])


def _share(name: str, n_rows: int, found: Estimate) -> _Share:
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    return _Share(name, n_rows, *wording.estimate(found), low, found.value, high)


def _confusions(classes: Sequence[str], evidence: Evidence) -> _Confusions:
    counts = _count_pairs(len(classes), evidence)
    of_truth = counts.sum(axis=1)
    shares = counts / np.maximum(of_truth, 1)[:, np.newaxis]
    if len(classes) <= _MOST_CLASSES_IN_MATRIX:
        matrix = [
            (name, int(of_truth[i]), [_Cell(*cell) for cell in zip(*lines, strict=True)])
            for i, (name, *lines) in enumerate(
                zip(classes, counts.tolist(), shares.tolist(), strict=True)
            )
        ]
        upright = len(classes) >= _UPRIGHT_CLASSES and max(map(len, classes)) >= _UPRIGHT_LETTERS
        return _Confusions(matrix, [], upright)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    # Of equal counts the first pair comes first.
    order = np.argsort(-wrong.ravel(), kind="stable")[:_MOST_CONFUSIONS]
    most = [
        _Confusion(classes[i], classes[j], int(wrong[i, j]), float(shares[i, j]))
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[i, j]
    ]
    return _Confusions([], most, upright=False)


def _count_pairs(n_classes: int, evidence: Evidence) -> NDArray[np.int64]:
    """Return how many rows of a class (down) were taken for which (across)."""
    counts = np.zeros((n_classes, n_classes), np.int64)
    truth = evidence.targets.astype(np.int64)
    np.add.at(counts, (truth, evidence.predictions.values.astype(np.int64)), 1)
    return counts


def _reliance(names: Sequence[str], importance: Importance) -> list[_Reliance]:
    order = np.argsort(-importance.increase, kind="stable")[:_MOST_IMPORTANT]
    increase, spread = importance.increase[order], importance.spread[order]
    # If nothing matters, there is nothing to draw.
    largest = max(float((increase + spread).max()), 0.0) or 1.0
    lows = np.clip((increase - spread) / largest, 0, 1)
    highs = np.clip((increase + spread) / largest, 0, 1)
    return [
        _Reliance(
            names[feature],
            wording.number(increase[i], largest),
            wording.number(spread[i], largest),
            float(lows[i]),
            float(np.clip(increase[i] / largest, 0, 1)),
            float(highs[i]),
        )
        for i, feature in enumerate(order.tolist())
    ]
