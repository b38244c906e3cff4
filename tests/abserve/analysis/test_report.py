import re
import sys

import numpy as np
import pytest

from abserve.analysis import Analysis, Comparison, analyse, compare, compare_counts, conclude
from abserve.analysis.figures import looks_at, pictures, thinned
from abserve.analysis.report import report
from abserve.errors import ExperimentError
from abserve.experiment import Blocks, Rules
from tests.abserve.analysis.values import (
    BETTER,
    DRIFT,
    ERRORS,
    EVEN,
    LATENCY,
    counts,
    experiment,
    observed,
    repeated,
)
from tests.html_page import Page

NASTY = "<script>alert('\"&')</script>"


def asked(n_blocks: int = 12) -> Comparison:
    rng = np.random.default_rng(5)
    k = rng.binomial(500, [[0.8], [0.84]], (2, n_blocks))
    return compare_counts(Blocks.from_columns(50, 500, k[0], 500, k[1]), Rules(), 0.01)


def page(comparison: Comparison, of: str = "counts.csv") -> str:
    return report(conclude(comparison), comparison, of, {"counts": "counts.csv"})


def test_a_page_names_what_it_is_of_and_says_what_follows() -> None:
    text = page(asked())
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert "<title>counts.csv: PROMOTE</title>" in text
    assert "<h1>counts.csv</h1>" in text
    assert "<strong>PROMOTE</strong> the candidate may take the baseline's place" in text
    assert "at all times with 95 %" in text


def test_a_page_is_whole_html() -> None:
    Page(page(asked())).check_whole()


def test_a_page_needs_nothing_from_elsewhere() -> None:
    text = page(asked())
    Page(text).check_self_contained()
    # Names of the SVG standard are no addresses that anything is asked of.
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/1999/xlink"}


def test_the_same_analysis_makes_the_same_page() -> None:
    assert page(asked()) == page(asked())


def test_each_plot_says_in_words_what_it_shows() -> None:
    found = Page(page(asked()))
    assert [(each["role"], bool(each["aria-label"])) for each in found.of("svg")] == [
        ("img", True)
    ] * 5
    assert "The effect is +" in str(found.of("svg")[0]["aria-label"])


def test_a_table_has_headings_for_its_columns_groups_and_rows() -> None:
    scopes = [each["scope"] for each in Page(page(asked())).of("th")]
    assert scopes.count("col") == 5
    assert scopes.count("rowgroup") == 3
    assert scopes.count("row") == 3


def test_colours_are_those_of_light_and_dark_pages() -> None:
    Page(page(asked())).check_colours()


def test_whatever_stands_in_a_file_is_text() -> None:
    stated = experiment(guardrails=[DRIFT])
    known = {
        "accuracy": counts(*BETTER),
        f"prediction_drift:{NASTY}": counts(200, 210),
    }
    seen = observed(*[known] * 3, classes=(NASTY,), missing=(NASTY,))
    comparison = compare(stated, seen)
    text = report(conclude(comparison), comparison, NASTY, {NASTY: NASTY})
    found = Page(text)
    assert found.of("script") == []
    assert found.texts.count(NASTY) >= 4


def test_dollars_in_a_name_are_no_formula() -> None:
    stated = experiment(guardrails=[DRIFT])
    known = {"accuracy": counts(*EVEN), "prediction_drift:$a$": counts(200, 210)}
    comparison = compare(stated, observed(*[known] * 3, classes=("$a$",)))
    text = report(conclude(comparison), comparison, "iris", {})
    told = [each for each in Page(text).texts if each.startswith("its share of predictions '$a$'")]
    assert len(told) == 8


def test_a_page_of_an_experiment_tells_every_guardrail() -> None:
    stated = experiment(guardrails=[ERRORS, LATENCY])
    known = {
        "accuracy": counts(*EVEN),
        "error_rate": counts(3, 4),
        "latency": counts(490, 489),
    }
    seen = observed(*[known] * 5)
    text = report(analyse(stated, seen), compare(stated, seen), "iris in shop", {})
    assert "its error rate is less than 0.01 above the baseline&#x27;s" in text
    assert "its share of answers within 0.05 s is" in text
    assert "minutes since the first block began" in text


def test_one_block_is_enough_for_a_page() -> None:
    assert len(Page(page(asked(1))).of("svg")) == 5


def test_without_blocks_there_are_no_plots() -> None:
    text = page(compare_counts(Blocks.of([]), Rules()))
    assert Page(text).of("svg") == []
    assert "nothing was counted" in text


def test_of_units_without_outcomes_yet_there_are_plots_of_units() -> None:
    stated = experiment()
    seen = observed({}, {})
    titles = [each.title for each in pictures(compare(stated, seen), analyse(stated, seen))]
    assert titles == ["Evidence of a sample ratio mismatch", "Units and weights"]


def test_counts_that_cannot_be_read_make_a_page_that_says_why() -> None:
    text = report(
        Analysis.invalid("success_rate", Rules(), ("line 2: <no> number",)), None, "counts.csv", {}
    )
    assert "line 2: &lt;no&gt; number" in text
    assert Page(text).of("svg") == []
    assert Page(text).of("table") == []


def test_blocks_that_contradict_each_other_leave_a_gap() -> None:
    blocks = Blocks.from_columns(50, [1, 1000, 100], [1, 475, 50], [1000, 100, 100], [514, 6, 99])
    assert "no one difference fits all blocks" in page(compare_counts(blocks, Rules()))


def test_looks_are_at_most_200_and_the_last_is_at_the_end() -> None:
    for n_blocks in (1, 2, 7, 199, 200, 201, 5000, 100_000):
        looks = looks_at(n_blocks)
        assert looks == sorted(set(looks))
        assert looks[0] >= 1
        assert looks[-1] == n_blocks
        assert len(looks) <= 200


def test_of_few_blocks_each_is_looked_at() -> None:
    assert looks_at(150) == list(range(1, 151))


def test_all_looks_together_do_not_take_long() -> None:
    assert sum(looks_at(100_000)) <= 600_000


def test_a_page_of_many_blocks_is_small() -> None:
    assert len(page(asked(5000))) < 400_000


def test_a_peak_of_one_block_is_kept_among_many() -> None:
    evidence = np.zeros(100_000)
    evidence[70_001], evidence[70_003] = 7.0, -7.0
    at, values = thinned(np.arange(100_000.0), evidence)
    assert len(values) < 1500
    assert {(70_001.0, 7.0), (70_003.0, -7.0), (99_999.0, 0.0)} <= set(
        zip(at.tolist(), values.tolist(), strict=True)
    )


def test_without_matplotlib_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "abserve.analysis.figures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ExperimentError, match=r"pip install 'abserve\[report\]'"):
        page(asked())


def test_a_table_alone_needs_no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert analyse(experiment(), observed(*repeated(2, accuracy=counts(*EVEN)))).decision.reasons
