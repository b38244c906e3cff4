"""Blocks for property tests: any counts a telemetry may hand over, up to a billion per block."""

from hypothesis import strategies as st

from abserve.experiment import Block, Blocks

differences = st.floats(-0.999, 0.999)
weights = st.sampled_from([0, 1, 5, 10, 25, 50, 75, 99, 100])


@st.composite
def block(draw: st.DrawFn, most: int = 10**9) -> Block:
    n_baseline, n_candidate = draw(st.integers(0, most)), draw(st.integers(0, most))
    return Block(
        draw(weights),
        n_baseline,
        draw(st.integers(0, n_baseline)),
        n_candidate,
        draw(st.integers(0, n_candidate)),
    )


def lists_of_blocks(most: int = 10**9) -> st.SearchStrategy[list[Block]]:
    return st.lists(block(most), min_size=1, max_size=8)


def series(most: int = 10**9) -> st.SearchStrategy[Blocks]:
    return lists_of_blocks(most).map(Blocks.of)
