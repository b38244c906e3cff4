"""Each step of each pipeline by itself, on the models that the repository defines."""

from pathlib import Path

import numpy as np
import pytest

from abserve.artifacts import CHECKSUMS, seal
from abserve.errors import DefinitionError
from abserve.metadata import Estimate
from abserve.repository import Repository
from training import read_definition
from training.pipelines import Classification, Pipeline, find_pipeline

MODELS = Path(__file__).parents[3] / "models"


def pipeline_of(model: str, described_as: str = "v1") -> Pipeline:
    definition = read_definition(MODELS, model)
    return find_pipeline(definition.pipeline)(definition, described_as, lambda _: None)


@pytest.fixture(scope="module", params=["iris", "breast-cancer", "diabetes", "digits"])
def pipeline(request: pytest.FixtureRequest) -> Pipeline:
    return pipeline_of(request.param)


def test_a_version_that_is_not_described_is_refused() -> None:
    with pytest.raises(DefinitionError, match="not 'v9'"):
        pipeline_of("iris", "v9")


def test_load_reads_the_columns_that_are_defined(pipeline: Pipeline) -> None:
    dataset = pipeline.load()
    assert dataset.columns == tuple(feature.name for feature in pipeline.definition.inputs)
    assert dataset.rows.shape == (len(dataset.targets), len(dataset.columns))
    assert dataset.fingerprint.n_rows == len(dataset.rows)


def test_validate_says_what_the_model_takes_and_answers(pipeline: Pipeline) -> None:
    dataset = pipeline.load()
    schema = pipeline.validate(dataset)
    assert schema.features == pipeline.definition.inputs
    assert schema.classes == dataset.class_names
    assert schema.picture == pipeline.definition.picture


def test_split_holds_out_the_fraction_that_is_asked_for(pipeline: Pipeline) -> None:
    dataset = pipeline.load()
    parts = pipeline.split(dataset)
    assert len(parts.fitted_rows) + len(parts.held_out_rows) == len(dataset.rows)
    held_out = len(parts.held_out_rows) / len(dataset.rows)
    assert held_out == pytest.approx(pipeline.definition.split.held_out, abs=0.01)


def test_the_steps_from_build_to_judge_end_in_gates_that_are_passed(pipeline: Pipeline) -> None:
    dataset = pipeline.load()
    schema = pipeline.validate(dataset)
    parts = pipeline.split(dataset)
    fitted = pipeline.fit(pipeline.build(), parts)
    predictions = pipeline.predict(fitted, parts)
    assert len(predictions.values) == len(parts.held_out_rows)
    evaluation = pipeline.evaluate(predictions, parts, schema)
    slices = pipeline.evaluate_slices(predictions, parts, schema)
    assert slices.keys() == pipeline.definition.gates.slices.keys()
    exported = pipeline.export(fitted, schema, parts)
    served = exported.predict(parts.held_out_rows)
    if schema.classes is not None:
        assert np.array_equal(served.values, predictions.values)
    outcomes = pipeline.judge(evaluation, slices, None, exported, parts)
    assert outcomes
    assert [outcome.gate for outcome in outcomes if not outcome.passed] == []


def test_judge_compares_with_the_version_that_serves() -> None:
    pipeline = pipeline_of("iris")
    schema = pipeline.validate(dataset := pipeline.load())
    parts = pipeline.split(dataset)
    fitted = pipeline.fit(pipeline.build(), parts)
    evaluation = pipeline.evaluate(pipeline.predict(fitted, parts), parts, schema)
    perfect = {name: Estimate(value=1.0) for name in evaluation.metrics}
    serving = type(evaluation)(metrics=perfect, class_recall=evaluation.class_recall)
    exported = pipeline.export(fitted, schema, parts)
    outcomes = pipeline.judge(evaluation, {}, serving, exported, parts)
    (against,) = [each for each in outcomes if each.gate == "accuracy against serving"]
    assert not against.passed


def test_publish_takes_the_number_it_is_given_or_the_next_free_one(tmp_path: Path) -> None:
    pipeline = pipeline_of("iris")
    repository = Repository(f"file://{tmp_path}")

    def files_of(version: str) -> dict[str, bytes]:
        return seal({"model.onnx": version.encode()})

    assert pipeline.publish(repository, "v3", files_of) == ("v3", f"file://{tmp_path}/iris/v3")
    assert pipeline.publish(repository, None, files_of) == ("v4", f"file://{tmp_path}/iris/v4")
    assert (tmp_path / "iris/v4/model.onnx").read_bytes() == b"v4"
    assert (tmp_path / "iris/v4" / CHECKSUMS).exists()


def test_a_pipeline_of_ones_own_overrides_what_differs() -> None:
    class Smaller(Classification):
        def split(self, dataset):  # type: ignore[no-untyped-def]
            parts = super().split(dataset)
            return type(parts)(
                parts.fitted_rows[:50],
                parts.fitted_targets[:50],
                parts.held_out_rows,
                parts.held_out_targets,
            )

    smaller = Smaller(read_definition(MODELS, "iris"), "v1", lambda _: None)
    parts = smaller.split(smaller.load())
    assert (len(parts.fitted_rows), len(parts.held_out_rows)) == (50, 45)
