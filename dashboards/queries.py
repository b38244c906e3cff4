"""PromQL, put together from metrics and from what the reader chose at the top of the page.

Targets are labelled `namespace`, `deployment`, `predictor` and `pod` by the PodMonitor, and what
our runtimes count has `model` and `version` besides.
"""

from dataclasses import dataclass

# What the reader chose; `=~` where several may be chosen at once.
DEPLOYMENT = 'namespace="$namespace",deployment="$deployment"'
REPLICAS = f'{DEPLOYMENT},predictor=~"$predictor"'
VERSIONS = f'{REPLICAS},model=~"$model",version=~"$version"'

BY_VERSION = "predictor, model, version"
VERSION = "{{predictor}}: {{model}} {{version}}"

# Feedback is counted by whichever replica it arrives at, under the version that it is about. So it
# is never chosen by predictor, nor told apart by it.
ABOUT = f'{DEPLOYMENT},model=~"$model",version=~"$version"'
BY_ABOUT = "model, version"
ABOUT_VERSION = "{{model}} {{version}}"

# Four scrapes at least, and never less than a pixel: Grafana's own advice for rates.
RATE = "$__rate_interval"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression, and what its series are called: ``{{label}}`` is filled in."""

    expression: str
    legend: str


def series(metric: str, *matchers: str) -> str:
    """Return a selector: ``metric{matcher,matcher}``."""
    return f"{metric}{{{','.join(matchers)}}}"


def rate(metric: str, *matchers: str, over: str = RATE) -> str:
    """Return how fast a counter grows, each second."""
    return f"rate({series(metric, *matchers)}[{over}])"


def increase(metric: str, *matchers: str, over: str) -> str:
    """Return by how much a counter has grown."""
    return f"increase({series(metric, *matchers)}[{over}])"


def total(expression: str, by: str = "") -> str:
    """Return a sum over all but the labels in `by`."""
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def quantile(level: float, metric: str, *matchers: str, by: str = "") -> str:
    """Return a quantile of a histogram, over the replicas that `by` does not tell apart."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({level}, {total(rate(f'{metric}_bucket', *matchers), labels)})"


def seen(expression: str, counter: str, *matchers: str, by: str) -> str:
    """Return those series of a result of which something was counted in the time that is shown."""
    counted = total(f"increase({series(counter, *matchers)}[$__range])", by)
    return f"{expression} and on ({by}) {counted} > 0"


def share(part: str, whole: str) -> str:
    """Return a ratio; without a point where the whole is nothing, instead of NaN."""
    return f"{part} / ({whole} > 0)"
