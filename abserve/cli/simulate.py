"""``abserve simulate``: what an experiment would come to, before it starts."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from abserve.cli.context import echo_json, json_option
from abserve.cli.progress import Progress

if TYPE_CHECKING:
    from rich.table import Table

    from abserve.analysis.experiment_file import Experiment
    from abserve.analysis.outcomes import Duration, Outcome, Share, Simulation

_NOTHING = "-"
_RATE = click.FloatRange(0, 1)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@click.command("simulate")
@click.argument("experiment_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--baseline",
    type=_RATE,
    required=True,
    metavar="RATE",
    help="The primary metric of the baseline, as it is now.",
)
@click.option(
    "--candidate",
    type=_RATE,
    required=True,
    metavar="RATE",
    help="The primary metric of a candidate that is to be promoted.",
)
@click.option(
    "--units-per-hour",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    metavar="N",
    help="Units that both variants together get in an hour.",
)
@click.option(
    "--labelled",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the units on which feedback comes in time.",
)
@click.option(
    "--error-rate",
    type=_RATE,
    default=0.001,
    show_default=True,
    metavar="RATE",
    help="Share of requests that fail, in both variants.",
)
@click.option(
    "--rejection-rate",
    type=_RATE,
    default=0.001,
    show_default=True,
    metavar="RATE",
    help="Share of requests that are refused, in both variants.",
)
@click.option(
    "--within-share",
    type=_RATE,
    default=0.99,
    show_default=True,
    metavar="SHARE",
    help="Share of answers within the latency objective, in both variants.",
)
@click.option(
    "--classes",
    "n_classes",
    type=click.IntRange(min=2),
    default=2,
    show_default=True,
    metavar="N",
    help="Classes that are predicted, each equally often, by both variants.",
)
@click.option(
    "--runs",
    "n_runs",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="Experiments to simulate.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="The same seed gives the same answer.",
)
@json_option
def simulate_command(
    experiment_file: Path,
    baseline: float,
    candidate: float,
    units_per_hour: float,
    labelled: float,
    error_rate: float,
    rejection_rate: float,
    within_share: float,
    n_classes: int,
    n_runs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate the experiment of EXPERIMENT_FILE, to see what it would come to.

    Shows how often, and when, a candidate as assumed is promoted, and how often one is that just
    does not deserve it.
    """
    from abserve.analysis.assumptions import Assumptions
    from abserve.analysis.simulation import simulate
    from abserve.rollout.experiment import load_experiment

    experiment = load_experiment(experiment_file)
    assumed = Assumptions(
        baseline=baseline,
        candidate=candidate,
        units_per_hour=units_per_hour,
        labelled=labelled,
        error_rate=error_rate,
        rejection_rate=rejection_rate,
        within_share=within_share,
        n_classes=n_classes,
    )
    with Progress(f"{experiment.deployment}: simulating", to_stderr=True) as progress:
        simulation = simulate(experiment, assumed, n_runs, seed, progress.wait_for)
    if as_json:
        echo_json(simulation.to_json())
        return
    from rich.console import Console

    console = Console()
    click.echo(
        f"{experiment.deployment}: {n_runs} experiments each; {units_per_hour:g} units per hour, "
        f"feedback on {labelled:.1%} of them"
    )
    console.print(_outcomes_table(experiment, simulation))
    click.echo("\nwhat a promotion needs to be shown of each metric, as assumed")
    console.print(_claims_table(simulation.as_assumed))
    click.echo()
    for line in _remarks(experiment, simulation):
        click.echo(line)


def _outcomes_table(experiment: "Experiment", simulation: "Simulation") -> "Table":
    from abserve.analysis.outcomes import End

    both = simulation.as_assumed, simulation.at_the_border
    table = _table("", "as assumed", _border(experiment))
    metric = experiment.primary.metric
    table.add_row(f"{metric} of the baseline", *[f"{simulation.assumed.baseline:g}"] * 2)
    table.add_row(f"{metric} of the candidate", *(f"{each.candidate:g}" for each in both))
    for end, words in (
        (End.PROMOTED, "promoted"),
        (End.ROLLED_BACK, "rolled back for a harm"),
        (End.UNDECIDED, "undecided at the end"),
        (End.INVALID, "invalid"),
    ):
        table.add_row(words, *(_share(each.ends[end]) for each in both))
    table.add_row("duration, mean", *(_mean(each.duration) for each in both))
    table.add_row("duration, median", *(_time(each.duration.median) for each in both))
    for end, words in ((End.PROMOTED, "promoted"), (End.ROLLED_BACK, "rolled back")):
        durations = [each.durations[end] for each in both]
        table.add_row(f"  if {words}, mean", *map(_mean, durations))
        table.add_row(f"  if {words}, median", *(_time(d.median if d else None) for d in durations))
    return table


def _claims_table(outcome: "Outcome") -> "Table":
    table = _table("metric", "shown in time", "median time")
    for claim in outcome.claims:
        table.add_row(
            claim.metric.replace("_", " "), _share(claim.shown), _time(claim.median_seconds)
        )
    return table


def _remarks(experiment: "Experiment", simulation: "Simulation") -> list[str]:
    from abserve.analysis.outcomes import End

    promoted = simulation.as_assumed.ends[End.PROMOTED].value
    false = simulation.at_the_border.ends[End.PROMOTED].value
    if simulation.claim_is_true:
        remarks = [f"Power: {promoted:.1%} of candidates like the assumed one are promoted."]
    else:
        remarks = [
            f"What is claimed is not true of the assumed candidate: its promotions ({promoted:.1%})"
            " are false."
        ]
    remarks.append(
        f"False promotions: {false:.1%} of candidates that are {_border(experiment)}; expected at "
        f"most {experiment.alpha:.1%}."
    )
    for remedy in simulation.remedies:
        remarks.append(
            f"With {remedy.field}: {remedy.value} ({_time(remedy.value)}), "
            f"{_share(remedy.promoted)} would be promoted."
        )
    return remarks


def _border(experiment: "Experiment") -> str:
    margin = experiment.primary.margin
    return f"worse by {margin:g}" if margin else "no better"


def _table(first: str, *others: str) -> "Table":
    from abserve.cli.render import plain_table

    table = plain_table()
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _share(share: "Share") -> str:
    return f"{share.value:.1%} ± {share.standard_error:.1%}"


def _mean(duration: "Duration | None") -> str:
    if duration is None:
        return _NOTHING
    if duration.standard_error is None:
        return _time(duration.mean)
    return f"{_time(duration.mean)} ± {_time(duration.standard_error)}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return _NOTHING
    if seconds >= _DAY:
        return f"{seconds / _DAY:.1f} d"
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _MINUTE:.1f} min"
