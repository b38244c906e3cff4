"""A rollout with all that is outside of it: time, the cluster, and servers that count requests."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonpatch
import numpy as np

from abserve.analysis import Experiment
from abserve.errors import KubernetesError, LostCountsError, TelemetryError
from abserve.promotion.kubernetes import Document, Report, say_nothing
from abserve.rollout.audit import AuditLog, latest_log, read_log
from abserve.rollout.controller import Controller
from abserve.rollout.exposing import Exposed
from abserve.rollout.records import Decided, End, Record
from abserve.rollout.state import State
from abserve.rollout.stepping import Pace
from abserve.rollout.world import World
from abserve.slots import slot_of
from abserve.telemetry import Reading, ReplicaReading, Series
from tests.abserve.seldon.documents import document, predictor

MINUTE = 60
BEGAN = 30_000_000 * MINUTE
PACE = Pace(settling_seconds=6.0, keeping_seconds=6.0, look_seconds=2.0)
PER_MINUTE = 600
_FEEDBACK_SECONDS = 30


class KilledError(Exception):
    """The process ends here, in the middle of whatever it does."""


def experiment(**stated: Any) -> Experiment:
    usual = {
        "deployment": "iris",
        "primary": {"metric": "accuracy"},
        "guardrails": ({"metric": "error_rate", "margin": 0.05},),
        "interval_seconds": MINUTE,
        "maturity_seconds": MINUTE,
        "maximum_seconds": 30 * MINUTE,
        "weight_steps": (10, 50),
        "step_seconds": 2 * MINUTE,
    }
    return Experiment.model_validate(usual | stated)


class Clock:
    """Time that passes only while somebody waits; `plan` says what happens when."""

    def __init__(self) -> None:
        self._now = self._monotonic = float(BEGAN) - 90
        self._planned: list[tuple[float, Callable[[], None]]] = []
        self.each_minute: Callable[[int], None] = lambda _: None

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def plan(self, at: float, happening: Callable[[], None]) -> None:
        """Let something happen so many seconds after `BEGAN`."""
        self._planned.append((BEGAN + at, happening))
        self._planned.sort(key=lambda planned: planned[0])

    def wait(self, seconds: float) -> None:
        until = self._monotonic + seconds
        while self._monotonic < until:
            edge = (self._now // MINUTE + 1) * MINUTE
            moments = [self._now + until - self._monotonic, edge]
            moments += [max(at, self._now) for at, _ in self._planned[:1]]
            self._pass(min(moments) - self._now)
            if self._now == edge:
                self.each_minute(int(edge))
            while self._planned and self._planned[0][0] <= self._now:
                self._planned.pop(0)[1]()

    def set_forward(self, seconds: float) -> None:
        self._now += seconds

    def _pass(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds


class Cluster:
    """A Kubernetes API with iris, whose operator serves each change at once."""

    def __init__(self) -> None:
        self.document: Document | None = document(
            predictor("baseline", "v1", traffic=100), predictor("candidate", "v2", traffic=0)
        )
        self.document["metadata"] |= {"uid": "u-1", "managedFields": []}
        self.n_replicas = 1
        self.unready: set[str] = set()
        self.down = False
        self.patches = 0
        self.after_patch: Callable[[], None] = lambda: None
        self._serve()

    def get(self, name: str) -> Document:
        self._check()
        if self.document is None:
            raise KubernetesError(f"no SeldonDeployment {name!r}")
        return deepcopy(self.document)

    def names(self) -> list[str]:
        self._check()
        return [] if self.document is None else ["iris"]

    def patch(self, name: str, operations: Sequence[Mapping[str, Any]]) -> Document:
        self.write(jsonpatch.apply_patch(self.get(name), list(operations)), "abserve-rollout")
        self.patches += 1
        self.after_patch()
        return self.get(name)

    def wait_until_available(
        self, name: str, generation: int, timeout_seconds: float, report: Report = say_nothing
    ) -> Document:
        found = self.get(name)
        if found["status"]["state"] != "Available":
            raise KubernetesError(f"SeldonDeployment {name!r} is not Available")
        return found

    def write(self, changed: Document, manager: str) -> None:
        """Store an object, as the API does."""
        before = self.document
        self.document = deepcopy(changed)
        if before is None or before["spec"] != changed["spec"]:
            self.document["metadata"]["generation"] += 1
            self.document["metadata"]["managedFields"] = [
                {
                    "manager": manager,
                    "time": "2027-01-15T08:00:00Z",
                    "fieldsV1": {"f:spec": {"f:predictors": {}}},
                }
            ]
        self._serve()

    def edit(self, change: Callable[[Document], None], manager: str = "kubectl-edit") -> None:
        """Let somebody else change the object."""
        changed = deepcopy(self.document or document())
        change(changed)
        self.write(changed, manager)

    def crash(self, *predictors: str) -> None:
        """Let a replica of each of these predictors crash, and all others be ready."""
        self.unready = set(predictors)
        self._serve()

    def split(self) -> list[tuple[str, str, int]]:
        """Return name, version and weight of each predictor."""
        return [
            (each["name"], each["graph"]["modelUri"].rpartition("/")[2], each["traffic"])
            for each in (self.document or {"spec": {"predictors": []}})["spec"]["predictors"]
        ]

    def _check(self) -> None:
        if self.down:
            raise KubernetesError("the cluster does not answer")

    def _serve(self) -> None:
        if self.document is None:
            return
        names = [each["name"] for each in self.document["spec"]["predictors"]]
        unready = self.unready & set(names)
        self.document["status"] = {
            "state": "Creating" if unready else "Available",
            "description": "; ".join(f"{name}: exited with 1" for name in sorted(unready)),
            "observedGeneration": self.document["metadata"]["generation"],
            "deploymentStatus": {
                f"iris-{name}-0-iris": {
                    "replicas": self.n_replicas,
                    "availableReplicas": self.n_replicas - (name in unready),
                }
                for name in names
            },
        }


@dataclass
class Servers:
    """What the two versions count: requests by the minute, and feedback half a minute later.

    `rates` are of right predictions and of failures, by version. `shares`, if given, is how the
    requests arrive, whatever the weights. `header` names the units, and `started_at` says when the
    replica of a version was started, if not long ago.
    """

    cluster: Cluster
    rates: dict[str, tuple[float, float]]
    shares: tuple[float, float] | None = None
    down: bool = False
    lost: set[int] = field(default_factory=set)
    header: str = ""
    started_at: dict[str, float] = field(default_factory=dict)
    minutes: dict[int, dict[str, tuple[int, int, int]]] = field(default_factory=dict)

    def serve(self, minute: int) -> None:
        split = self.cluster.split()
        shares = self.shares or tuple(weight / 100 for _, _, weight in split)
        served = {}
        for (_, version, _), share in zip(split, shares, strict=False):
            right, failed = self.rates[version]
            chance = np.random.default_rng((minute, int(version[1:])))
            n = round(PER_MINUTE * share)
            n_failed = int(chance.binomial(n, failed))
            served[version] = (n, n_failed, int(chance.binomial(n - n_failed, right)))
        self.minutes[minute] = served

    def reading(self, at: float, since: float | None = None) -> Reading:
        if self.down:
            raise TelemetryError("Prometheus does not answer")
        if int(at) in self.lost:
            raise LostCountsError(f"no samples are kept of {at:.0f}")
        return Reading(at, {version: self._replica(version, at) for version in self.rates})

    def _replica(self, version: str, at: float) -> ReplicaReading:
        of = {"version": version}
        counts: dict[Series, float] = {
            Series.of("abserve_unit_info", {**of, "header": self.header}): 1.0,
            Series.of("abserve_units_total", {**of, "period": "60", "slot": "0"}): 0.0,
            Series.of("abserve_predictions_total", {**of, "label": "setosa"}): 0.0,
            **{
                Series.of("abserve_requests_total", {**of, "outcome": outcome}): 0.0
                for outcome in ("ok", "failed", "rejected")
            },
        }

        def count(name: str, amount: float, **labels: str) -> None:
            series = Series.of(f"abserve_{name}_total", {**of, **labels})
            counts[series] = counts.get(series, 0.0) + amount

        for minute, served in self.minutes.items():
            n, failed, right = served.get(version, (0, 0, 0))
            if minute + MINUTE <= at:
                count("units", n, period="60", slot=str(slot_of(minute, MINUTE)))
                count("requests", n - failed, outcome="ok")
                count("requests", failed, outcome="failed")
            if minute + MINUTE + _FEEDBACK_SECONDS <= at:
                slot = {"metric": "accuracy", "period": "60", "slot": str(slot_of(minute, MINUTE))}
                count("outcomes", n - failed, **slot)
                count("outcome_sum", right, **slot)
        return ReplicaReading(self.started_at.get(version, BEGAN - 9000.0), counts)


class Leading:
    """The right to act."""

    def __init__(self) -> None:
        self.held = True

    def check(self) -> None:
        if not self.held:
            raise KubernetesError("another leads now")


class Scene:
    """Two versions that are right in these shares, and a controller that may be killed.

    `kill_after` is the number of records after which the process ends.
    """

    def __init__(
        self,
        folder: Path,
        baseline: float = 0.80,
        candidate: float = 0.80,
        *,
        failing: float = 0.0,
        **stated: Any,
    ) -> None:
        self.folder = folder
        self.experiment = experiment(**stated)
        self.clock, self.cluster, self.leading = Clock(), Cluster(), Leading()
        self.servers = Servers(self.cluster, {"v1": (baseline, 0.0), "v2": (candidate, failing)})
        self.clock.each_minute = self.servers.serve
        self.kill_after = -1
        self.said: list[str] = []
        self.exposed = Exposed("iris")
        self.clock.wait(60)

    def world(self) -> World:
        return World(
            self.cluster,
            "shop",
            "iris",
            lambda _experiment, _model: self.servers,
            self.leading,
            self.clock,
            PACE,
            60.0,
            self._tell,
            self.said.append,
            self.exposed.look,
            self.exposed.found,
        )

    def controller(self, *, given: bool = False, anew: bool = False) -> Controller:
        return Controller(self.folder, lambda: self.experiment, given=given, anew=anew)

    def run(self, **options: bool) -> End:
        return self.controller(**options).run(self.world())

    def log(self) -> AuditLog:
        path = latest_log(self.folder)
        if path is None:
            raise FileNotFoundError(self.folder)
        return read_log(path)

    def records(self) -> tuple[Record, ...]:
        return self.log().records

    def decisions(self) -> list[Decided]:
        return [each for each in self.records() if isinstance(each, Decided)]

    def actions(self) -> list[str]:
        return [str(each.conclusion["action"]) for each in self.decisions()]

    def weights(self) -> list[int]:
        return [each.weights["candidate"] for each in self.records() if each.kind == "weights"]

    def _tell(self, _before: State, _record: Record) -> None:
        self.kill_after -= 1
        if self.kill_after == 0:
            raise KilledError


def set_weights(baseline: int, candidate: int) -> Callable[[Document], None]:
    def change(changed: Document) -> None:
        for each, weight in zip(changed["spec"]["predictors"], (baseline, candidate), strict=True):
            each["traffic"] = weight

    return change


def add_predictor(changed: Document) -> None:
    changed["spec"]["predictors"].append(predictor("other", "v9", traffic=0))
