"""One attempt to train a model again and to let it compete with the version that serves.

::

    room for a candidate? ──> drift, if asked for? ──> train, judge, publish ──> open an experiment
       no: refused, or          no: nothing to do         no: nothing changes
       nothing to do

What is published and cannot be served stays published, and is told.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from abserve.cli.context import Context
from abserve.cli.progress import Progress
from abserve.cli.training import Trainer, newest_described
from abserve.errors import (
    ExperimentError,
    GateError,
    KubernetesError,
    ManifestError,
    RepositoryError,
    UnderWayError,
)

if TYPE_CHECKING:
    import training
    from abserve.promotion import Kubernetes
    from abserve.promotion.candidate import Baseline
    from abserve.rollout.prometheus_api import Access
    from abserve.telemetry import Drift

FIRST_WEIGHT = 10
"""The candidate's, in percent, where no experiment file says more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt; `trained` is the version, if one was."""

    json: Mapping[str, Any]
    lines: tuple[str, ...]
    trained: "training.Published | None" = None


@dataclass(frozen=True, slots=True)
class Retraining:
    """What is to be done at each attempt: the options of the command.

    `model` is trained as `like` describes, and served by the SeldonDeployment `name`; with
    `published`, nothing is trained. `bar` is what the drift of a feature has to exceed, read from
    `prometheus` or the replicas. With `if_idle`, an experiment that is going on is no error.
    """

    context: Context
    model: str
    name: str
    like: str | None
    published: str | None
    bar: float | None
    if_idle: bool
    experiment_file: Path | None
    trainer: Trainer
    prometheus: "Access | None"
    timeout_seconds: float
    as_json: bool

    def attempt(self) -> Answer:
        """Do it once, if there is room for a candidate, and drift where that is asked for.

        Raises
        ------
        AbserveError
            If anything failed; the message says what is published and what serves.
        """
        from abserve.promotion.candidate import find_baseline

        cluster = self.context.kubernetes()
        answer: dict[str, Any] = {
            "model": self.model,
            "name": self.name,
            "namespace": cluster.namespace,
            "opened": False,
        }
        try:
            baseline = find_baseline(cluster.get(self.name), self.model)
        except UnderWayError as error:
            if not self.if_idle:
                raise
            return Answer(answer | {"under_way": str(error)}, (f"nothing is trained: {error}",))
        weight, candidate = self._first_weight()
        self._check_repository(baseline)
        answer["serving"] = baseline.version
        if self.bar is not None:
            drift = self._drift(cluster, baseline)
            answer["drift"] = {"n_rows": drift.n_rows if drift else 0, **_largest(drift)}
            said = _drift_in_words(drift, baseline, self.bar)
            if not answer["drift"].get("index", 0.0) > self.bar:
                return Answer(answer, (f"{said}; nothing is trained",))
            click.echo(said, err=self.as_json)
        trained = None if self.published else self._train(baseline)
        version = trained.metadata.version if trained else str(self.published)
        self._open(cluster, baseline, version, weight, candidate)
        console, requests = self._places(cluster, baseline)
        answer |= {
            "opened": True,
            "version": version,
            "model_uri": baseline.uri_of(version),
            "weight": weight,
            "console": console,
            "gateway": requests,
        }
        lines = (
            f"{self.name}: {version} has {weight} % of the requests, beside {baseline.version}",
            *([f"inference requests go to {requests}"] if requests else []),
            *([f"console: {console}"] if console else []),
            f"'abserve status {self.name}' shows both, 'abserve rollout {self.name}' decides",
        )
        return Answer(answer, lines, trained)

    def _first_weight(self) -> tuple[int, str]:
        """Return the candidate's first weight, and how to call it where it is none yet."""
        from abserve.rollout.experiment import load_experiment
        from abserve.seldon import CANDIDATE

        file = self.experiment_file or Path("manifests", "base", self.name, "experiment.yaml")
        if self.experiment_file is None and not file.exists():
            return FIRST_WEIGHT, CANDIDATE
        experiment = load_experiment(file)
        if experiment.deployment != self.name:
            raise ExperimentError(
                f"{file} is about SeldonDeployment {experiment.deployment!r}; expected "
                f"{self.name!r}: name another file with --experiment"
            )
        return experiment.weight_steps[0], experiment.candidate

    def _check_repository(self, baseline: "Baseline") -> None:
        """Check, as far as can be known, that the cluster reads what is published here.

        Raises
        ------
        RepositoryError
            If it lacks the version that serves, or the one to open the experiment with.
        """
        repository = self.trainer.repository
        if not repository.holds(self.model, baseline.version):
            raise RepositoryError(
                f"{repository.url} does not hold {self.model} {baseline.version}, which serves "
                f"from {baseline.uri_of(baseline.version)}; expected the repository that the "
                "cluster reads: name it with --repository"
            )
        if self.published and not repository.holds(self.model, self.published):
            raise RepositoryError(
                f"{repository.url} holds {', '.join(repository.versions(self.model))} of "
                f"{self.model}, not {self.published!r}; name one of them"
            )
        if self.published == baseline.version:
            raise ManifestError(
                f"{baseline.predictor} of SeldonDeployment {self.name!r} serves {self.published} "
                "already; expected another version to compare it with"
            )

    def _drift(self, cluster: "Kubernetes", baseline: "Baseline") -> "Drift | None":
        if self.prometheus is None:
            from abserve.promotion.candidate import read_drift

            return read_drift(cluster, baseline)
        from time import time

        from abserve.rollout import drift

        return drift.read_drift(self.prometheus, cluster.namespace, baseline, time())

    def _train(self, baseline: "Baseline") -> "training.Published":
        from rich.console import Console

        from abserve.cli.render_training import TrainingProgress, evaluation_in_words, gates_table

        definition = self.trainer.definition(self.model)
        described_as = newest_described(definition, self.like)
        title = f"{self.model} like {described_as}"
        try:
            with TrainingProgress(title, to_stderr=self.as_json) as progress:
                published = self.trainer.train(
                    definition, described_as, None, baseline.version, progress.report
                )
        except GateError as error:
            Console(stderr=True).print(gates_table(error.outcomes))
            raise
        if not self.as_json:
            metadata = published.metadata
            click.echo(f"{metadata.model} {metadata.version}: {evaluation_in_words(metadata)}")
            click.echo(f"published to {published.url}")
        return published

    def _open(
        self,
        cluster: "Kubernetes",
        baseline: "Baseline",
        version: str,
        weight: int,
        candidate: str,
    ) -> None:
        from abserve.promotion.candidate import add_candidate

        with (
            _explaining_what_is_left(self.model, version),
            Progress(f"{self.name}: opening an experiment", to_stderr=self.as_json) as progress,
        ):
            add_candidate(
                cluster,
                baseline,
                version,
                weight,
                progress.say,
                self.timeout_seconds,
                progress.wait_for,
                candidate=candidate,
            )

    def _places(self, cluster: "Kubernetes", baseline: "Baseline") -> tuple[str | None, str | None]:
        """Return the URLs of the console and of inference requests, as far as they are known."""
        from abserve.promotion import gateway_of
        from abserve.seldon import infer_path

        running = self.context.home.cluster()
        own = running is not None and running.api_url == cluster.server
        gateway = gateway_of(cluster)
        path = infer_path(cluster.namespace, self.name, baseline.model)
        return (
            running.console_url if running and own else None,
            gateway.rstrip("/") + path if gateway else None,
        )


def _largest(drift: "Drift | None") -> dict[str, Any]:
    if drift is None or not drift.by_feature:
        return {}
    feature = max(drift.by_feature, key=lambda each: drift.by_feature[each])
    return {"feature": feature, "index": drift.by_feature[feature]}


def _drift_in_words(drift: "Drift | None", baseline: "Baseline", bar: float) -> str:
    if drift is None:
        return (
            f"{baseline.version}, which serves, has answered no rows yet, or says nothing of those "
            "it was fitted on: no drift is known"
        )
    if not drift.by_feature:
        return (
            f"{baseline.version}, which serves, has answered {drift.n_rows} rows, too few to "
            "measure drift"
        )
    largest = _largest(drift)
    above = "above" if largest["index"] > bar else "not above"
    return (
        f"drift of {largest['feature']} is {largest['index']:.3g}, {above} {bar:g}, by the latest "
        f"{drift.n_rows} rows that {baseline.version} answered"
    )


@contextmanager
def _explaining_what_is_left(model: str, version: str) -> Iterator[None]:
    try:
        yield
    except (KubernetesError, ManifestError) as error:
        raise KubernetesError(
            f"{model} {version} is published, and no experiment is open with it: {error}. "
            f"'abserve retrain {model} --published {version}' opens one"
        ) from error
