"""What a HorizontalPodAutoscaler does with what it is told.

As ``pkg/controller/podautoscaler`` of kubernetes/kubernetes does for external metrics with an
AverageValue::

    value / threshold, up ──> the largest ──> bounds of time ──> bounds of rate ──> replicas
    nothing within a tenth    of all          up: the lowest     policies, from
                              metrics         down: the highest  minimum to maximum

What was wished for is remembered before it is bounded. A wish is as old as the window, or older,
when it is forgotten. Times are in seconds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

SYNC_SECONDS = 15
TOLERANCE = 0.1

# autoscaling/v2 fills these in: pkg/apis/autoscaling/v2/defaults.go.
_UP: dict[str, Any] = {
    "stabilizationWindowSeconds": 0,
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN: dict[str, Any] = {
    "stabilizationWindowSeconds": 300,
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def wish(n_replicas: int, value: float, threshold: float) -> int:
    """Return how many replicas one metric asks for."""
    if abs(value / (n_replicas * threshold) - 1) <= TOLERANCE:
        return n_replicas
    return math.ceil(value / threshold)


class Autoscaler:
    """The HPA that KEDA makes of a ScaledObject's spec, and the replicas that it scales."""

    def __init__(self, spec: Mapping[str, Any], n_replicas: int) -> None:
        self.n_replicas = n_replicas
        self._least, self._most = spec["minReplicaCount"], spec["maxReplicaCount"]
        self._thresholds = [float(each["metadata"]["threshold"]) for each in spec["triggers"]]
        behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        self._up = _UP | behaviour.get("scaleUp", {})
        self._down = _DOWN | behaviour.get("scaleDown", {})
        self._wishes: list[tuple[float, int]] = []
        self._changes: list[tuple[float, int]] = []

    def sync(self, now: float, values: Sequence[float]) -> int:
        """Look at the metrics, in the order of the triggers; return how many replicas there are."""
        before = self.n_replicas
        if not self._wishes:
            self._wishes.append((now, before))
        wished = max(
            wish(before, value, threshold)
            for value, threshold in zip(values, self._thresholds, strict=True)
        )
        lowest = min([wished, *self._recent(now, self._up["stabilizationWindowSeconds"])])
        highest = max([wished, *self._recent(now, self._down["stabilizationWindowSeconds"])])
        self._wishes.append((now, wished))
        bounded = min(max(before, lowest), highest)
        if bounded > before:
            limit = max(self._limit(now, each, +1) for each in self._up["policies"])
            bounded = min(bounded, max(before, min(self._most, limit)))
        elif bounded < before:
            limit = min(self._limit(now, each, -1) for each in self._down["policies"])
            bounded = max(bounded, min(before, max(self._least, limit)))
        if bounded != before:
            self._changes.append((now, bounded - before))
        self.n_replicas = bounded
        return bounded

    def _recent(self, now: float, window: float) -> list[int]:
        return [wished for at, wished in self._wishes if at > now - window]

    def _limit(self, now: float, policy: Mapping[str, Any], direction: int) -> int:
        began = now - policy["periodSeconds"]
        at_first = self.n_replicas - sum(change for at, change in self._changes if at > began)
        if policy["type"] == "Pods":
            return at_first + direction * int(policy["value"])
        changed = at_first * (1 + direction * policy["value"] / 100)
        return math.ceil(changed) if direction > 0 else int(changed)
