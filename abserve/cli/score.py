"""``abserve score``: the rows of a file, through the endpoint that serves a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abserve.cli.completing import complete_deployments
from abserve.cli.context import Context, echo_json, json_option
from abserve.cli.lasting import ending_by_signals, say_now
from abserve.cli.progress import Progress
from abserve.errors import AbserveError, ScoringError

if TYPE_CHECKING:
    from types import ModuleType

    from abserve.scoring import Progress as Progressed

_FILE = click.Path(dir_okay=False, path_type=Path)
# Or a URL, which a Path would change.
_NAME = click.Path(dir_okay=False)


@click.command("score")
@click.argument("source", metavar="IN", type=_NAME)
@click.argument("target", metavar="OUT", type=_NAME)
@click.option(
    "--name",
    shell_complete=complete_deployments,
    help="The SeldonDeployment whose gateway is asked.",
)
@click.option(
    "--url", metavar="URL", help="The model's address: http://host/.../v2/models/MODEL[/infer]."
)
@click.option(
    "--keep", multiple=True, metavar="COLUMN", help="A column of IN that OUT has too; may repeat."
)
@click.option(
    "--rows",
    "rows_per_request",
    type=click.IntRange(1, 10_000),
    default=1000,
    show_default=True,
    help="Rows in one request.",
)
@click.option(
    "--in-flight",
    "most_in_flight",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="At most so many requests at a time; fewer while the server is busy.",
)
@click.option(
    "--patience",
    "patience_seconds",
    type=click.FloatRange(min=0),
    default=600,
    show_default=True,
    help="Seconds the server may be busy without one answer.",
)
@click.option(
    "--request-timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0.1),
    default=60,
    show_default=True,
    help="Seconds one request may take.",
)
@click.option(
    "--null-refused",
    is_flag=True,
    help="Rows that the model refuses have no answer, and the reason in the column 'refused'; "
    "otherwise the first one ends the run.",
)
@click.option(
    "--mixed-versions",
    is_flag=True,
    help="Rows may be answered by several versions, as they are while an experiment is going on.",
)
@click.option(
    "--work-folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where files of a store are copied to, and where a run that was ended goes on.",
)
@click.option(
    "--token-file",
    type=_FILE,
    envvar="ABSERVE_TOKEN_FILE",
    help="Holds the bearer token that the gateway asks for.",
)
@json_option
@click.pass_obj
def score_command(
    context: Context,
    source: str,
    target: str,
    name: str | None,
    url: str | None,
    keep: tuple[str, ...],
    rows_per_request: int,
    most_in_flight: int,
    patience_seconds: float,
    timeout_seconds: float,
    null_refused: bool,
    mixed_versions: bool,
    work_folder: Path | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Score the rows of IN, a Parquet or CSV file, into OUT, a Parquet file.

    The same command goes on where an earlier run of it was ended, however that came. IN and OUT
    may be URLs of a store, s3://bucket/in.parquet, if a --work-folder is named.
    """
    if (name is None) == (url is None):
        raise click.UsageError("name a SeldonDeployment with --name, or an address with --url")
    scoring = _scoring_package()
    files = _Files(scoring, source, target, work_folder)
    address = url or _address_of(context, name or "", mixed_versions=mixed_versions)
    endpoint = scoring.Endpoint(address, timeout_seconds, token_file)
    order = scoring.Order(
        files.fetched_source(),
        files.fetched_target(),
        tuple(dict.fromkeys(keep)),
        rows_per_request,
        most_in_flight,
        patience_seconds,
        null_refused,
        mixed_versions,
    )
    with (
        Progress(f"scoring {source}", to_stderr=True) as progress,
        ending_by_signals(lambda: say_now("ended; the same command goes on from here")),
    ):

        def report(now: "Progressed") -> None:
            busy = ", the server is busy" if now.n_busy else ""
            progress.show(f"{now.n_rows:,} rows, {now.n_in_flight} requests at a time{busy}")

        scored = scoring.score(order, endpoint, report)
        files.place_target(scored.target)
    if as_json:
        echo_json(scored.to_json() | {"target": target})
        return
    resumed = f", {scored.n_resumed:,} of them before this run" if scored.n_resumed else ""
    refused = f", {scored.n_refused:,} were refused" if scored.n_refused else ""
    versions = " and ".join(scored.versions) or "a version that did not say which"
    click.echo(
        f"{scored.n_rows:,} rows scored by {scored.model} {versions}{resumed}{refused}: {target}"
    )


@dataclass(frozen=True, slots=True)
class _Files:
    """IN and OUT as they were named, and where they lie on this machine."""

    scoring: "ModuleType"
    source: str
    target: str
    work_folder: Path | None

    def __post_init__(self) -> None:
        for name in (self.source, self.target):
            if self.scoring.is_url(name) and self.work_folder is None:
                raise click.UsageError(
                    f"{name} is of a store; name a folder on this machine with --work-folder, "
                    "where it is copied to, and where a run that was ended goes on"
                )

    def fetched_source(self) -> Path:
        if self.work_folder is None or not self.scoring.is_url(self.source):
            return Path(self.source)
        found: Path = self.scoring.fetch(self.source, self.work_folder / "in")
        return found

    def fetched_target(self) -> Path:
        """Return where OUT is to be written.

        One that is in the store already is fetched, unless a run wrote here since: what it was
        made of decides whether there is anything to do.
        """
        if self.work_folder is None or not self.scoring.is_url(self.target):
            return Path(self.target)
        folder = self.work_folder / "out"
        local: Path = self.scoring.local_of(self.target, folder)
        if not local.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self.scoring.fetch_if_there(self.target, folder)
        return local

    def place_target(self, local: Path) -> None:
        if self.scoring.is_url(self.target):
            self.scoring.place(local, self.target)


def _address_of(context: Context, name: str, *, mixed_versions: bool) -> str:
    """Return where the gateway takes the requests for a SeldonDeployment."""
    from abserve.promotion import read_status

    status = read_status(context.kubernetes(), name)
    asked = [each for each in status.predictors if each.weight and not each.shadow]
    if len(asked) > 1 and not mixed_versions:
        shares = ", ".join(f"{each.name} {each.weight} %" for each in asked)
        raise ScoringError(
            f"an experiment is going on in {name} ({shares}): rows would be answered by several "
            "versions, and each request would count in it. Wait for its end, ask one predictor's "
            "own Service with --url, or allow both with --mixed-versions"
        )
    if status.gateway is None:
        raise ScoringError(
            "the cluster does not say where its gateway is (ConfigMap abserve-gateway in "
            "kube-public, key url); name the model's address with --url"
        )
    return status.gateway


def _scoring_package() -> "ModuleType":
    """Import the scoring package, only when something is scored: pyarrow takes its time."""
    try:
        import abserve.scoring
    except ModuleNotFoundError as error:
        raise AbserveError(
            f"scoring needs {error.name}, which is not installed; "
            "install abserve with its 'train' and 'local' extras"
        ) from error
    return abserve.scoring
