"""``make bench``: one command, one table, ratios within one run.

The same fitted model is served by each service, and each gets the same requests: by wrk over REST,
by h2load over gRPC. Absolute figures are those of the machine and the minute; the ratios are what
is claimed. A goal that is missed is reported, and is no error. All of it takes some 20 minutes.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from abserve.errors import AbserveError
from benchmarks.cases import CASES, FOREST, LINEAR, MANY_MODELS, MANY_REQUESTS, chosen
from benchmarks.goals import Results, judge
from benchmarks.load import require_generators
from benchmarks.memory import measure_many_models, measure_many_requests
from benchmarks.models import ROOT, prepare
from benchmarks.plot import draw
from benchmarks.report import (
    LEGEND,
    as_json,
    as_markdown,
    figures_table,
    goals_table,
    remarks,
    write_page,
)
from benchmarks.rounds import Figure, Figures, measure

RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "speed.md"

_KEYS = (*(case.key for case in CASES), MANY_MODELS, MANY_REQUESTS)
_WIDTH = 130
# Processes that ran or waited to, on average over the last minute.
_BUSY = 0.5


def main() -> None:
    """Run the benchmark; print its tables and write its figures."""
    options = _options()
    # In a narrower terminal lines break, which is better than columns that are cut.
    console = Console(width=max(Console().width, _WIDTH))
    # Ended from outside, too, it ends the services it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))
    try:
        require_generators()
        keys = chosen(_KEYS, options.only)
        if not keys:
            raise AbserveError(f"no case is like {options.only}; they are: {', '.join(_KEYS)}")
        with tempfile.TemporaryDirectory() as folder, console.status("") as status:
            results = run(keys, options, Path(folder), status.update)
        _show(results, console)
        _write(results, options, console)
    except AbserveError as error:
        sys.exit(f"bench: {error}")


def run(
    keys: list[str], options: argparse.Namespace, folder: Path, say: Callable[[str], None]
) -> Results:
    """Measure what `keys` name. A part that cannot be measured is a problem of the results."""
    figures: list[Figure] = []
    problems: list[str] = []
    many_models = many_requests = None
    load, _, _ = os.getloadavg()
    if load > _BUSY:
        problems.append(f"the machine was busy before it began (load {load:.1f}): expect noise")
    say("fitting the models")
    fitted = {model: prepare(folder / model, model) for model in (LINEAR, FOREST)}
    for model, prepared in fitted.items():
        cases = [case for case in CASES if case.model == model and case.key in keys]
        if cases:
            with _noted(problems, model):
                figures += measure(
                    cases, prepared, folder / model, options.rounds, options.seconds, say
                )
    if MANY_MODELS in keys:
        with _noted(problems, MANY_MODELS):
            many_models = measure_many_models(fitted[LINEAR], folder, options.seconds, say)
    if MANY_REQUESTS in keys:
        with _noted(problems, MANY_REQUESTS):
            many_requests = measure_many_requests(fitted[LINEAR], folder, options.requests, say)
    return Results(
        figures=Figures({(figure.case, figure.service): figure for figure in figures}),
        many_models=many_models,
        many_requests=many_requests,
        problems=tuple(problems),
    )


@contextmanager
def _noted(problems: list[str], part: str) -> Iterator[None]:
    """Let a part fail on its own: what the others found took minutes."""
    try:
        yield
    except AbserveError as error:
        problems.append(f"{part}: {error}")


def _show(results: Results, console: Console) -> None:
    if results.figures.of:
        console.print(figures_table(results.figures))
        console.print(f"[dim]{LEGEND}")
        console.print()
    console.print(goals_table(judge(results)))
    for remark in remarks(results):
        console.print(remark, style="dim", markup=False)


def _write(results: Results, options: argparse.Namespace, console: Console) -> None:
    """Write a whole run to its places, a part of one only where it is told to."""
    folder = options.results
    if folder is None and options.only:
        return
    folder = folder or RESULTS
    document = as_json(results, options.rounds, options.seconds)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written: {folder / 'bench.json'}")
    if results.figures.of:
        draw(results.figures, folder / "bench.svg")
        console.print(f"written: {folder / 'bench.svg'}")
    if folder == RESULTS:
        write_page(PAGE, as_markdown(document, results))
        console.print(f"written: {PAGE}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=_at_least_one, default=2, help="per service, case and round (default 2)"
    )
    parser.add_argument("--rounds", type=_at_least_one, default=5, help="(default 5)")
    parser.add_argument(
        "--requests",
        type=_at_least_one,
        default=1_000_000,
        metavar="N",
        help="for the memory's growth (default 1000000)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="CASE",
        help=f"cases such as {_KEYS[0]}, parts or patterns of them (json, 'linear/*/1024'), "
        f"{MANY_MODELS}, {MANY_REQUESTS}; prints, and writes nothing unless --results is given",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="write there, and leave benchmarks/results/ and docs/speed.md as they are",
    )
    return parser.parse_args()


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return number


if __name__ == "__main__":
    main()
