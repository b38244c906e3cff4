import numpy as np
import pytest

from training.calibration import bins_of, calibration_error


def test_rows_are_put_in_bins_of_equal_size() -> None:
    bins = bins_of(np.linspace(0, 1, 200), np.zeros(200, dtype=bool))
    assert bins.n_rows.tolist() == [20] * 10
    assert bins.probability[0] == pytest.approx(np.linspace(0, 1, 200)[:20].mean())


def test_few_rows_are_put_in_few_bins() -> None:
    assert len(bins_of(np.linspace(0, 1, 45), np.zeros(45, dtype=bool)).n_rows) == 4
    assert len(bins_of(np.array([0.2]), np.array([True])).n_rows) == 1


def test_rows_of_the_same_probability_stay_together() -> None:
    """A tree of three leaves gives three probabilities."""
    bins = bins_of(np.repeat([0.0, 0.5, 1.0], [70, 10, 20]), np.zeros(100, dtype=bool))
    assert bins.n_rows.tolist() == [70, 10, 20]


def test_the_error_is_the_mean_gap() -> None:
    """Half of the rows are given 0.2 and 40 % of them hit, the others 0.9 and 80 % of them hit."""
    probability = np.repeat([0.2, 0.9], 10)
    hit = np.repeat([True, False, True, False], [4, 6, 8, 2])
    estimate = calibration_error(bins_of(probability, hit), seed=7)
    assert estimate.value == pytest.approx((0.2 + 0.1) / 2)
    assert estimate.low <= estimate.value <= estimate.high


def test_the_error_of_either_class_is_the_same() -> None:
    random = np.random.default_rng(7)
    probability = random.random(1000)
    hit = random.random(1000) < probability**2
    one = calibration_error(bins_of(probability, hit), seed=7)
    other = calibration_error(bins_of(1 - probability, ~hit), seed=7)
    assert other.value == pytest.approx(one.value)


def test_chance_alone_makes_an_error() -> None:
    """As the docstring says: 0.03 with 1,000 rows and 0.09 with 50, of a model without any."""
    random = np.random.default_rng(7)
    assert np.mean([calibrated(random, 1000)[1] for _ in range(200)]) == pytest.approx(
        0.03, abs=0.005
    )
    assert np.mean([calibrated(random, 50)[1] for _ in range(200)]) == pytest.approx(0.09, abs=0.02)


def test_the_interval_of_a_calibrated_model_holds_zero() -> None:
    random = np.random.default_rng(7)
    held = [calibrated(random, 300)[0] == 0 for _ in range(500)]
    assert np.mean(held) == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 500))


@pytest.mark.parametrize("n_rows", [50, 1000])
def test_the_interval_of_another_model_holds_its_error_at_least_as_often(n_rows: int) -> None:
    """Half of the rows are given 0.3 and hit with 0.4, the others 0.9 and 0.7: on average 0.15."""
    random = np.random.default_rng(7)
    probability = np.tile([0.3, 0.9], n_rows // 2)
    held = 0
    for _ in range(500):
        hit = random.random(n_rows) < np.tile([0.4, 0.7], n_rows // 2)
        estimate = calibration_error(bins_of(probability, hit), seed=7)
        held += estimate.low <= 0.15 <= estimate.high
    assert held / 500 > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 500)


def calibrated(random: np.random.Generator, n_rows: int) -> tuple[float, float]:
    """Return the lower end and the value for probabilities that are the truth."""
    probability = 1 / (1 + np.exp(-2 * random.normal(size=n_rows)))
    estimate = calibration_error(bins_of(probability, random.random(n_rows) < probability), seed=7)
    return estimate.low, estimate.value
