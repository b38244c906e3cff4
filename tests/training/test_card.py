import base64
import json
import re
from dataclasses import replace
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from abserve.metadata import Estimate, Metadata
from abserve.schema import Picture
from tests.html_page import Page
from tests.training.cards import PASSED, classifier, pictures, regressor
from training.card import Baseline, Evidence, card
from training.card.example import example
from training.card.wording import estimate, exact, number, parameter, percent
from training.dataset import Predictions
from training.importance import permutation_importance

NASTY = "<script>alert('\"&')</script>$x$"
GREY = Picture(width=3, height=2, channels="grey", black=(0,), white=(16,))
INVERTED = Picture(width=3, height=2, channels="grey", black=(16,), white=(0,))
COLOUR = Picture(width=3, height=2, channels="rgb", black=(-1, -1, 0), white=(1, 1, 255))
KINDS = pytest.mark.parametrize(
    "made", [classifier, regressor, lambda: pictures(GREY)], ids=["classes", "number", "pictures"]
)
KB = 1000


def text(made: tuple[Metadata, Evidence]) -> str:
    return card(*made).decode()


def read(made: tuple[Metadata, Evidence]) -> Page:
    return Page(text(made))


def titles(found: Page) -> list[str]:
    return [str(each["aria-label"]).split(".")[0] for each in found.of("svg")]


@KINDS
def test_a_card_is_whole_html_that_needs_nothing_from_elsewhere(made) -> None:
    found = read(made())
    found.check_whole()
    found.check_self_contained()
    found.check_colours()


@KINDS
def test_the_same_version_makes_the_same_card(made) -> None:
    assert card(*made()) == card(*made())


@KINDS
def test_no_level_of_headings_is_skipped(made) -> None:
    levels = [int(tag[1]) for tag, _ in read(made()).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


@KINDS
def test_every_column_and_row_of_a_table_is_named(made) -> None:
    found = read(made())
    assert all("scope" in each for each in found.of("th"))
    # Wide tables are moved sideways, by keyboard too.
    regions = [each for each in found.of("div") if each.get("class") == "wide"]
    assert len(regions) == len(found.of("table"))
    assert all(each["tabindex"] == "0" and each["role"] == "region" for each in regions)


def test_each_plot_says_in_words_what_it_shows() -> None:
    plots = read(classifier()).of("svg")
    assert [each["role"] for each in plots] == ["img", "img"]
    assert re.match(
        r"Calibration\. Mean probability of the answer, and share that is right: "
        r"0\.\d\d and \d of 10 rows; ",
        str(plots[0]["aria-label"]),
    )
    assert "bee: AUC" in str(plots[1]["aria-label"])


def test_a_regressor_has_plots_of_its_errors() -> None:
    assert titles(read(regressor())) == ["Predicted and ground truth", "Residuals"]


def test_pictures_have_a_heat_map_in_place_of_a_list_of_pixels() -> None:
    found = read(pictures(GREY))
    assert titles(found) == ["Calibration", "ROC", "What it looks at"]
    assert "resized to 3 x 2 pixels" in found.text
    assert "Black becomes 0 and white 16" in found.text
    assert "pixel_0" not in found.text


def test_of_more_than_ten_classes_there_are_no_curves() -> None:
    names = tuple(f"class {i}" for i in range(11))
    assert titles(read(classifier(names, n_rows=220))) == ["Calibration"]


def test_a_class_without_held_out_rows_has_no_curve() -> None:
    metadata, evidence = classifier()
    targets = np.where(evidence.targets == 2, 0, evidence.targets)
    plots = read((metadata, replace(evidence, targets=targets))).of("svg")
    assert "cat" not in str(plots[1]["aria-label"])


def test_held_out_rows_of_one_class_alone_have_no_curve_at_all() -> None:
    metadata, evidence = classifier()
    one = replace(evidence, targets=np.zeros_like(evidence.targets))
    assert titles(read((metadata, one))) == ["Calibration"]


def test_plots_of_two_classes_are_about_the_positive_one() -> None:
    metadata, evidence = classifier(("sick", "well"))
    about = [
        str(read((metadata, replace(evidence, positive=positive))).of("svg")[0]["aria-label"])
        for positive in ("sick", None)
    ]
    assert "probability of sick" in about[0]
    assert "probability of well" in about[1]


def test_a_matrix_counts_what_each_class_is_taken_for() -> None:
    # Of 30 rows of a class every fifth is taken for the next class.
    cells = re.findall(
        r'<td class="(right| none|)" style="--share:([\d.]+)">(\d+)', text(classifier())
    )
    assert cells == [
        ("right", "0.800", "24"),
        ("", "0.200", "6"),
        (" none", "0.000", "0"),
        (" none", "0.000", "0"),
        ("right", "0.800", "24"),
        ("", "0.200", "6"),
        ("", "0.200", "6"),
        (" none", "0.000", "0"),
        ("right", "0.800", "24"),
    ]


def test_of_more_than_twenty_classes_the_most_frequent_confusions_are_told() -> None:
    names = tuple(f"class {i}" for i in range(24))
    found = text(classifier(names, n_rows=240))
    assert 'class="matrix' not in found
    rows = re.findall(
        r'<tr><th scope="row">(class \d+)</th><td>(class \d+)</td>'
        r'<td class="number">(\d)</td><td class="number">20 %</td></tr>',
        found,
    )
    assert len(rows) == 20
    assert rows[0] == ("class 0", "class 1", "2")


def test_many_classes_without_confusions_are_said_to_have_none() -> None:
    metadata, evidence = classifier(tuple(f"class {i}" for i in range(24)), n_rows=240)
    perfect = replace(evidence, targets=evidence.predictions.values)
    assert "every held-out row is right" in text((metadata, perfect))


def test_the_fifteen_features_that_matter_most_come_first() -> None:
    made = classifier(tuple(f"class {i}" for i in range(18)), n_rows=360)
    found = re.findall(
        r'<th scope="row">like_<wbr>(\d+)</th><td class="number">(-?[\d.]+) ±', text(made)
    )
    expected = np.argsort(-made[1].importance.increase, kind="stable")[:15]
    assert [int(name) for name, _ in found] == expected.tolist()
    assert "The 15 largest of 18." in text(made)


def test_the_version_that_serves_now_stands_beside() -> None:
    metadata, evidence = classifier()
    baseline = Baseline("v2", {"accuracy": Estimate(value=0.75, low=0.7, high=0.8)})
    found = text((metadata, replace(evidence, baseline=baseline)))
    assert "v2, serving" in found
    assert '0.750<span class="meaning">0.700 to 0.800</span>' in found
    assert "serving</th>" not in text(classifier())


def test_a_card_says_where_the_version_came_from() -> None:
    found = text(
        classifier(
            git_dirty=True,
            described_as="v1",
            about={"purpose": "For the shop.", "owner": "Ann", "licence": "CC0-1.0"},
            durations_seconds={"fit": 1.234},
        )
    )
    for expected in (
        "For the shop.",
        "CC0-1.0",
        "<dt>Trained</dt><dd>2025-01-02 03:04 UTC, as v1 of its definition says</dd>",
        "s3://shop/things.csv: 360 rows, 4 columns",
        f"sha256:{'ab' * 32}",
        "<code>0123abc</code>, <strong>with changes that were not committed</strong>",
        "numpy 2.0.0",
        "<code>sklearn.linear_model.Ridge</code>, seed 7; served as ONNX",
        "<code>alpha = 0.5</code>",
        "the largest difference is 2e-07",
        "fit 1.23 s",
    ):
        assert expected in found


def test_a_version_from_no_commit_says_so() -> None:
    assert "from no Git commit" in text(classifier(git_commit=None, git_dirty=None))


def test_a_card_does_without_what_is_not_known() -> None:
    found = text(
        regressor(data=None, target=None, parity=None, gates=[], description="", served="skops")
    )
    assert "scikit-learn, from model.skops" in found
    assert "gates passed" not in found
    assert "None" not in found


def test_one_held_out_row_is_enough_for_a_card() -> None:
    assert titles(read(regressor(n_rows=1))) == ["Predicted and ground truth", "Residuals"]
    assert titles(read(classifier(n_rows=1))) == ["Calibration"]


def test_a_model_that_answers_always_the_same_relies_on_nothing() -> None:
    metadata, evidence = regressor()

    def constant(rows):
        return Predictions(np.full(len(rows), 3.0), None)

    importance = permutation_importance(
        constant, evidence.rows, evidence.targets, metadata.schema_, 7
    )
    same = replace(
        evidence, predict=constant, predictions=constant(evidence.rows), importance=importance
    )
    assert text((metadata, same)).count("0.000 ± 0.000") == 2


def test_a_search_is_told_best_first() -> None:
    tried = [
        {"parameters": {"C": 1.0, "penalty": "l2"}, "score": 0.1234, "spread": 0.0123},
        {"parameters": {"C": 9.0, "penalty": None}, "score": 0.2, "spread": 0.02},
    ]
    search = {"kind": "grid", "scoring": "log_loss", "folds": 5, "n_tried": 12, "best": tried}
    found = text(classifier(search=search))
    assert "A grid search tried 12 combinations, each on 5 folds" in found
    assert "by log loss" in found
    assert "<code>C = 1.0</code>, <code>penalty = &#39;l2&#39;</code>" in found
    assert "0.123 ± 0.012" in found
    assert found.index("C = 1.0") < found.index("C = 9.0")


def test_gates_and_slices_are_listed() -> None:
    failed = {**PASSED, "gate": "recall of bee", "passed": False, "by": -0.02, "note": "few rows"}
    slices = {"large": {"n_rows": 12, "metrics": {"accuracy": 0.9, "log_loss": 0.3}}}
    found = text(classifier(gates=[PASSED, failed], slices=slices))
    assert '<strong class="failed">1</strong><small>of 2</small>' in found
    assert 'recall of bee<span class="meaning">few rows</span>' in found
    assert '<th scope="rowgroup" rowspan="2">large</th>' in found


def test_limits_and_notes_are_told() -> None:
    found = text(regressor(about={"limits": ["Not for toys."]}, notes=["Served by scikit-learn."]))
    assert "<li>Not for toys.</li>\n<li>Served by scikit-learn.</li>" in found
    assert "Its definition states none." in text(regressor())


def test_inputs_are_told_with_their_bounds() -> None:
    metadata, evidence = regressor()
    features = [
        {"name": "width", "type": "integer", "minimum": 0.5, "outside": "refuse"},
        {"name": "height", "type": "category", "categories": ["low", "high"], "missing": "allow"},
    ]
    schema = metadata.schema_.model_validate({"features": features})
    found = text((metadata.model_copy(update={"schema_": schema}), evidence))
    rows = re.findall(r'<tr><th scope="row">(?:width|height)</th><td>(?!<).*?</tr>', found)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    assert cells == [
        ["whole number", "0.5", "", "refused", "refused"],
        ["0 is low; 1 is high", "0", "1", "refused", "allowed"],
    ]


def test_whatever_a_definition_says_is_text() -> None:
    made = classifier(
        ("<b>ant</b>", "$bee$", NASTY),
        description=NASTY,
        target=NASTY,
        about={"purpose": NASTY, "owner": NASTY, "licence": NASTY, "limits": [NASTY]},
        notes=[NASTY],
        parameters={"kernel": NASTY},
        libraries={NASTY: NASTY},
        data={"source": NASTY, "n_rows": 1, "columns": [NASTY], "sha256": "ab"},
        gates=[{**PASSED, "gate": NASTY, "note": NASTY}],
        slices={NASTY: {"n_rows": 3, "metrics": {"accuracy": 0.5}}},
    )
    found = read((made[0], replace(made[1], baseline=Baseline(NASTY, {}))))
    found.check_whole()
    found.check_self_contained()
    assert found.of("b") == []
    assert "".join(found.texts).count(NASTY) >= 14
    assert "$bee$: AUC" in "".join(found.texts)


@pytest.mark.parametrize(
    "made",
    [
        lambda: regressor(n_rows=100_000),
        lambda: classifier(tuple(f"a class of some length {i}" for i in range(20)), 20_000),
        lambda: pictures(Picture(width=64, height=64, channels="grey")),
    ],
    ids=["rows", "classes", "pixels"],
)
def test_a_card_stays_small(made) -> None:
    assert len(card(*made())) < 500 * KB


def test_the_example_is_the_first_held_out_row_and_its_answer() -> None:
    made = classifier()
    found = read(made)
    probability = made[1].predictions.probability[0]
    assert json.loads(found.text_of("request")) == {
        "inputs": [
            {
                "name": "features",
                "shape": [1, 3],
                "datatype": "FP64",
                "data": made[1].rows[0].tolist(),
            }
        ],
        "outputs": [{"name": "label"}, {"name": "probability"}],
    }
    answer = json.loads(found.text_of("response"))
    assert answer["model_name"], answer["model_version"] == ("shop", "v3")
    label, probabilities = answer["outputs"]
    assert label["data"] == ["bee"]
    assert probabilities["parameters"] == {"classes": ["ant", "bee", "cat"]}
    assert probabilities["data"] == pytest.approx(probability, abs=5e-5)
    assert "its ground truth is ant" in found.text


def test_the_example_of_a_regressor_answers_with_a_number() -> None:
    made = regressor()
    (output,) = json.loads(read(made).text_of("response"))["outputs"]
    assert output["name"] == "prediction"
    assert output["data"] == pytest.approx(made[1].predictions.values[:1], abs=5e-5)


def test_a_missing_value_is_null_in_json_and_none_in_python() -> None:
    metadata, evidence = regressor()
    rows = evidence.rows.copy()
    rows[0, 1] = np.nan

    def guess(rows):
        return evidence.predict(np.nan_to_num(rows))

    found = example(metadata, replace(evidence, rows=rows, predict=guess))
    assert json.loads(found.body)["inputs"][0]["data"] == [rows[0, 0], None]
    assert '"height": None,' in found.python


@pytest.mark.parametrize("picture", [GREY, INVERTED, COLOUR], ids=["grey", "inverted", "colour"])
def test_the_example_of_a_picture_is_a_file_with_its_pixels(picture: Picture) -> None:
    metadata, evidence = pictures(picture)
    found = example(metadata, evidence)
    (sent,) = json.loads(found.body)["inputs"]
    assert sent["shape"] == [1, 1]
    with Image.open(BytesIO(base64.b64decode(sent["data"][0]))) as image:
        assert (image.format, image.size) == ("PNG", (3, 2))
        levels = np.asarray(image).reshape(2, 3, picture.n_channels)
    black, white = np.array(picture.black), np.array(picture.white)
    as_served = (black + (white - black) * levels / 255).reshape(1, -1)
    # A file has 256 levels, which the row may lie between.
    half_a_level = np.abs(white - black).max() / 255 / 2
    assert as_served[0] == pytest.approx(evidence.rows[0], abs=half_a_level * 1.001)
    label, probability = json.loads(found.answer)["outputs"]
    answered = evidence.predict(as_served)
    assert label["data"] == [metadata.schema_.classes[answered.values[0]]]
    assert probability["data"] == pytest.approx(answered.probability[0], abs=5.1e-5)


@KINDS
def test_the_python_of_an_example_is_python(made) -> None:
    compile(example(*made()).python, "example", "exec")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.000"),
        (1.0, "1.000"),
        (0.97777, "0.978"),
        (0.08123, "0.0812"),
        (-0.00001, "-1e-05"),
        (3.14e-7, "3.14e-07"),
        (-0.0, "0.000"),
        (43.271, "43.3"),
        (12345.6, "12,346"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_have_three_digits(value: float, written: str) -> None:
    assert number(value) == written


def test_a_number_and_its_interval_have_as_many_decimals() -> None:
    assert estimate(Estimate(value=0.98, low=0.9, high=1.0)) == ("0.980", "0.900 to 1.000")
    assert estimate(Estimate(value=9.87, low=8.0, high=12.3)) == ("9.9", "8.0 to 12.3")
    assert estimate(Estimate(value=0.98)) == ("0.980", "")


@pytest.mark.parametrize(
    ("share", "written"),
    [(0.0, "0 %"), (0.001, "< 1 %"), (0.12, "12 %"), (0.999, "> 99 %"), (1.0, "100 %")],
)
def test_a_share_is_all_or_nothing_only_if_it_is(share: float, written: str) -> None:
    assert percent(share) == written


def test_parameters_are_as_python_writes_them_but_shorter() -> None:
    written = [parameter(each) for each in (1.0, 0.43022338413, "l2", None, [64], {"a": 1e-05})]
    assert written == ["1.0", "0.430223", "'l2'", "None", "[64]", "a = 1e-05"]


def test_bounds_are_written_as_they_were() -> None:
    assert [exact(each) for each in (None, 0.1, 3.0, 1e6)] == ["", "0.1", "3", "1000000"]
