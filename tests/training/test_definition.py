"""Every mistake in a model definition is told with its line, and all of them at once."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import ValidationError

from abserve.errors import DefinitionError
from abserve.schema import Feature, Picture
from abserve.stated.base import Stated, schema_text
from training import Definition, read_definition
from training import definition as values
from training.pipelines import find_pipeline

ROOT = Path(__file__).parents[2]
MODELS = sorted((ROOT / "models").glob("*.yaml"))
SCHEMA = resources.files("training") / "definition.schema.json"
TREE = "sklearn.tree.DecisionTreeClassifier"

HOW = (
    "write it anew: python -c 'from abserve.stated.base import schema_text; from training import "
    'Definition; print(schema_text(Definition), end="")\' > training/definition.schema.json'
)

CHURN = f"""\
model: churn
description: Says which customers leave.
data:
  source: csv
  url: s3://churn/customers.csv
features:
  - {{name: age_years, type: integer, minimum: 18}}
  - {{name: plan, type: category, categories: [basic, plus]}}
target:
  name: left
  classes: ["no", "yes"]
  positive: "yes"
split: {{held_out: 0.2, seed: 1}}
gates:
  metrics: {{roc_auc: {{at_least: 0.7}}}}
  recall: {{"yes": {{at_least: 0.5}}}}
versions:
  v1:
    estimator: {TREE}
    scale: false
    parameters: {{max_depth: 2}}
"""

RENT = """\
model: rent
description: Estimates rents.
pipeline: regression
data:
  source: parquet
  url: rents.parquet
features: [{name: area_m2, minimum: 0}]
target: {name: rent_eur, minimum: 0}
split: {held_out: 0.2, seed: 1}
gates: {metrics: {r2: {at_least: 0.5}}}
versions:
  v1:
    estimator: sklearn.linear_model.Ridge
    scale: true
    search:
      kind: random
      scoring: r2
      candidates: 5
      space:
        alpha: {low: 0.1, high: 10, log: true}
"""


def read(folder: Path, text: str | bytes) -> Definition:
    """Read a file of this content, whatever model it is of."""
    content = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    found = re.search(rb"^model: (churn|rent)$", content, re.MULTILINE)
    model = found[1].decode() if found else "churn"
    (folder / f"{model}.yaml").write_bytes(content)
    return read_definition(folder, model)


def mistakes(folder: Path, text: str | bytes) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        read(folder, text)
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


def test_the_definition_we_ship_describes_two_different_estimators(definition: Definition) -> None:
    assert definition.model == "iris"
    assert definition.estimator("v1").name == "DecisionTreeClassifier"
    assert definition.estimator("v2").name == "LogisticRegression"
    assert definition.estimator("v2").parameters == {"C": 10.0}


def test_features_keep_their_order_and_bounds(definition: Definition) -> None:
    assert [feature.name for feature in definition.features] == [
        "sepal_length_cm",
        "sepal_width_cm",
        "petal_length_cm",
        "petal_width_cm",
    ]
    assert (definition.features[0].minimum, definition.features[0].maximum) == (3.0, 10.0)


def test_a_definition_cannot_be_changed(definition: Definition) -> None:
    with pytest.raises(ValidationError):
        definition.model = "rose"  # type: ignore[misc]


def test_what_is_not_stated_is_usual(tmp_path: Path) -> None:
    churn = read(tmp_path, CHURN)
    assert (churn.pipeline, churn.kind, churn.split.duplicates) == (
        "classification",
        "classification",
        "refuse",
    )
    assert churn.gates.parity.at_most == 1e-5
    assert (churn.retention.keep_last, churn.retention.keep_days) == (5, 90)
    assert churn.metadata.limits == ()
    assert churn.features[1].maximum == 1.0


def test_a_whole_number_stays_whole(tmp_path: Path) -> None:
    search = read(tmp_path, RENT).versions["v1"].search
    assert search is not None
    assert repr(search.space["alpha"]) == "Range(low=0.1, high=10, log=True)"


def test_a_picture_has_a_feature_for_each_pixel() -> None:
    digits = read_definition(ROOT / "models", "digits")
    assert len(digits.inputs) == 64
    assert (digits.inputs[0].name, digits.inputs[63].name) == ("pixel_0_0", "pixel_7_7")
    assert (digits.inputs[0].minimum, digits.inputs[0].maximum) == (0, 16)


def test_a_coloured_picture_has_a_feature_for_each_channel(tmp_path: Path) -> None:
    text = re.sub(
        r"features:\n(  - .*\n)+",
        "pipeline: images\npicture: {width: 1, height: 1, channels: rgb, black: [0, 0, 0], "
        "white: [1, 1, 1]}\n",
        CHURN,
    )
    assert [feature.name for feature in read(tmp_path, text).inputs] == [
        "pixel_0_0_red",
        "pixel_0_0_green",
        "pixel_0_0_blue",
    ]


def test_a_pipeline_of_ones_own_may_be_named(tmp_path: Path) -> None:
    assert read(tmp_path, f"pipeline: shop.churn.Churn\n{CHURN}").pipeline == "shop.churn.Churn"


@pytest.mark.parametrize("name", values.PIPELINES)
def test_there_is_a_pipeline_of_each_name(name: str) -> None:
    assert find_pipeline(name).__module__ == "training.pipelines.kinds"


def test_a_missing_definition_names_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "iris.yaml").touch()
    (tmp_path / "wine.yaml").touch()
    with pytest.raises(
        DefinitionError, match=r"rose\.yaml does not exist; .* iris, wine: name one"
    ):
        read_definition(tmp_path, "rose")


def test_a_folder_without_definitions_says_so(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"defines no model: name one .* or write the file"):
        read_definition(tmp_path, "rose")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"there is no folder .*/nowhere"):
        read_definition(tmp_path / "nowhere", "iris")


def test_a_model_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"'\.\./iris' is no model name"):
        read_definition(tmp_path, "../iris")


def test_an_unknown_version_lists_those_described(definition: Definition) -> None:
    with pytest.raises(
        DefinitionError, match=r"iris describes v1, v2, not 'v3'; train one of those, or describe"
    ):
        definition.estimator("v3")


FIELDS = [
    ("model: churn", "model: wine", 1, "model is 'wine'; expected 'churn', the file's name"),
    ("model: churn", "model: 5", 1, "model is 5; expected a text; write for example `model: iris`"),
    ("description: Says", "descripton: Says", 2, "descripton is no field here; did you mean descr"),
    ("  source: csv", "  source: sql", 4, "data.source is 'sql'; expected csv or parquet or skl"),
    ("  source: csv\n", "", 3, "data.source is missing; expected csv or parquet or sklearn"),
    ("source: csv", "source: csv\n  separator: ;;", 5, "data.separator is ';;'; expected one char"),
    ("name: age_years", "name: Age", 7, "features[0].name is 'Age'; expected lower-case letters"),
    ("minimum: 18", 'minimum: "18"', 7, "features[0].minimum is the text '18'; expected a number"),
    ("minimum: 18", "minimum: .nan", 7, "features[0].minimum is nan; expected a number; write f"),
    ("minimum: 18", "minimal: 18", 7, "features[0].minimal is no field here; did you mean minimum"),
    ("type: integer", "type: int", 7, "features[0].type is 'int'; expected number or integer or c"),
    (
        "[basic, plus]",
        "[basic]",
        8,
        "features[1].categories has 1; expected a list of at least 2",
    ),
    (
        "[basic, plus]",
        "[basic, 2]",
        8,
        "features[1].categories[1] is 2; expected a text; write for",
    ),
    (
        "held_out: 0.2",
        "held_out: 1.5",
        13,
        "split.held_out is 1.5; expected a number above 0 and b",
    ),
    ("held_out: 0.2, ", "", 13, "split.held_out is missing; expected a number above 0 and below 1"),
    (
        "seed: 1",
        "seed: true",
        13,
        "split.seed is true; expected a whole number of at least 0 and b",
    ),
    (
        "seed: 1",
        "seed: 1e3",
        13,
        "split.seed is the text '1e3'; expected a whole number of at least",
    ),
    ("{at_least: 0.7}", "{at_least: high}", 15, "gates.metrics.roc_auc.at_least is 'high'; expect"),
    ("{at_least: 0.7}", "0.7", 15, "gates.metrics.roc_auc is 0.7; expected a mapping"),
    ('"yes": {at_least: 0.5}', "yes: {at_least: 0.5}", 16, "is no name here; expected a text: re"),
    ("  v1:", "  final:", 18, "versions.final is no name here; expected v1, v2, v3 and so on: ren"),
    ("  v1:", "  1:", 18, "versions.1 is no name here; expected v1, v2, v3 and so on: rename it"),
    (f"estimator: {TREE}", "estimator:", 19, "versions.v1.estimator is empty; expected a classi"),
    ("scale: false", "scale: maybe", 20, "versions.v1.scale is 'maybe'; expected true or false; w"),
    ("{max_depth: 2}", "{3: 2}", 21, "versions.v1.parameters.3 is no name here; expected a text"),
    ("{max_depth: 2}", "{max_depth: [2024-01-01]}", 21, "max_depth is 2024-01-01; expected a num"),
]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "said"), FIELDS, ids=[each[1] for each in FIELDS]
)
def test_a_wrong_field_is_told_with_its_line(
    tmp_path: Path, right: str, wrong: str, line: int, said: str
) -> None:
    assert right in CHURN
    text = CHURN.replace(right, wrong, 1)
    (tmp_path / "churn.yaml").write_text(text)
    with pytest.raises(DefinitionError) as caught:
        read_definition(tmp_path, "churn")
    (mistake,) = str(caught.value).splitlines()
    assert mistake.startswith(f"{tmp_path}/churn.yaml, line {line}: ")
    assert said in mistake


TOGETHER = [
    (CHURN, "minimum: 18", "minimum: 9, maximum: 3", 7, "features[0].minimum is 9.0; expected les"),
    (CHURN, "type: category, cat", "cat", 8, "features[1].categories are given, and type number"),
    (CHURN, "[basic, plus]", "[plus, plus]", 8, "features[1].categories name 'plus' twice"),
    (CHURN, "[basic, plus]", "[a, b], minimum: 1", 8, "features[1].categories are given, and boun"),
    (CHURN, ", categories: [basic, plus]", "", 8, "features[1].type is category, without categori"),
    (CHURN, "name: plan", "name: age_years", 8, "features[1] names 'age_years' once more; expect"),
    (CHURN, "name: left", "name: plan", 10, "target.name is plan, which is a feature too; expecte"),
    (CHURN, '["no", "yes"]', '["yes", "yes"]', 11, "target.classes name 'yes' twice; expected eac"),
    (CHURN, 'positive: "yes"', 'positive: "y"', 12, "target.positive is 'y'; expected one of the"),
    (CHURN, '["no", "yes"]', '[a, b, "yes"]', 12, "target.positive is 'yes', of 3 classes; metri"),
    (CHURN, 'positive: "yes"', "maximum: 3", 12, "target.maximum is about numbers, and the model"),
    (CHURN, "roc_auc", "r2", 15, "gates.metrics.r2 names r2, which judges regression; expected a"),
    (CHURN, "roc_auc", "auc", 15, "gates.metrics.auc is no metric; expected roc_auc, "),
    (CHURN, "roc_auc", "log_loss", 15, "gates.metrics.log_loss has at_least, but less is better"),
    (CHURN, "{at_least: 0.7}", "{at_most: 1}", 15, "gates.metrics.roc_auc has at_most, but more i"),
    (CHURN, "{at_least: 0.7}", "{}", 15, "gates.metrics.roc_auc has neither at_least nor at_most"),
    (CHURN, "{at_least: 0.5}", "{at_least: 0, at_most: 1}", 16, "gates.recall.yes has both; expec"),
    (CHURN, "{at_least: 0.5}", "{at_most: 1}", 16, "gates.recall.yes has at_most, but more is bet"),
    (CHURN, '"yes": {', "maybe: {", 16, "gates.recall.maybe is no class; expected one of target"),
    (CHURN, "versions:", "  latency_ms: {at_least: 1}\nversions:", 17, "gates.latency_ms has at_l"),
    (CHURN, "versions:", "  serving: {f1: {margin: 0}}\nversions:", 17, "gates.serving.f1 is no m"),
    (CHURN, "versions:", "  serving: {r2: {margin: 0}}\nversions:", 17, "names r2, which judges r"),
    (CHURN, "source: csv", "source: sklearn", 5, "data.url is no field here; expected one of sour"),
    (CHURN, "target:", "picture: {width: 1, height: 1, channels: grey}\ntarget:", 9, "is given, a"),
    (CHURN, "model:", "pipeline: images\nmodel:", 1, "picture is missing, and the pipeline is ima"),
    (CHURN, "model:", "pipeline: regression\nmodel:", 20, "DecisionTreeClassifier, which is for c"),
    (CHURN, TREE, "sklearn.dummy.DummyRegressor", 21, "max_depth is no parameter of DummyRegresso"),
    (CHURN, "max_depth: 2", "max_dept: 2", 21, "max_dept is no parameter of DecisionTreeClassifie"),
    (CHURN, "max_depth: 2", "max_depth: 1e3", 21, "is the text '1e3'; expected a number: write it"),
    (CHURN, "{max_depth: 2}", "{}\n    search: {kind: grid, scoring: r3, space: {max_depth: [1]}}",
     22, "versions.v1.search.scoring is 'r3'; expected a metric: "),
    (CHURN, "{max_depth: 2}", "{}\n    search: {kind: grid, scoring: r2, space: {max_depth: [1]}}",
     22, "versions.v1.search.scoring names r2, which judges regression; expected a metric for"),
    (CHURN, "scale: false",
     "scale: false\n    search: {kind: grid, scoring: brier, space: {max_depth: [1]}}",
     21, "versions.v1.search.space.max_depth is among the parameters too; expected it to be given"),
    (RENT, "model:", "pipeline: classification\nmodel:", 4, "pipeline is given twice, first on li"),
    (RENT, "regression", "classification", 13, "versions.v1.estimator is Ridge, which is for regr"),
    (RENT, "minimum: 0}\nsplit", "classes: [a, b]}\nsplit", 8, "target.classes is about classes, "),
    (RENT, "minimum: 0}\nsplit", "positive: a}\nsplit", 8, "target.positive is about classes, and"),
    (RENT, "minimum: 0}\nsplit", "minimum: 0, maximum: 0}\nsplit", 8, "target.minimum is 0; expec"),
    (RENT, "metrics: {", "recall: {a: {at_least: 1}}, metrics: {", 10, "gates.recall is about cla"),
    (RENT, "metrics: {", "slices: {a: {feature: b, minimum: 1, metrics: {r2: {at_least: 0}}}}, "
     "metrics: {", 10, "gates.slices.a.feature is 'b'; expected a feature: area_m2"),
    (RENT, "metrics: {", "slices: {a: {feature: area_m2, metrics: {r2: {at_least: 0}}}}, "
     "metrics: {", 10, "gates.slices.a is all rows; expected a minimum, a maximum or both"),
    (RENT, "metrics: {", "slices: {a: {feature: area_m2, minimum: 2, maximum: 1, metrics: "
     "{r2: {at_least: 0}}}}, metrics: {", 10, "gates.slices.a.minimum is 2; expected at most max"),
    (RENT, "low: 0.1", "low: 20", 20, "space.alpha.low is 20; expected less than high, 10"),
    (RENT, "low: 0.1", "low: 0", 20, "space.alpha.low is 0, which has no logarithm; expected more"),
    (RENT, "high: 10", "hgh: 10", 20, "space.alpha.hgh is no field here; did you mean high?"),
    (RENT, "{low: 0.1, high: 10, log: true}", "3", 20, "space.alpha is 3; expected a mapping or a"),
    (RENT, "{low: 0.1, high: 10, log: true}", "[]", 20, "space.alpha is an empty list; expected a"),
    (RENT, "{low: 0.1, high: 10, log: true}", "[1e2]", 20, "space.alpha is the text '1e2'; expec"),
    (RENT, "kind: random", "kind: grid", 18, "candidates is 5, and kind grid, which tries every c"),
    (RENT, "kind: random", "kind: grid", 20, "space.alpha is a range, and kind grid, which tries "),
    (RENT, "      candidates: 5\n", "", 15, "candidates is missing; expected how many to try"),
    (RENT, "alpha:", "alphas:", 20, "space.alphas is no parameter of Ridge; it accepts alpha, "),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "right", "wrong", "line", "said"), TOGETHER, ids=[each[4] for each in TOGETHER]
)
def test_what_does_not_fit_together_is_told_with_its_line(
    tmp_path: Path, text: str, right: str, wrong: str, line: int, said: str
) -> None:
    assert right in text
    found = mistakes(tmp_path, text.replace(right, wrong, 1))
    assert [mistake for mistake in found if f", line {line}: " in mistake and said in mistake]


@pytest.mark.parametrize(
    ("bundle", "said"),
    [("diabetes", "data.name is diabetes, which is for regression; expected data for classificat")],
)
def test_data_that_scikit_learn_has_is_for_one_kind(tmp_path: Path, bundle: str, said: str) -> None:
    text = re.sub(r"  source: csv\n.*\n", f"  source: sklearn\n  name: {bundle}\n", CHURN)
    (mistake,) = mistakes(tmp_path, text)
    assert mistake.startswith(f"churn.yaml, line 5: {said}")


@pytest.mark.parametrize(
    "url",
    [
        "s3://churn/customers.csv",
        "gs://churn/2026/customers.csv",
        "file:///data/customers.csv",
        "data/customers.csv",
        "../customers.csv",
    ],
)
def test_a_file_may_lie_in_a_bucket_or_on_this_machine(tmp_path: Path, url: str) -> None:
    assert read(tmp_path, CHURN.replace("s3://churn/customers.csv", url)).data.url == url  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://x.org/a.csv", "begins with https://; expected s3://, gs:// or file://"),
        ("s3://key:secret@churn/a.csv", "holds credentials, which everyone who reads"),
        ("s3://churn/a.csv?X-Amz-Signature=1", "holds credentials"),
        ("s3:///a.csv", "names no bucket; expected s3://bucket/path"),
        ("gs://churn", "names no file; expected gs://churn/path"),
        ("file://data/a.csv", "names the host 'data'; expected file:/// and the path"),
        ("/data/a.csv", "write `file:///data/a.csv`"),
        ("simplecache::data", "is 'simplecache::data'; expected s3://"),
    ],
)
def test_other_places_and_credentials_are_refused(tmp_path: Path, url: str, said: str) -> None:
    (mistake,) = mistakes(tmp_path, CHURN.replace("s3://churn/customers.csv", url))
    assert mistake.startswith("churn.yaml, line 5: data.url ")
    assert said in mistake


def test_a_classifier_that_gives_no_probabilities_so_is_told(tmp_path: Path) -> None:
    text = CHURN.replace(TREE, "sklearn.linear_model.SGDClassifier")
    (mistake,) = mistakes(tmp_path, text.replace("max_depth: 2", "alpha: 0.1"))
    assert "SGDClassifier, which gives no probabilities with these parameters" in mistake
    assert read(tmp_path, text.replace("max_depth: 2", "loss: log_loss")).kind == "classification"


def test_all_mistakes_are_told_in_the_order_of_lines(tmp_path: Path) -> None:
    text = CHURN.replace("seed: 1", "seed: -1").replace("scale: false", "scale: 1")
    text = text.replace("minimum: 18", "minimum: x").replace("positive:", "positiv:")
    assert [mistake.split(":")[0] for mistake in mistakes(tmp_path, text)] == [
        "churn.yaml, line 7",
        "churn.yaml, line 12",
        "churn.yaml, line 13",
        "churn.yaml, line 20",
    ]


NO_DEFINITIONS = [
    ("", 1, "the file is empty; expected a model definition"),
    ("# later", 1, "the file is empty; expected a model definition"),
    ("[]", 1, "the file is an empty list; expected a mapping"),
    ("churn", 1, "the file is 'churn'; expected a mapping"),
    ("---\na: 1\n---\nb: 1\n", 3, "expected a single document"),
    ("a: 1\nb: !!python/object/apply:os.getcwd []", 2, "could not determine a constructor"),
    ("a: 1\nb: !!set {x, y}", 2, "could not determine a constructor"),
    ("a: 1\nb: !!bool x", 2, "'x' is no bool"),
    ("a: 1\nb: !!timestamp x", 2, "'x' is no timestamp"),
    ("a: 1\nb: !!int ''", 2, "'' is no int"),
    ("a: 2024-99-99", 1, "'2024-99-99' is no timestamp"),
    ("? [a]\n: 1", 1, "found unhashable key"),
    ("a: &x [1]\nb: *x", 2, "*x is an alias; expected the value itself: write it here"),
    (b"a: 1\nb: \xc3\x28", 2, "this is no text in UTF-8; expected a model definition: save it as"),
    ("a: [{b: 1, b: 2}]", 1, "b is given twice, first on line 1; expected each field once"),
    ("a:\n\tb: 1", 2, "mend that line: entries indented alike"),
]


@pytest.mark.parametrize(("content", "line", "said"), NO_DEFINITIONS)
def test_what_is_no_definition_at_all_is_refused(
    tmp_path: Path, content: str | bytes, line: int, said: str
) -> None:
    found = mistakes(tmp_path, content)
    assert [
        each for each in found if each.startswith(f"churn.yaml, line {line}: ") and said in each
    ]


def test_a_very_long_file_is_refused(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, "#" * (256 * 1024 + 1))
    assert mistake == "churn.yaml is longer than 262144 bytes; expected a model definition"


def test_a_folder_is_no_definition(tmp_path: Path) -> None:
    (tmp_path / "iris.yaml").mkdir()
    with pytest.raises(DefinitionError, match=r"iris\.yaml does not exist"):
        read_definition(tmp_path, "iris")


def test_an_example_is_whole(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, CHURN.split("versions:", maxsplit=1)[0])
    assert mistake.endswith(f"`versions: {{v1: {{estimator: {TREE}, scale: false}}}}`")


def test_a_very_long_value_is_cut(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, CHURN.replace("scale: false", f"scale: {'x' * 5000}"))
    assert len(mistake) < 300


def test_a_number_of_thousands_of_digits_is_not_written(tmp_path: Path) -> None:
    text = CHURN.replace("seed: 1", f"seed: 0x{'f' * 9000}")
    assert "split.seed is a number of very many digits; expected" in mistakes(tmp_path, text)[0]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.binary()
    | st.sampled_from(["sklearn", "grid", "accuracy", "images", TREE, "s3://a/b", "1e3", 10**400]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["v1", "name", "source", "metrics", "accuracy", "at_least", "search", "space"]
            )
            | st.integers()
            | st.dates(),
            children,
            max_size=3,
        )
    ),
    max_leaves=6,
)

PLACES = [
    (),
    ("data",),
    ("features", 0),
    ("target",),
    ("split",),
    ("gates",),
    ("gates", "metrics"),
    ("versions", "v1"),
    ("versions", "v1", "search"),
    ("versions", "v1", "search", "space"),
    ("versions", "v1", "search", "space", "alpha"),
]
FIELD_NAMES = sorted(
    {
        field
        for value in vars(values).values()
        if isinstance(value, type) and issubclass(value, Stated)
        for field in value.model_fields
    }
)
ANY_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def only_told_with_a_line(folder: Path, text: str) -> None:
    """Read a text; if it is refused, each mistake has its line."""
    try:
        read(folder, text)
    except DefinitionError as error:
        for mistake in str(error).splitlines():
            assert re.match(r".*(churn|rent)\.yaml, line [1-9][0-9]*: ", mistake)


@ANY_FOLDER
@given(place=st.sampled_from(PLACES), field=st.sampled_from([*FIELD_NAMES, 3]), value=VALUES)
def test_whatever_stands_in_a_field_is_taken_or_told_with_a_line(
    tmp_path: Path, place: tuple[str | int, ...], field: str | int, value: object
) -> None:
    content: dict[Any, Any] = yaml.safe_load(RENT)
    around: Any = content
    for part in place:
        around = around[part]
    around[field] = value
    only_told_with_a_line(tmp_path, yaml.safe_dump(content, sort_keys=False))


@ANY_FOLDER
@given(text=st.text(st.characters(codec="utf-8")))
def test_whatever_a_file_says_is_taken_or_told(tmp_path: Path, text: str) -> None:
    only_told_with_a_line(tmp_path, text)


@ANY_FOLDER
@given(
    at=st.integers(0, len(RENT)),
    length=st.integers(0, 12),
    instead=st.text(st.sampled_from(" \n:-[]{},!&*|>'\"#%@`?<=~0x1e.\\ab\t"), max_size=6),
)
def test_whatever_is_typed_into_a_definition_is_taken_or_told(
    tmp_path: Path, at: int, length: int, instead: str
) -> None:
    only_told_with_a_line(tmp_path, RENT[:at] + instead + RENT[at + length :])


def test_the_shipped_schema_is_that_of_the_values() -> None:
    assert SCHEMA.read_text() == schema_text(Definition), HOW


def schema_faults(content: object) -> list[str]:
    schema = json.loads(schema_text(Definition))
    Draft7Validator.check_schema(schema)
    return [each.message for each in Draft7Validator(schema).iter_errors(content)]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_model_we_ship_is_one_by_values_and_schema(path: Path) -> None:
    assert read_definition(path.parent, path.stem).versions.keys() == {"v1", "v2"}
    assert schema_faults(yaml.safe_load(path.read_text())) == []
    first, _, _ = path.read_text().partition("\n")
    assert first == "# yaml-language-server: $schema=../training/definition.schema.json"


@pytest.mark.parametrize(
    "change",
    [
        {"split": {"held_out": 2, "seed": 1}},
        {"colour": "red"},
        {"versions": {"final": {"estimator": TREE, "scale": False}}},
        {"gates": {"metrics": {"f1": {"at_least": 1}}}},
        {"data": {"source": "csv"}},
        {"pipeline": "clasification"},
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_values_refuse(change: dict[str, Any]) -> None:
    assert schema_faults({**yaml.safe_load(CHURN), **change}) != []


STATED = [
    value
    for value in [*vars(values).values(), Feature, Picture]
    if isinstance(value, type) and issubclass(value, Stated)
]


@pytest.mark.parametrize("stated", STATED, ids=lambda stated: stated.__name__)
def test_every_field_is_explained_and_on_the_page(stated: type[Stated]) -> None:
    page = (ROOT / "docs/model-definition.md").read_text()
    for name, field in stated.model_fields.items():
        assert f"| `{name}` |" in page, name
        assert field.description, name
        assert field.examples, name


def test_the_example_on_the_page_is_a_definition(tmp_path: Path) -> None:
    page = (ROOT / "docs/model-definition.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    churn = read(tmp_path, example)
    assert churn.kind == "classification"
    assert churn.versions.keys() == {"v1", "v2"}
    assert schema_faults(yaml.safe_load(example)) == []
