import math
from itertools import pairwise

import numpy as np
import pytest

from abserve.metadata import Distribution
from abserve.schema import Feature
from training import Definition
from training.dataset import Parts
from training.reference import describe


def width(*values: float, missing: str = "refuse") -> Distribution:
    """The distribution of one feature with these values."""
    feature = Feature(name="width", missing=missing)
    return describe(np.array(values, dtype=np.float64)[:, np.newaxis], [feature])["width"]


def test_many_rows_are_divided_into_ten_bins_of_equal_shares() -> None:
    distribution = width(*range(1, 1001))
    assert distribution.edges == (100, 200, 300, 400, 500, 600, 700, 800, 900)
    assert distribution.shares == pytest.approx((0.1,) * 10)
    assert distribution.missing is None


def test_the_order_of_the_rows_does_not_matter() -> None:
    shuffled = np.random.default_rng(7).permutation(np.arange(1, 1001))
    assert width(*shuffled) == width(*range(1, 1001))


@pytest.mark.parametrize(
    ("n_rows", "n_bins"), [(2, 2), (39, 2), (60, 3), (105, 5), (199, 9), (200, 10), (5000, 10)]
)
def test_few_rows_are_divided_into_few_bins(n_rows: int, n_bins: int) -> None:
    assert len(width(*range(n_rows)).shares) == n_bins


def test_an_edge_is_the_last_value_of_its_bin() -> None:
    distribution = width(1, 2, 3, 4)
    assert (distribution.edges, distribution.shares) == ((2,), (0.5, 0.5))


def test_equal_values_share_a_bin() -> None:
    distribution = width(*[0] * 600, *range(1, 401))
    assert distribution.edges == (0, 100, 200, 300)
    assert distribution.shares == pytest.approx((0.6, 0.1, 0.1, 0.1, 0.1))


def test_the_largest_value_is_no_edge_however_often_it_occurs() -> None:
    distribution = width(*range(400), *[400] * 600)
    assert distribution.edges == (99, 199, 299, 399)
    assert distribution.shares == pytest.approx((0.1, 0.1, 0.1, 0.1, 0.6))


def test_one_value_that_differs_from_all_others_is_an_edge() -> None:
    distribution = width(0, *[1] * 99)
    assert (distribution.edges, distribution.shares) == ((0,), (0.01, 0.99))


def test_yes_and_no_are_two_bins() -> None:
    distribution = width(*[0] * 70, *[1] * 30)
    assert (distribution.edges, distribution.shares) == ((0,), (0.7, 0.3))


@pytest.mark.parametrize("constant", [0, 0.1, -3, 1e30])
def test_a_constant_is_a_bin_between_two_empty_ones(constant: float) -> None:
    distribution = width(*[constant] * 100)
    below, at = distribution.edges
    assert below < at == np.float32(constant)
    assert np.nextafter(np.float32(below), np.float32(np.inf)) == np.float32(constant)
    assert distribution.shares == (0, 1, 0)


def test_a_constant_below_which_there_is_nothing_has_one_empty_bin() -> None:
    distribution = width(*[-float(np.finfo(np.float32).max)] * 100)
    assert distribution.shares == (1, 0)


def test_edges_are_values_in_fp32() -> None:
    distribution = width(*(np.arange(1, 1001) / 10))
    assert distribution.edges[0] == float(np.float32(10.0))
    assert distribution.edges == tuple(float(np.float32(edge)) for edge in distribution.edges)


def test_values_that_fp32_cannot_tell_apart_are_equal() -> None:
    distribution = width(*[1.0] * 50, *[1.0 + 1e-12] * 50)
    assert distribution.shares == (0, 1, 0)


def test_missing_values_are_a_bin_of_their_own_where_they_are_allowed() -> None:
    distribution = width(1, 2, 3, 4, math.nan, missing="allow")
    assert (distribution.edges, distribution.shares) == ((2,), (0.4, 0.4))
    assert distribution.missing == 0.2


def test_values_that_might_be_missing_but_are_not_have_an_empty_bin() -> None:
    assert width(1, 2, missing="allow").missing == 0


def test_a_feature_without_any_value_is_missing_whole() -> None:
    distribution = width(math.nan, math.nan, missing="allow")
    assert distribution == Distribution(edges=(), shares=(0.0,), missing=1.0)


def test_each_feature_is_described_by_its_column() -> None:
    rows = np.array([[1, 10], [2, 20], [3, 30], [4, 40]], dtype=np.float64)
    described = describe(rows, [Feature(name="width"), Feature(name="height")])
    assert {name: each.edges for name, each in described.items()} == {
        "width": (2,),
        "height": (20,),
    }


def test_the_first_fifty_features_are_described() -> None:
    rows = np.arange(600, dtype=np.float64).reshape(10, 60)
    described = describe(rows, [Feature(name=f"f{i}") for i in range(60)])
    assert list(described) == [f"f{i}" for i in range(50)]


def test_the_rows_themselves_are_spread_as_described(parts: Parts, definition: Definition) -> None:
    """Counting the rows by the edges, as a runtime does, gives the shares."""
    described = describe(parts.fitted_rows, definition.features)
    for column, distribution in zip(
        parts.fitted_rows.T.astype(np.float32), described.values(), strict=True
    ):
        edges = [-math.inf, *distribution.edges, math.inf]
        shares = [np.mean((column > low) & (column <= high)) for low, high in pairwise(edges)]
        assert distribution.shares == pytest.approx(shares)
