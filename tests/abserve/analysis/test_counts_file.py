import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abserve.analysis import CountsFile, read_counts_file
from abserve.analysis.counts_file import COLUMNS
from abserve.errors import ExperimentError

HEADER = "weight_candidate,n_baseline,k_baseline,n_candidate,k_candidate"


def read(*lines: str, ending: str = "\n") -> CountsFile:
    return read_counts_file(ending.join(lines).encode(), "counts.csv")


def columns(file: CountsFile) -> list[list[float]]:
    return [getattr(file.blocks, column).tolist() for column in COLUMNS]


def test_a_row_is_a_block() -> None:
    file = read(HEADER, "10,900,810,100,93", "50,500,450,500,461")
    assert columns(file) == [[10, 50], [900, 500], [810, 450], [100, 500], [93, 461]]
    assert file.faults == ()


def test_columns_may_stand_in_any_order_and_further_ones_are_passed_over() -> None:
    file = read(
        "day,k_candidate,n_candidate,note,k_baseline,n_baseline,weight_candidate",
        'Monday,93,100,"a, ""b"", c",810,900,10',
    )
    assert columns(file) == [[10], [900], [810], [100], [93]]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["Unix", "Windows", "old Mac"])
def test_any_end_of_line_will_do(ending: str) -> None:
    assert columns(read(HEADER, "10,900,810,100,93", "", ending=ending))[0] == [10]


def test_a_byte_order_mark_is_passed_over() -> None:
    content = f"\ufeff{HEADER}\n10,900,810,100,93".encode()
    assert read_counts_file(content, "counts.csv").blocks.n_blocks == 1


def test_empty_lines_are_passed_over() -> None:
    file = read("", HEADER, "", "10,900,810,100,93", "  ", ",,,,", "50,500,450,500,461", "")
    assert file.blocks.n_blocks == 2


def test_spaces_around_headings_and_numbers_do_no_harm() -> None:
    file = read(HEADER.replace(",", " , "), " 10 , 900 , 810 , 100 , 93 ")
    assert columns(file) == [[10], [900], [810], [100], [93]]


def test_empty_cells_beyond_the_headings_do_no_harm() -> None:
    assert read(HEADER, "10,900,810,100,93,,").blocks.n_blocks == 1


def test_rewards_and_weights_need_not_be_whole() -> None:
    assert columns(read(HEADER, "12.5,900,810.25,100,93.5")) == [
        [12.5],
        [900],
        [810.25],
        [100],
        [93.5],
    ]


def test_a_file_with_nothing_but_a_header_has_no_blocks() -> None:
    file = read(HEADER)
    assert (file.blocks.n_blocks, file.faults) == (0, ())


FAULTS = {
    "more successes than units": ("10,9,10,9,1", "k_baseline is 10 of n_baseline = 9"),
    "a negative number of units": ("10,-9,0,9,1", "n_baseline is -9; expected a whole number"),
    "a negative number of successes": ("10,9,-1,9,1", "k_baseline is -1 of n_baseline = 9"),
    "half a unit": ("10,9,1,9.5,1", "n_candidate is 9.5; expected a whole number"),
    "no number": ("10,nine,1,9,1", "n_baseline is 'nine'; expected a number"),
    "nothing": ("10,9,1,9,", "k_candidate is ''; expected a number"),
    "a number as Python writes it": ("10,9_0,1,9,1", "n_baseline is '9_0'; expected a number"),
    "not a number": ("10,9,nan,9,1", "k_baseline is nan; expected a finite number"),
    "infinity": ("10,inf,1,9,1", "n_baseline is inf; expected a finite number"),
    "more than can be told apart": ("10,1e300,1,9,1", "n_baseline is 1e+300; expected at most"),
    "a weight above 100": ("101,9,1,9,1", "weight_candidate is 101; expected a percent"),
    "an endless weight": ("1e300,9,1,9,1", "weight_candidate is 1e+300; expected a percent"),
    "a weight below 0": ("-1,9,1,9,1", "weight_candidate is -1; expected a percent"),
    "too few cells": ("10,9,1,9", "it has 4 values; expected 5"),
    "too many cells": ("10,9,1,9,1,000", "it has 6 values; expected 5"),
}


@pytest.mark.parametrize(("row", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_counts_that_cannot_be_are_told_with_their_line(row: str, fault: str) -> None:
    file = read(HEADER, "10,900,810,100,93", row)
    assert len(file.faults) == 1
    assert file.faults[0].startswith(f"line 3: {fault}")
    assert file.blocks.n_blocks == 0


def test_a_handful_of_faults_are_told_and_how_many_more_there_are() -> None:
    file = read(HEADER, *["10,9,10,9,1"] * 8)
    assert [fault.partition(":")[0] for fault in file.faults] == [
        "line 2",
        "line 3",
        "line 4",
        "line 5",
        "line 6",
        "3 more lines have such faults",
    ]


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    file = read(f"{HEADER},note", "", '10,900,810,100,93,"two', 'lines"', "10,9,10,9,1,")
    assert file.faults[0].startswith("line 5: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "counts.csv begins with nothing; expected a header"),
        (b"10,900,810,100,93\n", "begins with 10, 900, 810, 100, 93; expected a header"),
        (HEADER.replace(",", ";").encode(), "begins with weight_candidate;n_baseline;k_"),
        (b"weight_candidate,n_baseline,k_baseline,n_candidate\n", "once: mind k_candidate"),
        (f"{HEADER},n_baseline".encode(), "once: mind n_baseline"),
        (b'{"weight_candidate": [10]}', "expected a header"),
        (b"\xff\xfew\x00e\x00", "holds the byte 0xff at position 0; expected a CSV file in UTF-8"),
        (f'{HEADER}\n10,900,810,100,"93'.encode(), "is no CSV file: line 2: unexpected end"),
        (f'{HEADER}\n10,900,810,100,"93"4'.encode(), "is no CSV file: line 2: "),
        (f"{HEADER}\n{'1' * 200_000}".encode(), "is no CSV file: line 2: field larger than"),
    ],
    ids=[
        "empty",
        "no header",
        "semicolons",
        "a column is missing",
        "a column stands twice",
        "JSON",
        "UTF-16",
        "an open quotation",
        "text after a quotation",
        "an endless line",
    ],
)
def test_what_is_no_such_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ExperimentError) as refused:
        read_counts_file(content, "counts.csv")
    assert message in str(refused.value)
    assert str(refused.value).startswith("counts.csv ")


def test_a_refusal_shows_no_more_of_a_file_than_a_person_reads() -> None:
    with pytest.raises(ExperimentError) as refused:
        read_counts_file(b"x " * 50_000, "counts.csv")
    assert len(str(refused.value)) < 500


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        file = read_counts_file(content, "counts.csv")
    except ExperimentError:
        return
    assert file.faults or file.blocks.n_blocks >= 0


@given(st.text('0123456789.,-+einfa_"\n\r \x00٣', max_size=200))
def test_any_rows_are_read_or_told_with_their_lines(rows: str) -> None:
    try:
        file = read_counts_file(f"{HEADER}\n{rows}".encode(), "counts.csv")
    except ExperimentError:
        return
    assert all(" line" in f" {fault}" for fault in file.faults)
    assert not (file.faults and file.blocks.n_blocks)


def test_a_hundred_thousand_rows_are_read() -> None:
    rows = io.StringIO()
    for number in range(100_000):
        rows.write(f"10,180,{number % 180},20,{number % 20}\n")
    file = read_counts_file(f"{HEADER}\n{rows.getvalue()}".encode(), "counts.csv")
    assert file.blocks.n_blocks == 100_000
