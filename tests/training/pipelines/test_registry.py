import pytest

from abserve.errors import DefinitionError
from training.pipelines import Classification, Images, Pipeline, Regression, find_pipeline, register


class Doubled(Classification):
    """A pipeline of somebody's own."""


@pytest.mark.parametrize(
    ("name", "expected"),
    [("classification", Classification), ("regression", Regression), ("images", Images)],
)
def test_a_pipeline_is_found_by_its_name(name: str, expected: type[Pipeline]) -> None:
    assert find_pipeline(name) is expected


def test_a_pipeline_of_ones_own_is_found_by_its_import_path() -> None:
    assert find_pipeline(f"{__name__}.Doubled") is Doubled


def test_a_name_belongs_to_one_pipeline() -> None:
    with pytest.raises(ValueError, match="'classification' is Classification already"):
        register("classification")(Doubled)
    assert find_pipeline("classification") is Classification


def test_a_pipeline_may_be_registered_again_under_its_name() -> None:
    assert register("regression")(Regression) is Regression


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clustering", "expected classification, images, regression, or the import path"),
        ("nowhere.Churn", "'nowhere.Churn' cannot be imported .No module named 'nowhere'"),
        ("training.pipelines.Churn", "cannot be imported .*no attribute 'Churn'"),
        ("pathlib.Path", "'pathlib.Path' is no pipeline; expected a class derived from"),
        ("math.pi", "'math.pi' is no pipeline"),
    ],
)
def test_what_is_no_pipeline_is_refused(name: str, expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected):
        find_pipeline(name)
