"""Two versions side by side: what is better, by how much, and what else is different."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abserve.metadata import Estimate, Metadata


@dataclass(frozen=True, slots=True)
class MetricPair:
    """One metric of both versions; a version that was not judged by it has none."""

    name: str
    first: "Estimate | None"
    second: "Estimate | None"

    @property
    def difference(self) -> float | None:
        """The second less the first."""
        if self.first is None or self.second is None:
            return None
        return self.second.value - self.first.value

    @property
    def overlap(self) -> bool | None:
        """Whether the intervals have values in common; None if one is not known."""
        first, second = self.first, self.second
        if first is None or second is None:
            return None
        if first.low is None or first.high is None or second.low is None or second.high is None:
            return None
        return first.low <= second.high and second.low <= first.high

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "first": self.first.model_dump() if self.first else None,
            "second": self.second.model_dump() if self.second else None,
            "difference": self.difference,
            "intervals_overlap": self.overlap,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that both versions say of themselves, and not the same."""

    what: str
    first: Any
    second: Any

    def to_json(self) -> dict[str, Any]:
        return {"what": self.what, "first": self.first, "second": self.second}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What there is to say of two versions of one model; `warnings` come before all metrics."""

    first: str
    second: str
    metrics: tuple[MetricPair, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "metrics": [each.to_json() for each in self.metrics],
            "differences": [each.to_json() for each in self.differences],
            "warnings": list(self.warnings),
        }


def compare(first: "Metadata", second: "Metadata") -> Comparison:
    """Compare what two versions say of themselves."""
    facts = _facts(first), _facts(second)
    return Comparison(
        first=first.version,
        second=second.version,
        metrics=tuple(
            MetricPair(name, first.evaluation.get(name), second.evaluation.get(name))
            for name in dict.fromkeys([*first.evaluation, *second.evaluation])
        ),
        differences=tuple(
            Difference(what, facts[0].get(what), facts[1].get(what))
            for what in dict.fromkeys([*facts[0], *facts[1]])
            if facts[0].get(what) != facts[1].get(what)
        ),
        warnings=tuple(_warnings(first, second)),
    )


def _facts(metadata: "Metadata") -> dict[str, Any]:
    data = metadata.data
    return {
        "estimator": metadata.estimator,
        **_named("parameter", metadata.parameters),
        "search": metadata.search.kind if metadata.search else None,
        "seed": metadata.seed,
        "data source": data.source if data else None,
        "data rows": data.n_rows if data else None,
        "data fingerprint": data.sha256 if data else None,
        "rows fitted": metadata.n_fitted,
        "rows held out": metadata.n_held_out,
        "features": list(metadata.schema_.feature_names),
        "served as": metadata.served,
        "commit": metadata.git_commit,
        **_named("library", metadata.libraries),
    }


def _named(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{kind} {name}": value for name, value in values.items()}


def _warnings(first: "Metadata", second: "Metadata") -> list[str]:
    if first.data is None or second.data is None:
        silent = first.version if first.data is None else second.version
        return [
            f"{silent} does not say which data it was judged on: the metrics may not be comparable"
        ]
    if first.data.sha256 != second.data.sha256:
        return ["the data differ, and so do the held-out rows: the metrics are not comparable"]
    if (first.seed, first.n_held_out) != (second.seed, second.n_held_out):
        return ["the split differs, and so do the held-out rows: the metrics are not comparable"]
    return []
