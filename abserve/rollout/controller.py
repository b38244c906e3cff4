"""The controller of a rollout: it looks, asks `stepping` what to do, writes that down, and does it.

::

    ┌─> look ──> step ──> records to the log ──> count, change, or wait ─┐
    └────────────────────────────────────────────────────────────────────┘

It may be killed at any moment: whoever goes on reads the log, looks, and takes the same step. A
change is made only while this process leads, and only of the SeldonDeployment that was seen.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from abserve.analysis import Experiment
from abserve.errors import ExperimentError, KubernetesError, ManifestError, TelemetryError
from abserve.promotion import roll_back
from abserve.promotion.availability import generation_of
from abserve.promotion.kubernetes import Report
from abserve.rollout.audit import AuditLog, AuditWriter, latest_log
from abserve.rollout.collecting import Collector
from abserve.rollout.preparing import prepare
from abserve.rollout.records import Begin, Counted, End, Labelled, Record
from abserve.rollout.seen import Deployment, Seen, is_promoted, shown
from abserve.rollout.state import State
from abserve.rollout.stepping import (
    Change,
    CountBlock,
    CountLabels,
    Learned,
    NotKnownNow,
    RollBack,
    Stop,
    Wait,
    step,
)
from abserve.rollout.world import Clock, Leading, Pauses, World
from abserve.seldon import SeldonDeployment, adopt, finish, shift_all, weights_patch
from abserve.weights import Weights

_T = TypeVar("_T")
_Leading = TypeVar("_Leading", bound=Leading)

_PAUSE_SECONDS = 5.0
# So many times as long as samples take, counts may be missing before a rollout begins.
_KEEPINGS_TO_WAIT = 3


class Rollout:
    """One rollout, from where its log stands to its end."""

    def __init__(self, world: World, writer: AuditWriter, state: State) -> None:
        self._world = world
        self._writer = writer
        self._state = state
        self._collector: Collector | None = None
        self._clock_before = self._clocks()
        self._pauses = Pauses(world)

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    def run(self) -> End:
        """Go on until the end.

        Raises
        ------
        KubernetesError
            If this process ceases to lead. Whatever else the cluster refuses is tried again.
        AuditError
            If the log cannot be written. Nothing is done that is not in it.
        """
        while self._state.end is None:
            self._act_on(self._look())
        return self._state.end

    def _act_on(self, seen: Seen) -> None:
        """Take all steps that follow from one look, until it is time for another."""
        learned: Learned | None = None
        while True:
            next_step = step(self._state, seen, learned, self._world.pace)
            for record in next_step.records:
                self._write(record)
            # What was learned is written down, and that the clock was set as well.
            seen, learned = replace(seen, clock_set_seconds=0.0), None
            match next_step.action:
                case None:
                    continue
                case CountBlock() | CountLabels():
                    learned = self._count(next_step.action, seen.at)
                    continue
                case Change():
                    self._pauses.unless_done(self._change, next_step.action)
                case RollBack():
                    self._pauses.unless_done(self._roll_back)
                case Wait(until):
                    self._world.clock.wait(max(until - self._world.clock.now(), 0.0))
                case Stop():
                    pass
            return

    def _look(self) -> Seen:
        deployment = self._pauses.until_done(self._find)
        now = self._clocks()
        self._world.looked(self._state, now[0])
        before, self._clock_before = self._clock_before, now
        set_seconds = (now[0] - before[0]) - (now[1] - before[1])
        return Seen(now[0], deployment, set_seconds)

    def _find(self) -> Deployment | None:
        document = self._world.find()
        return None if document is None else Deployment.of(document)

    def _clocks(self) -> tuple[float, float]:
        return self._world.clock.now(), self._world.clock.monotonic()

    def _write(self, record: Record) -> None:
        self._world.leading.check()
        written = self._writer.append(record)
        before, self._state = self._state, self._state.after(written)
        self._world.tell(before, written)

    def _count(self, action: CountBlock | CountLabels, at: float) -> Learned:
        if self._collector is None:
            begin = self._state.begin
            history = self._world.history(begin.experiment, begin.model)
            self._collector = Collector(
                begin.experiment,
                begin.variants,
                begin.classes,
                history,
                self._world.pace.keeping_seconds,
            )
        try:
            if isinstance(action, CountBlock):
                block = self._collector.end_block(
                    action.number, action.began_at, action.ended_at, action.weight_candidate
                )
                return Counted(at=at, block=block)
            matured = self._collector.mature(action.block)
        except TelemetryError as error:
            return NotKnownNow(str(error))
        return Labelled(
            at=at,
            number=matured.number,
            counts=matured.by_metric.get(self._state.experiment.primary.metric),
            notes=matured.notes[len(action.block.notes) :],
        )

    def _change(self, change: Change) -> None:
        """Make a change, unless the SeldonDeployment is another now: that is to be looked at."""
        world, experiment = self._world, self._state.experiment
        document = world.cluster.get(world.name)
        if generation_of(document) != change.generation:
            return
        baseline, candidate = experiment.baseline, experiment.candidate
        operations: Sequence[Mapping[str, Any]]
        match change.what:
            case "weights":
                weights = Weights(self._state.weights or {})
                operations = weights_patch(document, weights)
            case "shift_all":
                world.report(f"sending all requests to {candidate}")
                operations = shift_all(document, candidate)
            case "adopt":
                world.report(f"giving {baseline} the version of {candidate}")
                operations = adopt(document, baseline, candidate)
            case "finish":
                world.report(f"sending all requests to {baseline} and removing {candidate}")
                operations = finish(document, baseline, candidate)
        world.cluster.patch(world.name, operations)

    def _roll_back(self) -> None:
        world = self._world
        roll_back(world.cluster, world.name, world.report, world.timeout_seconds)


class Controller:
    """Begins rollouts of one SeldonDeployment, and goes on with what was begun.

    Parameters
    ----------
    folder : Path
        Where the audit logs are.
    experiment : callable
        Reads the experiment that a new rollout is to be; only called for one.
    given : bool
        Whether the experiment was named, and has to be that of the rollout that goes on.
    anew : bool
        Whether to begin a rollout, once, even if one has not ended.
    """

    def __init__(
        self,
        folder: Path,
        experiment: Callable[[], Experiment],
        *,
        given: bool = False,
        anew: bool = False,
    ) -> None:
        self._folder = folder
        self._experiment = experiment
        self._given = given
        self._anew = anew

    def run(self, world: World) -> End:
        """Go on with the rollout there is, or begin one, and bring it to its end.

        Raises
        ------
        AbserveError
            If there is nothing that could be begun or gone on with, or this process ceases to lead.
        """
        writer, state = self._open(world)
        if state.end is not None:
            self._check_still_so(world, state, writer.path)
        return Rollout(world, writer, state).run()

    def keep_watching(self, world: World) -> None:
        """Go on with rollouts, and begin one whenever two new versions are to be compared.

        It returns only by an error.

        Raises
        ------
        KubernetesError
            If this process ceases to lead.
        AuditError
            If a log cannot be written.
        """
        ended: State | None = None
        told = ""
        while True:
            world.leading.check()
            reason = "waiting for another version to compare"
            try:
                if ended is None or self._compares_others(world, ended):
                    rollout = Rollout(world, *self._open(world))
                    rollout.run()
                    ended = rollout.state
                world.looked(ended, world.clock.now())
            except (ExperimentError, ManifestError, TelemetryError) as error:
                reason = f"no rollout can begin: {error}"
                world.looked(ended, world.clock.now())
            except KubernetesError as error:
                world.leading.check()
                reason = str(error)
            if reason != told:
                world.report(reason)
            told = reason
            world.clock.wait(_PAUSE_SECONDS)

    def _open(self, world: World) -> tuple[AuditWriter, State]:
        path = latest_log(self._folder)
        if path is None:
            return self._begin(world)
        writer, log = AuditWriter.going_on(path)
        if log.torn_bytes:
            world.report(f"{path}: the last line lacked its end, and was cut off")
        state = log.state
        if state.end is None:
            if not self._anew:
                self._check_same(log)
                world.report(f"going on with {path}: {len(state.blocks)} blocks")
                return writer, state
            begun = self._begin(world)
            text = "another rollout was begun with --new"
            writer.append(End(at=begun[1].at, outcome="abandoned", text=text))
            return begun
        if self._anew or state.end.outcome == "abandoned" or self._compares_others(world, state):
            return self._begin(world)
        return writer, state

    def _begin(self, world: World) -> tuple[AuditWriter, State]:
        begin = self._prepare(world)
        writer = AuditWriter.create(self._folder, begin)
        self._anew = False
        state = State.of(begin)
        world.tell(state, begin)
        world.report(f"audit log: {writer.path}")
        return writer, state

    def _prepare(self, world: World) -> Begin:
        """Prepare a rollout; counts of what was applied a moment ago are waited for."""
        patience = world.clock.monotonic() + _KEEPINGS_TO_WAIT * world.pace.keeping_seconds
        told = False
        while True:
            try:
                return self._prepare_now(world)
            except TelemetryError as error:
                if world.clock.monotonic() >= patience:
                    raise
                if not told:
                    world.report(f"waiting for counts: {error}")
                told = True
            world.clock.wait(_PAUSE_SECONDS)

    def _prepare_now(self, world: World) -> Begin:
        world.leading.check()
        document = world.find()
        if document is None:
            raise ExperimentError(
                f"there is no SeldonDeployment {world.name!r} in namespace {world.namespace!r}; "
                "expected one with two variants: apply it first"
            )
        experiment = self._experiment()
        at = world.clock.now()
        return prepare(
            experiment,
            document,
            world.namespace,
            world.history(experiment, SeldonDeployment.parse(document).model),
            at,
            at - world.pace.keeping_seconds,
        )

    @staticmethod
    def _check_still_so(world: World, state: State, path: Path) -> None:
        """Refuse to call promoted what somebody compares once more."""
        document = world.find()
        end, name = state.end, state.experiment.deployment
        told = f"{path} has come to its end; 'abserve rollout {name} --new' begins another rollout"
        if end and end.outcome == "promoted" and document is not None:
            deployment = Deployment.of(document)
            if not is_promoted(state.begin, deployment):
                raise ExperimentError(
                    f"a rollout of these versions has ended: {end.text}. Since then somebody "
                    f"changed that, to {shown(deployment.weights)}; {told}"
                )
        world.report(told)

    def _check_same(self, log: AuditLog) -> None:
        if self._given and self._experiment() != log.experiment:
            raise ExperimentError(
                f"the experiment is another than that of {log.path}, which has not ended; expected "
                "the same, since nothing of it may change in the middle: go on without "
                "--experiment, or begin anew with --new"
            )

    def _compares_others(self, world: World, state: State) -> bool:
        """Tell whether the SeldonDeployment has two variants, and not those of a rollout."""
        document = world.find()
        if document is None:
            return False
        found, before = Deployment.of(document).model_uris, state.begin.model_uris
        compared = (state.experiment.baseline, state.experiment.candidate)
        return all(name in found for name in compared) and any(
            found[name] != before[name] for name in compared
        )


def as_leader(
    leadership: Callable[[], AbstractContextManager[_Leading]],
    clock: Clock,
    report: Report,
    act: Callable[[_Leading], _T],
) -> _T:
    """Act while this process leads; if it ceases to, wait until it does again.

    Parameters
    ----------
    leadership : callable
        Makes a candidacy. What was lost does not come back, so each serves once.
    clock : Clock
        Time.
    report : callable
        Told why this process does not act.
    act : callable
        What to do. It ends with a KubernetesError when the leadership is lost.

    Raises
    ------
    KubernetesError
        If the cluster does not answer in the beginning, or refuses what `act` did as the leader.
    """
    has_led = False
    while True:
        with ExitStack() as stack:
            try:
                leading = stack.enter_context(leadership())
            except KubernetesError as error:
                if not has_led:
                    raise
                report(f"trying again to lead: {error}")
                clock.wait(_PAUSE_SECONDS)
                continue
            has_led = True
            try:
                return act(leading)
            except KubernetesError as error:
                if leading.held:
                    raise
                report(f"standing by: {error}")
