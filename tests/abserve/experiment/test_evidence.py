import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abserve.errors import ExperimentError
from abserve.experiment import Alternative, Block, Blocks, Evidence, log_evidence, p_value
from tests.abserve.experiment.generated import differences, lists_of_blocks, series

alternatives = st.sampled_from(["greater", "less", "two-sided"])


def by_the_book(blocks: list[Block], difference: float, alternative: Alternative) -> float:
    """Compute the formulas of the paper one by one, with bisection, for moderate counts."""
    log_e = 0.0
    n_a = k_a = n_b = k_b = 0.0
    for block in blocks:
        t_a, t_b = (k_a + 0.5) / (n_a + 1), (k_b + 0.5) / (n_b + 1)
        in_null = {
            "greater": t_b - t_a <= difference,
            "less": t_b - t_a >= difference,
            "two-sided": False,
        }[alternative]
        if block.n_baseline and block.n_candidate and not in_null:
            low, high = max(0.0, -difference), min(1.0, 1 - difference)
            for _ in range(200):
                x = (low + high) / 2
                y = x + difference
                score = block.n_baseline * (t_a / x - (1 - t_a) / (1 - x)) + block.n_candidate * (
                    t_b / y - (1 - t_b) / (1 - y)
                )
                low, high = (x, high) if score > 0 else (low, x)
            for n, k, t, null in (
                (block.n_baseline, block.k_baseline, t_a, x),
                (block.n_candidate, block.k_candidate, t_b, y),
            ):
                log_e += k * math.log(t / null) + (n - k) * math.log((1 - t) / (1 - null))
        n_a, k_a = n_a + block.n_baseline, k_a + block.k_baseline
        n_b, k_b = n_b + block.n_candidate, k_b + block.k_candidate
    return log_e


@given(lists_of_blocks(most=300), st.floats(-0.9, 0.9), alternatives)
def test_evidence_is_that_of_the_formulas_one_by_one(
    blocks: list[Block], difference: float, alternative: Alternative
) -> None:
    found = log_evidence(Blocks.of(blocks), difference, alternative)[-1]
    assert found == pytest.approx(by_the_book(blocks, difference, alternative), rel=1e-9, abs=1e-9)


def test_two_even_blocks_have_evidence_that_can_be_worked_out_by_hand() -> None:
    # Guesses for block 2: 1/4 and 3/4 (0 and 1 of 1, half of each added), projected onto 1/2.
    blocks = Blocks.from_columns(50, [1, 2], [0, 0], [1, 2], [1, 2])
    by_hand = math.log(Fraction(3, 2) ** 4)
    assert log_evidence(blocks).tolist() == pytest.approx([0.0, by_hand])


@given(lists_of_blocks(), differences, alternatives)
def test_one_block_at_a_time_gives_the_same_bits_as_all_at_once(
    blocks: list[Block], difference: float, alternative: Alternative
) -> None:
    evidence = Evidence(difference, alternative)
    one_by_one = []
    for block in blocks:
        evidence = evidence.add(block)
        one_by_one.append(evidence.log_e)
    assert one_by_one == log_evidence(Blocks.of(blocks), difference, alternative).tolist()


@pytest.mark.parametrize("difference", [0.0, -0.01, 0.3])
def test_a_thousand_rewards_one_at_a_time_give_the_same_bits_as_all_at_once(
    difference: float,
) -> None:
    rng = np.random.default_rng(20260101)
    n = rng.integers(0, 500, size=(2, 1000))
    k = n * rng.uniform(0.1, 0.3, size=(2, 1000))
    columns = Blocks.from_columns(50, n[0], k[0], n[1], k[1])
    evidence = Evidence(difference)
    one_by_one = []
    for i in range(1000):
        evidence = evidence.add(
            Block(50, int(n[0, i]), float(k[0, i]), int(n[1, i]), float(k[1, i]))
        )
        one_by_one.append(evidence.log_e)
    assert one_by_one == log_evidence(columns, difference).tolist()


@given(series(), differences, alternatives)
def test_evidence_of_earlier_blocks_does_not_depend_on_later_ones(
    blocks: Blocks, difference: float, alternative: Alternative
) -> None:
    whole = log_evidence(blocks, difference, alternative)
    for n_blocks in range(1, blocks.n_blocks):
        part = log_evidence(blocks.until(n_blocks), difference, alternative)
        assert part.tolist() == whole[:n_blocks].tolist()


def test_experiments_side_by_side_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(7)
    n = rng.integers(0, 50, size=(2, 3, 40))
    k = rng.binomial(n, 0.3)
    together = log_evidence(Blocks.from_columns(50, n[0], k[0], n[1], k[1]), -0.1)
    for i in range(3):
        alone = Blocks.from_columns(50, n[0, i], k[0, i], n[1, i], k[1, i])
        assert log_evidence(alone, -0.1).tolist() == together[i].tolist()


@given(series(), differences, alternatives)
def test_evidence_is_always_a_finite_number(
    blocks: Blocks, difference: float, alternative: Alternative
) -> None:
    assert np.isfinite(log_evidence(blocks, difference, alternative)).all()


@given(series(most=10**6), differences)
def test_exchanging_the_variants_changes_the_sign_of_the_difference(
    blocks: Blocks, difference: float
) -> None:
    n_units = blocks.n_baseline.sum() + blocks.n_candidate.sum()
    for one, other in (("greater", "less"), ("two-sided", "two-sided")):
        here = log_evidence(blocks, difference, one)
        there = log_evidence(blocks.swapped(), -difference, other)
        assert there.tolist() == pytest.approx(here.tolist(), rel=1e-9, abs=1e-12 * n_units + 1e-9)


@given(series(most=10**6), differences)
def test_counting_failures_instead_of_successes_changes_the_sign_too(
    blocks: Blocks, difference: float
) -> None:
    failures = Blocks.from_columns(
        blocks.weight_candidate,
        blocks.n_baseline,
        blocks.n_baseline - blocks.k_baseline,
        blocks.n_candidate,
        blocks.n_candidate - blocks.k_candidate,
    )
    n_units = blocks.n_baseline.sum() + blocks.n_candidate.sum()
    here = log_evidence(blocks, difference)
    there = log_evidence(failures, -difference, "less")
    assert there.tolist() == pytest.approx(here.tolist(), rel=1e-9, abs=1e-12 * n_units + 1e-9)


@given(series(), differences)
def test_each_block_speaks_on_one_side_only(blocks: Blocks, difference: float) -> None:
    steps = [
        np.diff(log_evidence(blocks, difference, alternative), prepend=0.0)
        for alternative in ("greater", "less")
    ]
    assert not (np.abs(steps).min(axis=0) > 0).any()
    both = log_evidence(blocks, difference, "two-sided")
    assert np.cumsum(steps[0] + steps[1]).tolist() == pytest.approx(both.tolist(), rel=1e-9)


@given(st.floats(-0.5, 0.5), st.floats(0.001, 0.4))
def test_what_exceeds_a_bound_exceeds_a_lower_bound_with_more_evidence(
    difference: float, less: float
) -> None:
    blocks = Blocks.from_columns(50, 1000, [50, 51, 49], 1000, [990, 985, 995])
    lower = log_evidence(blocks, difference - less)
    assert (lower[1:] > log_evidence(blocks, difference)[1:]).all()


@given(lists_of_blocks(), differences, alternatives)
def test_block_in_which_a_variant_served_nothing_says_nothing(
    blocks: list[Block], difference: float, alternative: Alternative
) -> None:
    empty = Block(0, 1000, 700, 0, 0)
    log_e = log_evidence(Blocks.of([*blocks, empty]), difference, alternative)
    assert log_e[-1] == log_e[-2]


@given(lists_of_blocks(), alternatives)
def test_first_block_only_teaches_where_to_look(
    blocks: list[Block], alternative: Alternative
) -> None:
    assert log_evidence(Blocks.of(blocks), 0.0, alternative)[0] == 0.0


def test_no_blocks_have_no_evidence() -> None:
    assert log_evidence(Blocks.of([])).shape == (0,)


@pytest.mark.parametrize("difference", [-1.0, 1.0, 1.5, math.nan])
def test_difference_that_two_rates_cannot_have_is_refused(difference: float) -> None:
    with pytest.raises(ExperimentError, match="expected a number between -1 and 1"):
        log_evidence(Blocks.from_columns(50, 1, 0, 1, 0), difference)


def test_p_value_is_1_before_there_is_evidence() -> None:
    assert p_value(np.array([0.0, -5.0])).tolist() == [1.0, 1.0]


def test_a_billion_units_per_block_are_no_harder() -> None:
    n, k = 10**9, 10**8
    blocks = Blocks.from_columns(50, n, [k, k, k], n, [k + 10**6, k + 10**6, k + 10**6])
    assert log_evidence(blocks)[-1] == pytest.approx(
        by_the_book([Block(50, n, k, n, k + 10**6)] * 3, 0.0, "greater"), rel=1e-9
    )
