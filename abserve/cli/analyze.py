"""``abserve analyze``: what the counts say now, of a rollout, a SeldonDeployment or a file."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from abserve.cli.completing import complete_deployments
from abserve.cli.context import Context, echo_json, json_option
from abserve.cli.prometheus_options import prometheus_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abserve.analysis import Analysis, Comparison
    from abserve.rollout.analysing import DeploymentAnalysis
    from abserve.rollout.prometheus_api import Access

# The experiment goes on: nothing failed, and nothing is decided.
_CONTINUE = 3

_ALPHA, _MARGIN = 0.05, 0.0

_OF_PROMETHEUS = (
    "--prometheus",
    "--prometheus-selector",
    "--prometheus-token-file",
    "--prometheus-ca-file",
    "--prometheus-recent",
)

_STDIN = "-"
_FILE = click.Path(path_type=Path)


@click.command("analyze")
@click.argument("name", required=False, shell_complete=complete_deployments)
@click.option(
    "--experiment",
    type=_FILE,
    metavar="FILE",
    help="What is to be shown: by default manifests/base/NAME/experiment.yaml.",
)
@click.option(
    "--log",
    type=_FILE,
    metavar="FILE",
    help="Audit log of a rollout: by default the latest one of NAME in --home.",
)
@prometheus_options
@click.option(
    "--counts",
    metavar="FILE",
    help="Analyze a CSV file of counts per block ('-' reads stdin) instead of NAME.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help=f"With --counts: how probable a wrong promotion may be.  [default: {_ALPHA}]",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, max_open=True),
    help="With --counts: show only that the candidate is not worse by this much, as 0.01.",
)
@json_option
@click.option(
    "--report",
    "report_file",
    type=_FILE,
    metavar="FILE",
    help="Write a page with plots over time (HTML) to this file as well.",
)
@click.pass_context
def analyze_command(
    click_context: click.Context,
    /,
    name: str | None,
    counts: str | None,
    alpha: float | None,
    margin: float | None,
    as_json: bool,
    report_file: Path | None,
    experiment: Path | None,
    log: Path | None,
    prometheus: "Access | None",
) -> None:
    """Say whether the candidate of the SeldonDeployment NAME is better, as far as is known now.

    The answer may be read, and acted on, at any time. The exit code is 0 if there is a decision
    (PROMOTE, ROLLBACK or INVALID), and 3 if there is none yet (CONTINUE).
    """
    given = _given_options(click_context)
    _check_usage(name, counts, given)
    if counts is not None:
        answer = _of_counts(counts, alpha or _ALPHA, margin or _MARGIN)
    elif log is not None:
        answer = _of_log(log, str(name))
    else:
        use_log = given.isdisjoint({"--experiment", *_OF_PROMETHEUS})
        context: Context = click_context.obj
        answer = _of_deployment(
            context, str(name), experiment=experiment, prometheus=prometheus, use_log=use_log
        )
    if report_file is not None:
        _write_report(report_file, answer)
    if as_json:
        echo_json(answer.json)
    else:
        _show(answer, report_file)
    click_context.exit(_CONTINUE if answer.analysis.decision.action == "CONTINUE" else 0)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What to tell: `of` is what was analysed, `sources` what that was computed from.

    `comparison` is None if the counts cannot be read. `is_file` says that `of` is all there is to
    say of the sources.
    """

    of: str
    analysis: "Analysis"
    comparison: "Comparison | None"
    sources: "Mapping[str, str]"
    json: "Mapping[str, Any]"
    is_file: bool


def _given_options(context: click.Context) -> set[str]:
    """Return the options that stand on the command line, and not those that the environment has."""
    return {
        option.opts[0]
        for option in context.command.params
        if context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    }


def _check_usage(name: str | None, counts: str | None, given: set[str]) -> None:
    if (name is None) == (counts is None):
        raise click.UsageError(
            "name a SeldonDeployment, or a file of counts with --counts"
            if name is None
            else f"{name!r} and --counts are both given: leave out one of them"
        )
    if counts is None:
        for option in sorted(given & {"--alpha", "--margin"}):
            raise click.UsageError(
                f"{option} goes with --counts: an experiment file says what it is for {name!r}"
            )
    else:
        for option in sorted(given & {"--experiment", "--log", *_OF_PROMETHEUS}):
            raise click.UsageError(f"{option} goes with NAME: --counts needs nothing but the file")
    if "--log" in given:
        for option in sorted(given & {"--experiment", *_OF_PROMETHEUS}):
            raise click.UsageError(
                f"--log and {option} are both given: a log holds the experiment and its counts"
            )


def _of_counts(file: str, alpha: float, margin: float) -> _Answer:
    from abserve.analysis import Analysis, compare_counts, conclude, read_counts_file
    from abserve.experiment import Rules

    name = "stdin" if file == _STDIN else file
    content = _content(file)
    counts, rules = read_counts_file(content, name), Rules(alpha)
    if counts.faults:
        comparison = None
        analysis = Analysis.invalid("success_rate", rules, counts.faults)
    else:
        comparison = compare_counts(counts.blocks, rules, margin)
        analysis = conclude(comparison)
    sources = {
        "counts": name,
        "SHA-256": hashlib.sha256(content).hexdigest(),
        "claim": f"not worse by {margin:g} or more" if margin else "better",
        "alpha": f"{alpha:g}",
    }
    of = Path(name).name
    return _Answer(of, analysis, comparison, sources, analysis.to_json(), is_file=True)


def _content(file: str) -> bytes:
    from abserve.errors import ExperimentError

    if file == _STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ExperimentError(
            f"{file} cannot be read ({error.strerror}); expected a CSV file of counts per block"
        ) from error


def _of_log(log: Path, name: str) -> _Answer:
    from abserve.rollout.analysing import analyse_log

    return _answered(analyse_log(log, name))


def _of_deployment(
    context: Context,
    name: str,
    *,
    experiment: Path | None,
    prometheus: "Access | None",
    use_log: bool,
) -> _Answer:
    import time

    from abserve.rollout.analysing import analyse_deployment

    cluster, home = context.kubernetes(), context.home
    running = home.cluster()
    # The recording is of the local cluster, and says nothing of another one.
    own = running is not None and running.api_url == cluster.server
    return _answered(
        analyse_deployment(
            cluster,
            name,
            logs=home.folder if use_log else None,
            now=time.time(),
            experiment_file=experiment,
            prometheus=prometheus,
            recording=home.recording if own else None,
        )
    )


def _answered(found: "DeploymentAnalysis") -> _Answer:
    return _Answer(
        f"{found.name} in {found.namespace}",
        found.analysis,
        found.comparison,
        found.sources,
        found.to_json(),
        is_file=False,
    )


def _write_report(file: Path, answer: _Answer) -> None:
    from abserve.analysis.report import report
    from abserve.errors import ExperimentError

    page = report(answer.analysis, answer.comparison, answer.of, answer.sources)
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ExperimentError(
            f"the report {file} cannot be written ({error.strerror}); name another file"
        ) from error


def _show(answer: _Answer, report_file: Path | None) -> None:
    from rich.console import Console

    from abserve.cli.render_analysis import analysis_lines, sources_table

    console = Console()
    for line in analysis_lines(answer.analysis, answer.of):
        console.print(line)
    if not answer.is_file:
        console.print()
        console.print(sources_table(answer.sources))
    if report_file is not None:
        click.echo(f"\nthe report is {report_file}")
