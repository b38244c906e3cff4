"""Rows of a file as the matrix that a model takes."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abserve.errors import ScoringError
from abserve.scoring.model import Model
from abserve.scoring.rows import Rows, matrix


def test_a_row_group_is_not_read_whole(tmp_path: Path) -> None:
    n_rows = 2_000_000
    numbers = np.random.default_rng(7).uniform(size=n_rows)
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"a": numbers, "b": numbers}), path, row_group_size=n_rows)
    before = pa.total_allocated_bytes()
    model = Model("sums", ("a", "b"), {}, ())
    most = max(pa.total_allocated_bytes() - before for _ in Rows(path, model, ()).chunks(1000, 0))
    assert most < path.stat().st_size / 3


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.dictionary("int8", "str")],
    ids=str,
)
def test_texts_may_be_written_in_any_way(kind: pa.DataType) -> None:
    model = Model("sums", ("b",), {"b": ("red", "green")}, ())
    rows = matrix(model, pa.table({"b": pa.array(["green", None, "red"]).cast(kind)}))
    np.testing.assert_array_equal(rows, [[1], [np.nan], [0]])


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([b"1"]), "holds text; expected numbers"),
        (pa.array([b"\xff"]), "holds bytes that are no text"),
        (pa.array([datetime(2026, 1, 1)]), r"holds timestamp\[us\]; expected numbers"),  # noqa: DTZ001
        (pa.array([[1.0]]), "holds list<item: double>; expected numbers"),
    ],
)
def test_what_is_no_number_is_refused(column: pa.Array, said: str) -> None:
    with pytest.raises(ScoringError, match=said):
        matrix(Model("sums", ("a",), {}, ()), pa.table({"a": column}))


@pytest.mark.parametrize(
    "column",
    [pa.array([True, None]), pa.array([Decimal("1.0"), None]), pa.array([1, None], pa.uint8())],
    ids=lambda column: str(column.type),
)
def test_numbers_may_be_of_any_kind(column: pa.Array) -> None:
    rows = matrix(Model("sums", ("a",), {}, ()), pa.table({"a": column}))
    np.testing.assert_array_equal(rows, [[1], [np.nan]])
