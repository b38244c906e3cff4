from pathlib import Path

import pytest

from abserve.errors import ExperimentError
from abserve.rollout.experiment import load_experiment

TEXT = (Path(__file__).parents[3] / "manifests/base/iris/experiment.yaml").read_text()


def test_an_experiment_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(TEXT)
    assert load_experiment(path).deployment == "iris"


def test_the_shipped_experiment_sees_a_candidate_that_gives_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(TEXT)
    guarded = {guardrail.metric for guardrail in load_experiment(path).guardrails}
    # One that computes NaN refuses every request: no error of ours, no latency, no feedback.
    assert {"error_rate", "rejection_rate"} <= guarded


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert load_experiment(path).deployment == "iris"


def test_a_mistake_is_told_with_the_path_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(TEXT.replace("\nalpha: 0.05\n", "\nalpha: 5\n"))
    line = TEXT.splitlines().index("alpha: 0.05") + 1
    with pytest.raises(ExperimentError, match=rf"^{path}, line {line}: alpha is 5;"):
        load_experiment(path)


def test_other_encodings_are_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_bytes("deployment: iris\n# für\n".encode("latin-1"))
    with pytest.raises(ExperimentError, match="line 2: this is no text in UTF-8"):
        load_experiment(path)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_what_cannot_be_read_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"cannot be read .*; expected an experiment"):
        load_experiment(tmp_path / name)


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ExperimentError, match="longer than 65536 bytes"):
        load_experiment(path)
