"""Measure cases in rounds, every service in each, so that a slow minute slows all of them.

A ratio is of medians over the rounds. All services of a model run from the first round to the last;
one is under load at a time, and the others wait.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.answers import check_answer
from benchmarks.bodies import Bodies, write_bodies
from benchmarks.cases import Case, Form, Service
from benchmarks.load import LoadError, Sample, put_under_load
from benchmarks.models import NAME, Prepared
from benchmarks.services import Running, running

_WARM_UP_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """What a service did in a case: a sample for each round, or why there is none."""

    case: Case
    service: Service
    samples: tuple[Sample, ...]
    no_answer: str | None = None

    @property
    def requests_per_second(self) -> float:
        return median(sample.requests_per_second for sample in self.samples)

    @property
    def p50_seconds(self) -> float:
        return median(sample.p50_seconds for sample in self.samples)

    @property
    def p99_seconds(self) -> float:
        return median(sample.p99_seconds for sample in self.samples)

    @property
    def spread(self) -> float | None:
        """Half of what lies between the slowest and the fastest round, as a part of the median.

        None after a single round, which cannot say.
        """
        if len(self.samples) == 1:
            return None
        rates = [sample.requests_per_second for sample in self.samples]
        return (max(rates) - min(rates)) / 2 / median(rates)


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of one run, and ours as a multiple of the peers'."""

    of: Mapping[tuple[Case, Service], Figure]

    def get(self, case: Case, service: Service) -> Figure | None:
        """Return the figure if there is one with samples."""
        figure = self.of.get((case, service))
        return figure if figure is not None and figure.samples else None

    def ratio(self, case: Case, peer: Service) -> float | None:
        """Return how many times the peer's requests per second ours answers."""
        other = case.compared_with(peer)
        mine = self.get(case, Service.OURS)
        theirs = self.get(other, peer) if other is not None else None
        if mine is None or theirs is None:
            return None
        return mine.requests_per_second / theirs.requests_per_second


@dataclass(slots=True)
class _Course:
    """One service in one case, from the check of its answer to the last round."""

    case: Case
    target: Running
    bodies: Bodies
    answer_bytes: int = 0
    no_answer: str | None = None
    samples: list[Sample] = field(default_factory=list)

    def begin(self) -> None:
        try:
            self.answer_bytes = check_answer(self.target, self.bodies)
            self._load(_WARM_UP_SECONDS, 0)
        except LoadError as error:
            self.no_answer = str(error)

    def go_on(self, seconds: int, turn: int) -> None:
        if self.no_answer is not None:
            return
        try:
            self.samples.append(self._load(seconds, turn))
        except LoadError as error:
            # What it answered before does not count for a service that then refuses.
            self.no_answer = str(error)
            self.samples.clear()

    def figure(self) -> Figure:
        return Figure(self.case, self.target.service, tuple(self.samples), self.no_answer)

    def _load(self, seconds: int, turn: int) -> Sample:
        return put_under_load(
            self.target,
            self.bodies,
            self.case.n_connections,
            seconds,
            turn=turn,
            answer_bytes=self.answer_bytes,
        )


def measure(
    cases: Sequence[Case],
    prepared: Prepared,
    folder: Path,
    n_rounds: int,
    seconds: int,
    report: Callable[[str], None],
) -> list[Figure]:
    """Measure cases of one model.

    Parameters
    ----------
    cases : sequence of Case
        In the order in which they are measured.
    prepared : Prepared
        The fitted model, for each service.
    folder : Path
        For the requests and the services' logs.
    n_rounds, seconds : int
        How often each service is measured in each case, and for how long.
    report : callable
        Told what is being measured.

    Raises
    ------
    ServiceError
        If a service does not start. One that does not answer a form has a figure that says so.
    """
    wanted = {service for case in cases for service in case.services}
    with ExitStack() as stack:
        targets = {
            service: stack.enter_context(
                running(service, prepared, folder / "logs" / f"{service}.log")
            )
            for service in Service
            if service in wanted
        }
        bodies: dict[tuple[Form, int], Bodies] = {}
        for case in cases:
            size = case.form, case.n_rows
            if size not in bodies:
                bodies[size] = write_bodies(folder / "bodies", *size, NAME)
        courses = [
            _Course(case, targets[service], bodies[case.form, case.n_rows])
            for case in cases
            for service in case.services
        ]
        for course in courses:
            report(f"warm-up: {course.case.title}, {course.case.form}: {course.target.service}")
            course.begin()
        for turn in range(n_rounds):
            for course in courses:
                report(
                    f"round {turn + 1} of {n_rounds}: {course.case.title}, "
                    f"{course.case.form}: {course.target.service}"
                )
                course.go_on(seconds, turn)
    return [course.figure() for course in courses]
