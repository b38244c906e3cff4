from abserve.cli.comparison import compare
from abserve.metadata import Metadata
from tests.abserve.cli.published import metadata


def said(version: str, **changes: object) -> Metadata:
    return Metadata.model_validate(metadata(version, **changes))


def test_a_difference_is_the_second_less_the_first() -> None:
    better = {"accuracy": {"value": 0.97, "low": 0.96, "high": 0.99}}
    (accuracy, log_loss) = compare(said("v1"), said("v2", evaluation=better)).metrics
    assert accuracy.difference is not None
    assert round(accuracy.difference, 6) == 0.07
    assert accuracy.overlap is False
    assert (log_loss.second, log_loss.difference, log_loss.overlap) == (None, None, None)


def test_intervals_that_touch_overlap() -> None:
    better = {"accuracy": {"value": 0.97, "low": 0.95, "high": 0.99}}
    assert compare(said("v1"), said("v2", evaluation=better)).metrics[0].overlap is True


def test_a_metric_without_an_interval_has_no_overlap() -> None:
    old = said("v1", evaluation={"accuracy": 0.9})
    assert compare(old, said("v2")).metrics[0].overlap is None


def test_what_is_different_is_named_and_what_is_not_is_left_out() -> None:
    second = said("v2", parameters={"C": 10.0, "tol": 0.1}, libraries={"scikit-learn": "2.0"})
    found = {
        each.what: (each.first, each.second) for each in compare(said("v1"), second).differences
    }
    assert found == {
        "parameter C": (1.0, 10.0),
        "parameter tol": (None, 0.1),
        "library scikit-learn": ("1.9.1", "2.0"),
    }


def test_other_data_are_a_warning() -> None:
    data = {"source": "sklearn:iris", "n_rows": 150, "columns": ["x"], "sha256": "other"}
    comparison = compare(said("v1"), said("v2", data=data))
    assert comparison.warnings == (
        "the data differ, and so do the held-out rows: the metrics are not comparable",
    )


def test_another_split_is_a_warning() -> None:
    comparison = compare(said("v1"), said("v2", seed=8))
    assert comparison.warnings == (
        "the split differs, and so do the held-out rows: the metrics are not comparable",
    )


def test_a_version_that_does_not_name_its_data_is_a_warning() -> None:
    (warning,) = compare(said("v1", data=None), said("v2")).warnings
    assert warning.startswith("v1 does not say which data it was judged on")


def test_the_same_data_and_split_are_no_warning() -> None:
    assert compare(said("v1"), said("v2")).warnings == ()
