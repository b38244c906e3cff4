import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from abserve.errors import DefinitionError
from training import Definition, read_definition
from training.definition import _EXPECTED
from training.estimators import short_list

TREE = "sklearn.tree.DecisionTreeClassifier"


def message(folder: Path, text: str | bytes) -> str:
    """The error that a file iris.yaml of this content gives."""
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "iris.yaml").write_bytes(content)
    with pytest.raises(DefinitionError) as raised:
        read_definition(folder, "iris")
    return str(raised.value).replace(f"{folder}/", "")


def test_the_definition_we_ship_describes_two_different_estimators(definition) -> None:
    assert definition.model == "iris"
    assert definition.estimator("v1").name == "DecisionTreeClassifier"
    assert definition.estimator("v2").name == "LogisticRegression"
    assert definition.estimator("v2").parameters == {"C": 10.0}


def test_features_keep_their_order_and_bounds(definition) -> None:
    assert [feature.name for feature in definition.features] == [
        "sepal_length_cm",
        "sepal_width_cm",
        "petal_length_cm",
        "petal_width_cm",
    ]
    assert definition.features[0].minimum == 3.0
    assert definition.features[0].maximum == 10.0


def test_a_definition_cannot_be_changed(definition) -> None:
    with pytest.raises(ValidationError):
        definition.model = "rose"


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


def test_an_unreadable_file_is_an_error_and_no_traceback(tmp_path: Path, monkeypatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "iris.yaml").touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DefinitionError, match=r"iris\.yaml cannot be read \(Permission denied\)"):
        read_definition(tmp_path, "iris")


def test_an_unknown_version_lists_those_described(definition: Definition) -> None:
    with pytest.raises(
        DefinitionError, match=r"iris describes v1, v2, not 'v3'; train one of those, or describe"
    ):
        definition.estimator("v3")


WRONG = {
    "a file of another model": (
        "model: iris",
        "model: rose",
        "iris.yaml, line 6: model is 'rose', expected 'iris', the file's name; change the one or "
        "rename the other",
    ),
    "a number for a name": (
        "model: iris",
        "model: 5",
        "iris.yaml, line 6: model is 5; expected the file's name without .yaml; write for example "
        "`model: iris`",
    ),
    "a misspelt field": (
        "  held_out: 0.3",
        "  heldout: 0.3",
        "iris.yaml, line 33: split.heldout is no field of a model definition; expected held_out, "
        "seed: correct or remove it (1 more after this)",
    ),
    "a misspelt bound": (
        "maximum: 6.0",
        "maximal: 6.0",
        "iris.yaml, line 21: features[1].maximal is no field of a model definition; expected "
        "maximum, name, minimum, outside, missing: correct or remove it",
    ),
    "a missing field": (
        "  seed: 7\n",
        "",
        "iris.yaml, line 32: split.seed is missing; expected a whole number from 0 to 4294967295; "
        "write for example `seed: 7`",
    ),
    "a fraction above one": (
        "held_out: 0.3",
        "held_out: 1.5",
        "iris.yaml, line 33: split.held_out is 1.5; expected a fraction of the rows between 0 and "
        "1; write for example `held_out: 0.3`",
    ),
    "a text for a number": (
        "held_out: 0.3",
        'held_out: "0.3"',
        "iris.yaml, line 33: split.held_out is '0.3'; expected a fraction of the rows between 0 "
        "and 1; write for example `held_out: 0.3`",
    ),
    "true for a seed": (
        "seed: 7",
        "seed: true",
        "iris.yaml, line 34: split.seed is true; expected a whole number from 0 to 4294967295; "
        "write for example `seed: 7`",
    ),
    "unknown data": (
        "name: iris\n",
        "name: roses\n",
        "iris.yaml, line 13: data.name is 'roses'; expected iris, wine or breast_cancer; write for "
        "example `name: iris`",
    ),
    "bounds in the wrong order": (
        "minimum: 3.0",
        "minimum: 30.0",
        "iris.yaml, line 20: features[0] minimum 30.0 is not below maximum 10.0; write for example "
        "`- {name: width_cm, minimum: 0}`",
    ),
    "a bound that is no number": (
        "minimum: 3.0",
        "minimum: .nan",
        "iris.yaml, line 20: features[0].minimum is nan; expected a finite number; write for "
        "example `minimum: 0.5`",
    ),
    "a feature named twice": (
        "name: petal_width_cm",
        "name: petal_length_cm",
        "iris.yaml, line 19: features names 'petal_length_cm' twice, expected each feature once; "
        "write for example `features: [{name: width_cm}]`",
    ),
    "a feature with a blank in its name": (
        "name: petal_width_cm",
        "name: Petal width",
        "iris.yaml, line 23: features[3].name is 'Petal width'; expected lower-case letters, "
        "digits and '_', beginning with a letter; write for example `name: width_cm`",
    ),
    "a version that is none": (
        "  v2:",
        "  final:",
        "iris.yaml, line 47: versions.final is no version; expected v1, v2, v3 and so on: "
        "rename it",
    ),
    "a version that is a number": (
        "  v2:",
        "  2:",
        "iris.yaml, line 47: versions has the key 2, which YAML reads as no text; expected a name: "
        "rename it, or put it in quotes",
    ),
    "a version described twice": (
        "  v2:",
        "  v1:",
        "iris.yaml, line 47: 'v1' is given twice, first on line 41; expected each key once: remove "
        "one",
    ),
    "no estimator": (
        f"estimator: {TREE}",
        "estimator:",
        "iris.yaml, line 42: versions.v1.estimator is empty; expected a classifier of "
        f"scikit-learn, by its import path; write for example `estimator: {TREE}`",
    ),
    "an estimator from elsewhere": (
        TREE,
        "os.system",
        "iris.yaml, line 42: versions.v1.estimator is 'os.system', expected a classifier of "
        f"scikit-learn by its import path; write for example `estimator: {TREE}`",
    ),
    "an estimator in a private module": (
        TREE,
        "sklearn.tree._classes.DecisionTreeClassifier",
        "iris.yaml, line 42: versions.v1.estimator is 'sklearn.tree._classes."
        "DecisionTreeClassifier', expected a classifier of scikit-learn by its import path; write "
        f"for example `estimator: {TREE}`",
    ),
    "an estimator that does not exist": (
        TREE,
        "sklearn.tree.Oak",
        "iris.yaml, line 42: versions.v1.estimator is 'sklearn.tree.Oak', which scikit-learn does "
        "not have (module 'sklearn.tree' has no attribute 'Oak'); write for example `estimator: "
        f"{TREE}`",
    ),
    "a module that does not exist": (
        TREE,
        "sklearn.forest.Oak",
        "iris.yaml, line 42: versions.v1.estimator is 'sklearn.forest.Oak', which scikit-learn "
        "does not have (No module named 'sklearn.forest'); write for example `estimator: "
        f"{TREE}`",
    ),
    "a regressor": (
        TREE,
        "sklearn.linear_model.Ridge",
        "iris.yaml, line 42: versions.v1.estimator is 'sklearn.linear_model.Ridge', which is no "
        f"classifier; write for example `estimator: {TREE}`",
    ),
    "a function": (
        TREE,
        "sklearn.base.clone",
        "iris.yaml, line 42: versions.v1.estimator is 'sklearn.base.clone', which is no "
        f"classifier; write for example `estimator: {TREE}`",
    ),
    "a classifier without probabilities": (
        TREE,
        "sklearn.svm.LinearSVC",
        "iris.yaml, line 42: versions.v1.estimator is 'sklearn.svm.LinearSVC', which gives no "
        "probabilities, expected a classifier with predict_proba; write for example "
        f"`estimator: {TREE}`",
    ),
    "a classifier made of others": (
        TREE,
        "sklearn.ensemble.VotingClassifier",
        "iris.yaml, line 42: versions.v1.estimator is 'sklearn.ensemble.VotingClassifier', which "
        "needs 'estimators', expected a classifier that is not made of other estimators; write for "
        f"example `estimator: {TREE}`",
    ),
    "a text for a switch": (
        "    scale: true",
        "    scale: maybe",
        "iris.yaml, line 49: versions.v2.scale is 'maybe'; expected true or false; write for "
        "example `scale: true`",
    ),
    "a number that YAML reads as text": (
        "C: 10.0",
        "C: 1e-3",
        "iris.yaml, line 51: versions.v2.parameters.C is the text '1e-3', expected a number; write "
        "it as 0.001",
    ),
    "a date among the parameters": (
        "C: 10.0",
        "C: [1, 2024-01-01]",
        "iris.yaml, line 51: versions.v2.parameters.C is 2024-01-01; expected a number, a text, "
        "true, false, null, or a list or mapping of them; write for example `max_depth: 2`",
    ),
    "a tab": (
        "  v2:",
        "\tv2:",
        "iris.yaml, line 47: this is not YAML: found character '\\t' that cannot start any token; "
        "mend that line: entries indented alike, by spaces, and a space after each colon",
    ),
    "two colons": (
        "seed: 7",
        "seed: 7 : 8",
        "iris.yaml, line 34: this is not YAML: mapping values are not allowed here; mend that "
        "line: entries indented alike, by spaces, and a space after each colon",
    ),
}


@pytest.mark.parametrize(("right", "wrong", "expected"), WRONG.values(), ids=WRONG)
def test_one_message_says_where_what_and_what_to_do(
    tmp_path: Path, iris_yaml: str, right: str, wrong: str, expected: str
) -> None:
    assert right in iris_yaml
    assert message(tmp_path, iris_yaml.replace(right, wrong, 1)) == expected


def test_an_unknown_parameter_shows_first_what_was_probably_meant(
    tmp_path: Path, iris_yaml: str
) -> None:
    found = message(tmp_path, iris_yaml.replace("max_depth: 2", "max_dept: 2"))
    assert found.startswith(
        "iris.yaml, line 45: versions.v1.parameters.max_dept is no parameter of "
        "DecisionTreeClassifier; it accepts max_depth, "
    )
    assert re.search(r" and \d+ more: correct or remove it$", found)


def test_deprecated_parameters_are_not_recommended(tmp_path: Path, iris_yaml: str) -> None:
    assert "penalty" not in message(tmp_path, iris_yaml.replace("C: 10.0", "penality: l2"))


def test_a_short_list_ends_with_what_every_estimator_takes() -> None:
    assert short_list(["random_state", "n_jobs", "C"], "zzz") == "C, random_state, n_jobs"


NOT_DEFINITIONS = {
    "nothing": ("", "iris.yaml is empty; expected a model definition"),
    "a comment": ("# later", "iris.yaml is empty; expected a model definition"),
    "a list": ("[]", "line 1: the file is an empty list; expected a mapping that describes"),
    "a text": ("iris", "line 1: the file is 'iris'; expected a mapping that describes a model"),
    "null": ("null", "line 1: the file is empty; expected a mapping that describes a model"),
    "a list with entries": ("[1]", "line 1: the file is a list; expected a mapping"),
    "a mapping for a name": ("model: {a: 1}", "line 1: model is a mapping; expected the file's"),
    "no versions": ("versions: {}", "line 1: versions is an empty mapping; expected an estimator"),
    "two documents": ("---\na: 1\n---\nb: 1\n", "line 3: this is not YAML: but found another"),
    "a Python object": ("!!python/object/apply:os.getcwd []", "line 1: this is not YAML: could"),
    "a list as a key": ("? [a]\n: 1", "line 1: this is not YAML: found unhashable key"),
    "a date that never was": ("a: 2024-99-99", "iris.yaml is not YAML in UTF-8: month must be"),
    "other bytes": (b"\xc3\x28", "iris.yaml is not YAML in UTF-8: unacceptable character"),
    "a list within itself": ("features: &x\n  - *x\n", "line 1: features[0] is a list; expected"),
    "a repeated key below a list": ("a: [{b: 1, b: 2}]", "line 1: 'b' is given twice"),
}


@pytest.mark.parametrize(("content", "expected"), NOT_DEFINITIONS.values(), ids=NOT_DEFINITIONS)
def test_what_is_no_definition_at_all_is_refused(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    assert expected in message(tmp_path, content)


def test_every_field_has_words_for_what_belongs_there() -> None:
    schema = Definition.model_json_schema()
    fields = {name: set(part.get("properties", {})) for name, part in schema["$defs"].items()}
    described = {key[-1] for key in _EXPECTED if key}
    assert set(schema["properties"]) | set().union(*fields.values()) == described - {"*"}
