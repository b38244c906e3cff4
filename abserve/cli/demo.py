"""``abserve demo``: the whole loop on this machine, on real parts, without a question asked."""

import math
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.status import Status
from rich.table import Table

from abserve.cli.context import Context, repository_option
from abserve.cli.render import milliseconds, share, status_table
from abserve.cli.training import MODELS, SETTINGS, Trainer, held_out_rows
from abserve.errors import AbserveError, ClusterError, VersionExistsError
from abserve.weights import Weights

if TYPE_CHECKING:
    from abserve.cli.traffic import Tally
    from abserve.promotion import DeploymentStatus, Kubernetes

MODEL = "iris"
MANIFESTS = Path("manifests/overlays/local") / MODEL
_VERSIONS = ("v1", "v2")
_TIMEOUT_SECONDS = 60.0

# Of 1,000 honest splits, 999 lie within this many standard errors.
_WIDE_STANDARD_ERRORS = 3.29


@click.command()
@repository_option
@click.option(
    "--requests",
    "n_requests",
    type=click.IntRange(min=100),
    default=2000,
    show_default=True,
    help="Requests to send at 90/10.",
)
@click.option("--keep", is_flag=True, help="Leave the cluster running at the end.")
@click.pass_obj
def demo(context: Context, repository: str | None, n_requests: int, keep: bool) -> None:
    """Train two versions, serve both, split the traffic, feed back, promote."""
    _Demo(context, repository).run(n_requests, keep=keep)


class _Demo:
    """The steps of the demo, each said before it is done."""

    def __init__(self, context: Context, repository: str | None) -> None:
        self._context = context
        # Of its own, so that the demo begins with nothing and what is in the usual one stays.
        self._home = replace(context, home_folder=context.home_folder / "demo").home
        self._repository = repository or self._home.repository.as_uri()
        self._console = Console(highlight=False)
        self._n_steps = 0
        self._began = time.monotonic()

    def run(self, n_requests: int, *, keep: bool) -> None:
        if not MANIFESTS.is_dir():
            raise AbserveError(
                f"{MANIFESTS} is not here; run the demo in the folder the repository was cloned to"
            )
        if self._home.cluster() is not None:
            raise ClusterError(
                f"the cluster of an earlier demo is still running in {self._home.folder}; stop it "
                f"with 'abserve --home {self._home.folder} down'"
            )
        shutil.rmtree(self._home.folder, ignore_errors=True)
        self._train()
        with self._cluster(keep=keep):
            cluster = self._apply()
            self._compare(cluster, n_requests)
            self._shift(cluster)
            self._promote(cluster)
        seconds = time.monotonic() - self._began
        self._console.print(f"\n[bold green]done[/] in {seconds:.0f} s\n")
        self._say_how_to_repeat(keep=keep)

    def _train(self) -> None:
        from abserve.cli.render_training import evaluation_in_words

        self._step(f"train two versions of {MODEL} and publish them to {self._repository}")
        trainer = Trainer(MODELS, SETTINGS, self._repository)
        definition = trainer.definition(MODEL)
        for version, before in zip(_VERSIONS, (None, *_VERSIONS), strict=False):
            with self._console.status(f"{version}: starting") as shown:
                try:
                    published = trainer.train(
                        definition, version, version, before, partial(_show, shown, version)
                    )
                    said = evaluation_in_words(published.metadata)
                except VersionExistsError:
                    said = "published before; versions are immutable, so it serves as it is"
            self._detail(f"{version}: {said}")

    @contextmanager
    def _cluster(self, *, keep: bool) -> Iterator[None]:
        from abserve.cluster import start_in_background, stop_cluster

        self._step("start a local cluster: model repository endpoint, Kubernetes API, gateway")
        try:
            start_in_background(self._home, ["--repository", self._repository], self._detail)
            yield
            if not keep:
                self._step("shut down")
        finally:
            if not keep:
                stop_cluster(self._home, self._detail)

    def _apply(self) -> "Kubernetes":
        self._step("apply the SeldonDeployment: v1 is the baseline, v2 the candidate, 90/10")
        self._kubectl("apply", "-k", str(MANIFESTS))
        with self._console.status("waiting until both versions are ready"):
            self._kubectl("wait", "--for=condition=Ready", f"sdep/{MODEL}", "--timeout=60s")
        self._kubectl("get", "sdep")
        return self._context.kubernetes_of(self._home)

    def _compare(self, cluster: "Kubernetes", n_requests: int) -> None:
        from abserve.cli.traffic import Traffic
        from abserve.promotion import read_status

        status = read_status(cluster, MODEL)
        if status.gateway is None:
            raise ClusterError("the cluster does not say where its gateway is")
        rows, labels = held_out_rows(MODEL, MODELS)
        self._traffic = Traffic(status.gateway, rows, labels)
        self._step(
            f"send {n_requests:,} requests made of {len(rows)} held-out rows, each followed by "
            "its ground truth"
        )
        with self._progress() as progress:
            task = progress.add_task("requests", total=n_requests)
            tally = self._traffic.send(n_requests, lambda: progress.advance(task))
        self._refuse_failures(tally)
        status = read_status(cluster, MODEL)
        self._console.print(_split_table(status, tally))
        self._console.print(status_table(status))

    def _shift(self, cluster: "Kubernetes") -> None:
        from abserve.promotion import set_weights

        self._step("move to 50/50 while requests flow")
        with self._traffic.flowing() as tally:
            self._wait_for_requests(tally, 200)
            set_weights(
                cluster, MODEL, Weights({"baseline": 50, "candidate": 50}), _TIMEOUT_SECONDS
            )
            before = tally.counts()
            self._wait_for_requests(tally, tally.n_sent + 400)
        self._refuse_failures(tally)
        since = {version: n - before.get(version, 0) for version, n in tally.counts().items()}
        shown = ", ".join(f"{v} {n / sum(since.values()):.1%}" for v, n in sorted(since.items()))
        self._detail(f"{tally.n_sent:,} requests meanwhile, 0 failed; since the change: {shown}")

    def _promote(self, cluster: "Kubernetes") -> None:
        from abserve.promotion import promote, read_status

        self._step("promote the candidate while requests flow")
        with self._traffic.flowing() as tally:
            promote(cluster, MODEL, self._detail, _TIMEOUT_SECONDS)
            self._wait_for_requests(tally, tally.n_sent + 200)
        self._refuse_failures(tally)
        self._detail(f"{tally.n_sent:,} requests meanwhile, 0 failed")
        self._console.print(status_table(read_status(cluster, MODEL)))

    def _wait_for_requests(self, tally: "Tally", n_requests: int) -> None:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while tally.n_sent < n_requests:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"only {tally.n_sent} of {n_requests} requests were answered within "
                    f"{_TIMEOUT_SECONDS:g} s; the gateway's log is "
                    f"{self._home.logs / 'envoy.log'}"
                )
            time.sleep(0.01)

    @staticmethod
    def _refuse_failures(tally: "Tally") -> None:
        if tally.failures:
            raise ClusterError(
                f"{len(tally.failures)} of {tally.n_sent} requests failed, expected none; "
                f"the first: {tally.failures[0]}"
            )

    def _kubectl(self, *arguments: str) -> None:
        from abserve.cluster import program

        self._console.print(f"  $ kubectl {shlex.join(arguments)}", style="cyan")
        done = subprocess.run(
            [program("kubectl"), *arguments],
            env={**os.environ, "KUBECONFIG": str(self._home.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
        )
        for line in (done.stdout + done.stderr).splitlines():
            self._detail(line)
        if done.returncode != 0:
            raise ClusterError(f"kubectl {shlex.join(arguments)} exited with {done.returncode}")

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            SpinnerColumn(),
            console=self._console,
        )

    def _step(self, what: str) -> None:
        self._n_steps += 1
        self._console.print(f"\n[bold]{self._n_steps}. {what}[/]", soft_wrap=True)

    def _detail(self, what: str) -> None:
        self._console.print(f"  {what}", markup=False, soft_wrap=True)

    def _say_how_to_repeat(self, *, keep: bool) -> None:
        home = self._home if keep else self._context.home
        versions = [f"abserve train {MODEL} --version {version}" for version in _VERSIONS]
        start = [] if keep else [*versions, "abserve up --detach"]
        self._console.print("The same by hand:" if not keep else "Go on by hand:")
        for line in [
            f"export PATH=$PWD/.venv/bin:$PATH KUBECONFIG={home.kubeconfig}",
            *([f"export ABSERVE_HOME={home.folder}"] if keep else []),
            *start,
            f"kubectl apply -k {MANIFESTS}",
            f"kubectl wait --for=condition=Ready sdep/{MODEL}",
            f"abserve status {MODEL}",
            f"abserve weights {MODEL} baseline=50 candidate=50",
            f"abserve promote {MODEL}",
            "abserve down",
        ]:
            self._console.print(f"  {line}", style="cyan", soft_wrap=True)


def _show(shown: Status, version: str, _step: str, what: str) -> None:
    shown.update(f"{version}: {what}")


def _split_table(status: "DeploymentStatus", tally: "Tally") -> Table:
    """Return the configured split beside the observed one, with each version's latency."""
    table = Table(
        title=f"{tally.n_sent:,} requests, {len(tally.failures)} failed", box=None, pad_edge=False
    )
    table.title_justify = "left"
    for heading in ("predictor", "version"):
        table.add_column(heading)
    for heading in ("configured", "observed", "expected within", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for predictor in status.predictors:
        version = predictor.version or "?"
        configured = predictor.weight / 100
        slack = _WIDE_STANDARD_ERRORS * math.sqrt(configured * (1 - configured) / tally.n_answered)
        table.add_row(
            predictor.name,
            version,
            f"{predictor.weight} %",
            share(tally.share(version)),
            f"{share(configured - slack)} .. {share(configured + slack)}",
            milliseconds(tally.quantile(version, 0.5)),
            milliseconds(tally.quantile(version, 0.99)),
        )
    return table
