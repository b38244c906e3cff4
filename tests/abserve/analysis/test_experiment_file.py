"""The JSON Schema, the shipped example and the page say what the model says."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from abserve.analysis import experiment_file
from abserve.analysis.experiment_file import Experiment
from abserve.analysis.reading import read_experiment
from abserve.stated.base import schema_text

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "manifests/base/iris/experiment.yaml"
SCHEMA = resources.files("abserve.analysis") / "experiment.schema.json"

HOW = (
    "write it anew: python -c 'from abserve.analysis import Experiment; from abserve.stated.base "
    'import schema_text; print(schema_text(Experiment), end="")\' '
    "> abserve/analysis/experiment.schema.json"
)


def faults(content: dict[str, Any]) -> list[str]:
    return [
        each.message
        for each in Draft7Validator(json.loads(schema_text(Experiment))).iter_errors(content)
    ]


def test_the_shipped_schema_is_that_of_the_model() -> None:
    assert SCHEMA.read_text() == schema_text(Experiment), HOW


def test_the_schema_is_one_and_takes_the_example() -> None:
    Draft7Validator.check_schema(json.loads(schema_text(Experiment)))
    assert faults(yaml.safe_load(EXAMPLE.read_text())) == []


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 5},
        {"weight_steps": []},
        {"guardrails": [{"metric": "latency", "margin": 0.1}]},
        {"unit": "user"},
        {"colour": "red"},
        {"deployment": "Iris"},
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_model_refuses(change: dict[str, Any]) -> None:
    assert faults({**yaml.safe_load(EXAMPLE.read_text()), **change}) != []


def test_the_example_is_an_experiment_of_the_deployment_beside_it() -> None:
    experiment = read_experiment(EXAMPLE.read_text(), "experiment.yaml")
    deployment = yaml.safe_load((EXAMPLE.parent / "seldondeployment.yaml").read_text())
    assert experiment.deployment == deployment["metadata"]["name"]
    assert [experiment.baseline, experiment.candidate] == [
        each["name"] for each in deployment["spec"]["predictors"]
    ]


def test_the_example_names_the_schema_for_editors() -> None:
    first, _, _ = EXAMPLE.read_text().partition("\n")
    _, _, schema = first.partition("# yaml-language-server: $schema=")
    assert (EXAMPLE.parent / schema).resolve() == Path(experiment_file.__file__).with_name(
        "experiment.schema.json"
    )


@pytest.mark.parametrize("field", Experiment.model_fields)
def test_every_field_is_explained(field: str) -> None:
    assert Experiment.model_fields[field].description
    assert f"| `{field}` |" in (ROOT / "docs/experiment-file.md").read_text()
