"""How good a version has to be before it is published."""

from collections.abc import Iterator, Mapping

from pydantic import Field, JsonValue

from abserve.stated.base import Fault, Location, Stated
from training.definition.numbers import Number
from training.estimators import short_list
from training.metric_names import METRIC_NAMES

_NAMES_OF_METRICS: dict[str, JsonValue] = {"propertyNames": {"enum": [*METRIC_NAMES]}}


class Bar(Stated):
    """A bar for a number: `at_least` or `at_most`, one of them."""

    at_least: Number | None = Field(
        default=None, description="The least that passes.", examples=[0.9]
    )
    at_most: Number | None = Field(
        default=None, description="The most that passes.", examples=[0.1]
    )

    def _faults(self) -> Iterator[Fault]:
        if (self.at_least is None) == (self.at_most is None):
            found = "neither at_least nor at_most" if self.at_least is None else "both"
            yield (), f"has {found}; expected one of at_least and at_most"


class Margin(Stated):
    """By how much, absolute, a metric may be worse than that of the version that serves."""

    margin: float = Field(
        ge=0,
        allow_inf_nan=False,
        description="By how much, absolute, it may be worse; 0: not at all.",
        examples=[0.02],
    )


class SliceGate(Stated):
    """Held-out rows whose `feature` is at least `minimum` and at most `maximum`, and their bars."""

    feature: str = Field(description="The feature that tells the rows.", examples=["age_years"])
    minimum: Number | None = Field(
        default=None, description="The least value of the feature in the slice.", examples=[60]
    )
    maximum: Number | None = Field(
        default=None, description="The greatest value of the feature in the slice.", examples=[80]
    )
    metrics: Mapping[str, Bar] = Field(
        min_length=1,
        description="Bars by metric.",
        examples=[{"accuracy": {"at_least": 0.8}}],
        json_schema_extra=_NAMES_OF_METRICS,
    )

    def _faults(self) -> Iterator[Fault]:
        low, high = self.minimum, self.maximum
        if low is None and high is None:
            yield (), "is all rows; expected a minimum, a maximum or both"
        if low is not None and high is not None and low > high:
            yield ("minimum",), f"is {low}; expected at most maximum, {high}"
        yield from _faults_of_bars(("metrics",), self.metrics)


class Gates(Stated):
    """What a version has to reach before it is published; a version that fails one is not.

    `metrics` are bars by the name of a metric, `recall` by the name of a class, `serving` margins
    against the version that serves now, on the same held-out rows. `slices` have names.
    `latency_ms` bounds the median time of a prediction of one row, `size_bytes` the file that is
    served, `parity` the largest difference between the exported model and the fitted one.
    """

    metrics: Mapping[str, Bar] = Field(
        default={},
        description="Bars by metric, on all held-out rows.",
        examples=[{"accuracy": {"at_least": 0.9}}],
        json_schema_extra=_NAMES_OF_METRICS,
    )
    recall: Mapping[str, Bar] = Field(
        default={},
        description="Bars by class: the share of its held-out rows that are found.",
        examples=[{"malignant": {"at_least": 0.9}}],
    )
    serving: Mapping[str, Margin] = Field(
        default={},
        description="By metric, how much worse than the version that serves now it may be, on the "
        "same held-out rows.",
        examples=[{"accuracy": {"margin": 0.02}}],
        json_schema_extra=_NAMES_OF_METRICS,
    )
    slices: Mapping[str, SliceGate] = Field(
        default={},
        description="Some of the held-out rows, by a name of your own, with bars of their own.",
        examples=[
            {"old": {"feature": "age_years", "minimum": 60, "metrics": {"r2": {"at_least": 0.2}}}}
        ],
    )
    latency_ms: Bar | None = Field(
        default=None,
        description="Median time to predict one row, in milliseconds.",
        examples=[{"at_most": 5}],
    )
    size_bytes: Bar | None = Field(
        default=None, description="Size of the file that is served.", examples=[{"at_most": 100000}]
    )
    parity: Bar = Field(
        default=Bar(at_most=1e-5),
        description="The largest difference between the exported model and the fitted one, in a "
        "probability, or in a number relative to the spread of the target.",
        examples=[{"at_most": 0.0001}],
    )

    def _faults(self) -> Iterator[Fault]:
        yield from _faults_of_bars(("metrics",), self.metrics)
        for name in self.serving:
            if name not in METRIC_NAMES:
                yield ("serving", name), _no_metric(name)
        for name, bar in self.recall.items():
            if bar.at_least is None:
                yield ("recall", name), "has at_most, but more is better; expected at_least"
        for field in ("latency_ms", "size_bytes", "parity"):
            bar = getattr(self, field)
            if bar is not None and bar.at_most is None:
                yield (field,), "has at_least, but less is better; expected at_most"


def _faults_of_bars(where: Location, bars: Mapping[str, Bar]) -> Iterator[Fault]:
    for name, bar in bars.items():
        if name not in METRIC_NAMES:
            yield (*where, name), _no_metric(name)
        elif METRIC_NAMES[name].better == "higher" and bar.at_least is None:
            yield (*where, name), "has at_most, but more is better; expected at_least"
        elif METRIC_NAMES[name].better == "lower" and bar.at_most is None:
            yield (*where, name), "has at_least, but less is better; expected at_most"


def _no_metric(name: str) -> str:
    return f"is no metric; expected {short_list(METRIC_NAMES, name)}: rename or remove it"
