"""An analysis as one page of HTML that needs nothing else: no scripts, no requests, no files.

It is the same page, byte for byte, whenever it is made of the same analysis.
"""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING

from abserve.analysis.analysis import Analysis, Finding
from abserve.analysis.questions import Comparison
from abserve.analysis.wording import (
    confidence,
    e_value,
    effect_in_words,
    headline,
    metric_in_words,
    points,
    progress,
    units_in_words,
)
from abserve.errors import ExperimentError
from abserve.experiment import SAMPLE_RATIO_BAR
from abserve.pages.style import SECURITY_POLICY, STYLE

if TYPE_CHECKING:
    from abserve.pages.plots import Plot


def report(
    analysis: Analysis,
    comparison: Comparison | None,
    of: str,
    sources: Mapping[str, str],
) -> str:
    """Write the page.

    Parameters
    ----------
    analysis : Analysis
        The answer.
    comparison : Comparison or None
        What it answers; None if the counts cannot be read.
    of : str
        What was analysed: a SeldonDeployment, or a file.
    sources : mapping of str to str
        What it was computed from: what each source is called, and which it was.

    Raises
    ------
    ExperimentError
        If matplotlib is not installed.
    """
    drawn = _pictures(comparison, analysis) if comparison else []
    body = chain(
        _header(analysis, of),
        _figures(drawn),
        _table(analysis),
        _explanations(analysis) if comparison else (),
        _sources(sources),
    )
    return _page(f"{of}: {analysis.decision.action}", body)


def _pictures(comparison: Comparison, analysis: Analysis) -> "list[Plot]":
    try:
        figures = import_module("abserve.analysis.figures")
    except ImportError as error:
        raise ExperimentError(
            f"a report needs the package matplotlib, which cannot be imported ({error}); install "
            "it: pip install 'abserve[report]'"
        ) from error
    return list(figures.pictures(comparison, analysis))


def _page(title: str, body: Iterable[str]) -> str:
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<meta http-equiv="Content-Security-Policy" content="{SECURITY_POLICY}">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}{_STYLE}</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            "</body>",
            "</html>",
            "",
        )
    )


def _header(analysis: Analysis, of: str) -> Iterator[str]:
    action = analysis.decision.action
    advice = headline(analysis).removeprefix(f"{action}: ")
    yield "<header>"
    yield f"<h1>{html.escape(of)}</h1>"
    yield f'<p class="decision {action.lower()}"><strong>{action}</strong> {advice}</p>'
    if analysis.claims:
        metric = html.escape(metric_in_words(analysis.metric))
        yield f'<p class="effect">{metric}: {html.escape(effect_in_words(analysis))}</p>'
        yield f"<p>{html.escape(units_in_words(analysis))}</p>"
    yield "</header>"
    yield '<section aria-labelledby="why">'
    yield f'<h2 id="why">Why {action}</h2>'
    yield "<ul>"
    for reason in analysis.decision.reasons:
        yield f"<li>{html.escape(reason)}</li>"
    yield "</ul>"
    yield "</section>"


def _figures(drawn: "Sequence[Plot]") -> Iterator[str]:
    if not drawn:
        return
    yield '<section aria-labelledby="over-time">'
    yield '<h2 id="over-time">Over time</h2>'
    yield '<div class="figures">'
    for picture in drawn:
        yield "<figure>"
        yield f"<figcaption>{html.escape(picture.title)}</figcaption>"
        yield picture.svg
        yield "</figure>"
    yield "</div>"
    yield "</section>"


def _table(analysis: Analysis) -> Iterator[str]:
    if not analysis.claims:
        return
    groups = [
        ("For a promotion, all of", analysis.claims),
        ("For a rollback, one of", analysis.harms),
    ]
    if analysis.sample_ratio is not None:
        groups.append(("Nothing may be concluded if ever", (analysis.sample_ratio,)))
    yield '<section aria-labelledby="evidence">'
    yield '<h2 id="evidence">Evidence</h2>'
    # Wide tables are moved sideways, by keyboard too.
    yield '<div class="wide" tabindex="0" role="region" aria-labelledby="evidence">'
    yield "<table>"
    yield "<thead><tr>"
    yield '<th scope="col">What can be shown of the candidate</th>'
    for heading in ("e-value", "needed", "on the way", "effect, points"):
        yield f'<th scope="col" class="number">{heading}</th>'
    yield "</tr></thead>"
    for heading, findings in groups:
        yield f'<tbody><tr><th scope="rowgroup" colspan="5">{heading}</th></tr>'
        for finding in findings:
            yield from _row(finding)
        yield "</tbody>"
    yield "</table>"
    yield "</div>"
    yield "</section>"


def _row(finding: Finding) -> Iterator[str]:
    done = int(100 * progress(finding))
    yield '<tr class="shown">' if finding.shown else "<tr>"
    yield f'<th scope="row">{html.escape(finding.statement)}</th>'
    yield f'<td class="number">{e_value(finding.log_evidence)}</td>'
    yield f'<td class="number">{e_value(finding.log_bar)}</td>'
    yield f'<td class="number"><span class="bar"><i style="width:{done}%"></i></span> {done} %</td>'
    effect = "" if finding.effect is None else points(finding.effect)
    yield f'<td class="number">{effect}</td>'
    yield "</tr>"


def _explanations(analysis: Analysis) -> Iterator[str]:
    yield '<section aria-labelledby="how">'
    yield '<h2 id="how">How to read it</h2>'
    yield "<dl>"
    for term, meaning in (
        (
            "effect",
            "How much higher the candidate's rate is than the baseline's, in percentage points. "
            "The two are compared only within a block, where the weights were the same for all "
            "units, so that a base rate that drifts while the weights change does not pass for "
            "an effect.",
        ),
        (
            "interval",
            f"With {confidence(analysis)} it holds the true effect at all times, however often one "
            "looks; an ordinary confidence interval does so at one moment only.",
        ),
        (
            "e-value",
            "Evidence that may be looked at after every block. If a statement is false, its "
            f"e-value ever reaches 1 / alpha = {1 / analysis.alpha:g} with a probability of at "
            f"most alpha = {analysis.alpha:g}. It is computed from counts alone, block by block.",
        ),
        (
            "promotion and rollback",
            "A promotion takes the evidence for all claims. A rollback takes that of one harm, so "
            f"its bar is {1 / analysis.alpha:g} times the number of harms.",
        ),
        (
            "sample ratio mismatch",
            "Evidence that the variants did not get their shares of the units. From "
            f"{SAMPLE_RATIO_BAR:,.0f} on, routing or counting is at fault, and what looks like an "
            "effect may be that fault.",
        ),
        (
            "on the way",
            "The evidence's logarithm as a share of the bar's: evidence multiplies, so that equal "
            "data add about equal steps.",
        ),
    ):
        yield f"<dt>{term}</dt><dd>{html.escape(meaning)}</dd>"
    yield "</dl>"
    yield "</section>"


def _sources(sources: Mapping[str, str]) -> Iterator[str]:
    yield '<section aria-labelledby="sources">'
    yield '<h2 id="sources">What it was computed from</h2>'
    yield '<dl class="sources">'
    for term, text in sources.items():
        yield f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>"
    yield "</dl>"
    yield "</section>"


_STYLE = """
:root {
  --promote: var(--good); --rollback: var(--bad); --continue: #1f5fbf; --invalid: #8a5a00;
}
@media screen and (prefers-color-scheme: dark) {
  :root { --continue: #8abaff; --invalid: #f0c04b; }
}
.decision { border-left: .4rem solid var(--colour); padding: .4rem .8rem;
  background: var(--panel); font-size: 1.15rem; margin-bottom: .75rem; }
.decision strong { color: var(--colour); margin-right: .4rem; }
.promote { --colour: var(--promote); } .rollback { --colour: var(--rollback); }
.continue { --colour: var(--continue); } .invalid { --colour: var(--invalid); }
.effect { font-size: 1.15rem; }
tbody th { min-width: 11rem; }
tbody th[scope=rowgroup] { font-weight: 600; padding-top: 1rem; }
.shown th, .shown td { font-weight: 600; }
.bar { display: inline-block; width: 5rem; height: .6rem; border: 1px solid var(--faint);
  border-radius: .3rem; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--line-1); }
@media (max-width: 40rem) {
  tbody th { min-width: 0; }
  .bar { display: none; }
}
@media print {
  .bar i { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
